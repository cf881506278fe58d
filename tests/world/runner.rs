//! Runs one world: operations at random, then rest, then everything must be right.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachefront_core::InvalidationMode;

use crate::clock::{millis, pass};
use crate::faults;
use crate::keys::RELEASES;
use crate::process::{Invalidator, Process};
use crate::readers::{self, Reader};
use crate::rest;
use crate::world::{Counts, World};

/// The maximum number of applications' calls that are in progress at once.
const UNDER_WAY_MAX: usize = 100;

/// Who is on.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) processes: Vec<Arc<Process>>,
    pub(crate) invalidators: Vec<Invalidator>,
    /// Those that died without a word. Their tasks wait for ever.
    pub(crate) graveyard: Vec<Invalidator>,
    under_way: Arc<AtomicUsize>,
}

/// How a world ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) operations: u64,
    pub(crate) counts: Counts,
    pub(crate) violations: Vec<String>,
    pub(crate) hash: u64,
    pub(crate) last: Vec<String>,
}

/// Runs the world of this seed for this many operations, and keeps this many of the last lines of its log, if it has one.
pub(crate) fn run(seed: u64, operations: u64, traced: Option<usize>) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let mut stage = Stage::new(seed, traced.is_some());
        let done = stage.operate(operations).await;
        if stage.world.state().violations.is_empty() {
            rest::rest(&mut stage).await;
        }
        let world = &stage.world;
        let (mut counts, violations) = {
            let state = world.state();
            (state.counts, state.violations.clone())
        };
        counts.operations = done;
        Outcome {
            seed,
            operations,
            counts,
            violations,
            hash: world.trace.hash(),
            last: world.trace.last(traced.unwrap_or(0)),
        }
    })
}

impl Stage {
    fn new(seed: u64, traced: bool) -> Self {
        let world = World::new(seed, traced);
        world.log(|| format!("{:?}", world.config));
        let mut stage = Self {
            world: Arc::clone(&world),
            processes: Vec::new(),
            invalidators: Vec::new(),
            graveyard: Vec::new(),
            under_way: Arc::default(),
        };
        for _ in 0..world.random.between(2, 3) {
            stage.start_process();
        }
        for _ in 0..world.random.between(1, 2) {
            let release = stage.random_release();
            stage.invalidators.push(Invalidator::start(&world, release, InvalidationMode::Cdc));
        }
        stage
    }

    /// Releases follow each other; where only one runs, it is the first.
    pub(crate) fn random_release(&self) -> usize {
        if self.world.config.releases { self.world.random.index(RELEASES.len()) } else { 0 }
    }

    pub(crate) fn start_process(&mut self) {
        let (world, release) = (Arc::clone(&self.world), self.random_release());
        let local = world.random.chance(600);
        let on_replica = world.config.replica && world.random.chance(500);
        self.processes.push(Process::start(&world, release, local, on_replica));
    }

    pub(crate) fn any_process(&self) -> Option<usize> {
        (!self.processes.is_empty()).then(|| self.world.random.index(self.processes.len()))
    }

    pub(crate) fn any_invalidator(&self) -> Option<usize> {
        (!self.invalidators.is_empty()).then(|| self.world.random.index(self.invalidators.len()))
    }

    /// The number of operations that were done before something was wrong.
    async fn operate(&mut self, operations: u64) -> u64 {
        let world = Arc::clone(&self.world);
        let (random, config) = (&world.random, &world.config);
        for operation in 0..operations {
            if !world.state().violations.is_empty() {
                return operation;
            }
            self.pace().await;
            let draw = random.below(1_000);
            if draw < config.faults {
                faults::strike(self);
            } else if draw < config.faults + config.writes {
                self.spawn(readers::write(Arc::clone(&world)));
            } else if config.manual && random.chance(20) {
                if let Some(reader) = self.reader() {
                    self.spawn(reader.invalidate());
                }
            } else if let Some(reader) = self.reader() {
                self.spawn(reader.read());
            }
        }
        operations
    }

    async fn pace(&self) {
        let random = &self.world.random;
        while self.under_way() > UNDER_WAY_MAX {
            pass(millis(1)).await;
        }
        let pause = random.below(self.world.config.pace + 1);
        if pause > 0 || random.chance(120) {
            pass(millis(pause.max(1))).await;
        } else {
            for _ in 0..random.below(4) {
                tokio::task::yield_now().await;
            }
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    fn reader(&self) -> Option<Reader> {
        let process = Arc::clone(&self.processes[self.any_process()?]);
        let member = self.world.random.index(process.members.len());
        Some(Reader { world: Arc::clone(&self.world), process, member })
    }

    fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let ended = Ended { world: Arc::clone(&self.world), under_way: Arc::clone(&self.under_way) };
        tokio::spawn(async move {
            let _ended = ended;
            call.await;
        });
    }
}

/// The end of a call, also if it panics.
struct Ended {
    world: Arc<World>,
    under_way: Arc<AtomicUsize>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.world.violated(|| "a call panicked".to_owned());
        }
    }
}
