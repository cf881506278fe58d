//! Processes with caches, and invalidators.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cachefront_core::source::ChangeSource;
use cachefront_core::store::{MappingId, Store};
use cachefront_core::{
    Cache, Cdc, CdcHandle, CdcState, CdcStatus, Clock, Entropy, InvalidationMode, Local, ServingMode,
};

use crate::caches::{cache_of, key_map_of};
use crate::clock::{WorldClock, millis, pass};
use crate::keys::{Key, Kind, RELEASES};
use crate::loader::Rows;
use crate::source::{Source, Wires};
use crate::store::Conn;
use crate::world::World;

/// One cache of a process.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) mapping: MappingId,
    pub(crate) cache: Cache<Key, u64>,
    /// Counts switches of all modes.
    pub(crate) switches: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) actor: usize,
    pub(crate) release: usize,
    pub(crate) members: Vec<Member>,
    pub(crate) clock: Arc<WorldClock>,
    pub(crate) rows: Rows,
}

impl Process {
    pub(crate) fn start(world: &Arc<World>, release: usize, local: bool, on_replica: bool) -> Arc<Self> {
        let actor = world.new_actor();
        world.state().actors[actor].on_replica = on_replica;
        let conn: Arc<dyn Store> = Arc::new(Conn::new(world, actor));
        let clock = Arc::new(WorldClock::new(world.time, world.config.process_clock(&world.random)));
        let rows = Rows { world: Arc::clone(world), actor };
        // The rule by age knows no mappings: there the releases' values differ in their schema.
        let schema_version = |kind: &Kind| if world.config.switches { kind.version() } else { 0 };
        let member = |kind: &Kind| {
            let entropy: Arc<dyn Entropy> = Arc::<crate::random::Random>::clone(&world.random);
            let dyn_clock: Arc<dyn Clock> = Arc::<WorldClock>::clone(&clock);
            let mut builder = cache_of(&world.config, *kind, release)
                .shared(Arc::clone(&conn))
                .loader(rows.clone())
                .schema_version(schema_version(kind))
                .settings(world.cache_settings(local))
                .ttl(millis(world.config.lives.ttl))
                .negative_ttl(millis(world.config.lives.negative_ttl))
                .clock(dyn_clock)
                .entropy(entropy);
            if local {
                builder = builder.local(Local::max_weight(1 << 16).ttl(millis(5_000)));
            }
            let cache: Cache<Key, u64> = builder.build().expect("a cache");
            let mapping = cache.key_map().mapping();
            Member { kind: *kind, mapping, cache, switches: AtomicU64::new(0) }
        };
        let members = RELEASES[release].iter().map(member).collect();
        world.log(|| format!("process {actor} of release {release} starts, local {local}, replica {on_replica}"));
        Arc::new(Self { actor, release, members, clock, rows })
    }
}

impl Member {
    pub(crate) fn set_mode(&self, mode: InvalidationMode) {
        self.switches.fetch_add(1, Ordering::SeqCst);
        self.cache.set_mode(mode);
    }

    pub(crate) fn set_bypass(&self, bypass: bool) {
        self.switches.fetch_add(1, Ordering::SeqCst);
        self.cache.set_bypass(bypass);
    }

    /// Values of the tiers are judged in every serving mode: what is not served from them is loaded.
    pub(crate) fn set_serving(&self, mode: ServingMode) {
        self.switches.fetch_add(1, Ordering::SeqCst);
        self.cache.set_serving_mode(mode);
    }

    /// Its state at an instant: as long as it stays the same, the mode is the cdc one all the time.
    pub(crate) fn by_log(&self) -> Option<u64> {
        let is_plain = self.cache.mode() == InvalidationMode::Cdc && !self.cache.is_bypassed();
        is_plain.then(|| self.switches.load(Ordering::SeqCst))
    }
}

#[derive(Debug)]
pub(crate) struct Invalidator {
    pub(crate) actor: usize,
    pub(crate) wires: Arc<Wires>,
    pub(crate) handle: CdcHandle,
    pub(crate) clock: Arc<WorldClock>,
}

impl Invalidator {
    pub(crate) fn start(world: &Arc<World>, release: usize, mode: InvalidationMode) -> Self {
        let actor = world.new_actor();
        let conn: Arc<dyn Store> = Arc::new(Conn::new(world, actor));
        let wires = Arc::new(Wires::to(world.state().database.primary()));
        let clock = Arc::new(WorldClock::new(world.time, world.config.process_clock(&world.random)));
        let dyn_clock: Arc<dyn Clock> = Arc::<WorldClock>::clone(&clock);
        let entropy: Arc<dyn Entropy> = Arc::<crate::random::Random>::clone(&world.random);
        let source = Source::new(world, actor, &wires, release);
        let gate = source.gate().expect("a source with a gate");
        // Where the release knows of a replica, this gate waits on it too, unless loads have fences.
        let mut cdc =
            Cdc::new(source).gate(gate).settings(world.cdc_settings()).mode(mode).clock(dyn_clock).entropy(entropy);
        for kind in RELEASES[release] {
            cdc = cdc.bind_map(Arc::clone(&conn), key_map_of(&world.config, *kind, release));
        }
        let handle = cdc.spawn().expect("an invalidator");
        world.log(|| format!("invalidator {actor} of release {release} starts"));
        Self { actor, wires, handle, clock }
    }

    /// Shuts it down, or drops its handle. If it ran and nothing failed, it says that it leaves.
    pub(crate) async fn leave(self, world: Arc<World>) {
        let works = |state: CdcState, status: &CdcStatus| status.state == state && status.last_error.is_none();
        let statuses = self.handle.watch();
        let ran = works(CdcState::Running, &statuses.borrow());
        if world.random.chance(500) {
            drop(self.handle);
            // It ends in the background, within this time.
            pass(world.cdc_settings().drain_max + millis(1)).await;
        } else {
            self.handle.shutdown().await;
        }
        let resigned = ran && works(CdcState::Stopped, &statuses.borrow());
        let wrong = {
            let session = &world.state().actors[self.actor].session;
            resigned && session.runs && !session.resigned && !world.config.switches
        };
        world.judged(self.actor, wrong.then_some("it has left, and does not say so"));
    }
}
