//! The world with the processes that are running in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachefront_core::InvalidationMode;

use crate::focus::Focus;
use crate::keys::RELEASES;
use crate::process::{Invalidator, Process};
use crate::readers::Reader;
use crate::world::World;

/// The world with its processes.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) processes: Vec<Arc<Process>>,
    pub(crate) invalidators: Vec<Invalidator>,
    /// Those that were killed. Their tasks never end.
    pub(crate) graveyard: Vec<Invalidator>,
    in_progress: Arc<AtomicUsize>,
}

impl Stage {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let world = World::new(seed, traced);
        world.log(|| format!("{:?}", world.config));
        let mut stage = Self {
            world: Arc::clone(&world),
            processes: Vec::new(),
            invalidators: Vec::new(),
            graveyard: Vec::new(),
            in_progress: Arc::default(),
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
        let local = world.focus == Focus::Links || world.random.chance(600);
        let on_replica = world.config.uses_replica(release) && world.random.chance(500);
        self.processes.push(Process::start(&world, release, local, on_replica));
    }

    pub(crate) fn any_process(&self) -> Option<usize> {
        (!self.processes.is_empty()).then(|| self.world.random.index(self.processes.len()))
    }

    pub(crate) fn any_invalidator(&self) -> Option<usize> {
        (!self.invalidators.is_empty()).then(|| self.world.random.index(self.invalidators.len()))
    }

    pub(crate) fn in_progress(&self) -> usize {
        self.in_progress.load(Ordering::Relaxed)
    }

    pub(crate) fn reader(&self) -> Option<Reader> {
        let process = Arc::clone(&self.processes[self.any_process()?]);
        let member = self.world.random.index(process.members.len());
        Some(Reader { world: Arc::clone(&self.world), process, member })
    }

    pub(crate) fn spawn(&self, call: impl Future<Output = ()> + Send + 'static) {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        let ended = Ended { world: Arc::clone(&self.world), in_progress: Arc::clone(&self.in_progress) };
        tokio::spawn(async move {
            let _ended = ended;
            call.await;
        });
    }
}

/// The end of a call, also if it panics.
struct Ended {
    world: Arc<World>,
    in_progress: Arc<AtomicUsize>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.in_progress.fetch_sub(1, Ordering::Relaxed);
        if std::thread::panicking() {
            self.world.violated(|| "a call panicked".to_owned());
        }
    }
}
