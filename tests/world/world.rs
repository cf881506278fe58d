//! What all actors of a world share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cachefront_core::store::ServerId;
use cachefront_core::{BreakerSettings, CacheSettings, CdcSettings, Position};
use tokio::sync::Notify;

use crate::clock::{Moment, Time, millis, pass};
use crate::config::Config;
use crate::database::Database;
use crate::focus::Focus;
use crate::keys::{KINDS, LINES};
use crate::random::Random;
use crate::server::{Data, Discarded, Role, Server, origin_of};
use crate::session::Session;
use crate::trace::Trace;

/// What an actor has handled of the bus: the last message's promise.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) applied: Arc<Position>,
    pub(crate) origin: usize,
}

/// What an application removes by hand at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Discarding {
    pub(crate) event: usize,
    pub(crate) at: Moment,
    /// The store's server, the connection's number, and the server's copy.
    pub(crate) link: (usize, u64, u64),
}

/// One process, or one invalidator: its connections, and what was done to it.
#[derive(Debug, Default)]
pub(crate) struct Actor {
    /// It does nothing any more, for good.
    pub(crate) dead: bool,
    pub(crate) frozen_until: Moment,
    /// The store's server that it reads.
    pub(crate) reads: Option<usize>,
    /// That server's identity, as it was noted when the connection was made.
    pub(crate) reads_id: ServerId,
    /// Counts replacements of that connection.
    pub(crate) moves: u64,
    /// It finds the former primary of the store until then.
    pub(crate) misled_until: Moment,
    /// Its connection to the bus: the server.
    pub(crate) bus: Option<usize>,
    /// Counts connections to the bus.
    pub(crate) bus_links: u64,
    /// Its connection to the bus delivers nothing until then.
    pub(crate) deaf_until: Moment,
    /// A connection to the bus that is older is cut.
    pub(crate) bus_cut: u64,
    pub(crate) handed: Option<Handed>,
    /// What it invalidated itself.
    pub(crate) discarded: Vec<Option<Discarded>>,
    /// What it is invalidating.
    pub(crate) discarding: Vec<Discarding>,
    /// What the bus announced that others have invalidated by themselves.
    pub(crate) announced: Vec<Option<Discarded>>,
    /// The database server that it loads from, or asks.
    pub(crate) database: usize,
    /// It loads from the replica.
    pub(crate) on_replica: bool,
    /// When the last load of each value of each line began.
    pub(crate) loads: Vec<HashMap<Option<u64>, Moment>>,
    /// When a load of each kind of cache failed last: one key that fails ends a load of many.
    pub(crate) failed: [Option<Moment>; KINDS.len()],
    /// What it has done as an invalidator.
    pub(crate) session: Session,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) database: Database,
    pub(crate) servers: Vec<Server>,
    /// The store's primary.
    pub(crate) primary: usize,
    /// What a replica of the primary holds.
    pub(crate) replica: Data,
    /// What a file of the primary holds, from some earlier time.
    pub(crate) saved: Data,
    pub(crate) actors: Vec<Actor>,
    /// When the last load of each value of each line began, in any process.
    pub(crate) last_loads: Vec<HashMap<Option<u64>, Moment>>,
    /// Tokens that clients were given.
    pub(crate) tokens: Vec<Arc<Position>>,
    /// The last time that a former primary of the database was read or asked: it cannot know that it is not the primary.
    pub(crate) former_asked: Moment,
    pub(crate) slow_until: Moment,
    pub(crate) hidden_until: Moment,
    /// Nothing is slow any more since then; 0 before.
    pub(crate) calm_since: Moment,
    pub(crate) violations: Vec<String>,
    pub(crate) counts: Counts,
}

/// What happened, so that a world that does nothing is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) operations: u64,
    pub(crate) local: u64,
    pub(crate) shared: u64,
    pub(crate) database: u64,
    /// Values that are marked as stale.
    pub(crate) stale: u64,
    pub(crate) errors: u64,
    pub(crate) commits: u64,
    pub(crate) failovers: u64,
    pub(crate) flushes: u64,
    pub(crate) covers: u64,
    /// Values that rows have replaced, and reads of one moment.
    pub(crate) replaced: u64,
    pub(crate) moments: u64,
}

impl Counts {
    /// A run of many worlds has seen everything that is counted.
    ///
    /// # Panics
    /// If something never happened.
    pub(crate) fn assert_lively(&self) {
        assert!(self.local > 0 && self.shared > 0 && self.database > 0 && self.stale > 0, "a tier served nothing");
        assert!(self.replaced > 0 && self.moments > 0, "a feature was not used");
        assert!(self.failovers > 0 && self.flushes > 0 && self.covers > 0, "the store was never changed as a whole");
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.local += other.local;
        self.shared += other.shared;
        self.database += other.database;
        self.stale += other.stale;
        self.errors += other.errors;
        self.commits += other.commits;
        self.failovers += other.failovers;
        self.flushes += other.flushes;
        self.covers += other.covers;
        self.replaced += other.replaced;
        self.moments += other.moments;
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) focus: Focus,
    pub(crate) random: Arc<Random>,
    pub(crate) time: Time,
    pub(crate) trace: Trace,
    /// The database's log moved, or a server took over.
    pub(crate) logged: Notify,
    /// Faults have ended.
    pub(crate) calm: AtomicBool,
    state: Mutex<State>,
}

impl World {
    /// Must be called in a runtime whose clock is paused.
    pub(crate) fn new(seed: u64, traced: bool) -> Arc<Self> {
        let random = Arc::new(Random::new(seed));
        let mut config = Config::draw(&random);
        let focus = Focus::draw(&random);
        focus.apply(&mut config, &random);
        let data = Data::new(config.shards);
        let clock = config.server_clock(&random);
        let state = State {
            database: Database::new(),
            servers: vec![Server::new(random.next() | 1, data.clone(), clock)],
            primary: 0,
            saved: data.clone(),
            replica: data,
            actors: Vec::new(),
            last_loads: vec![HashMap::new(); LINES],
            tokens: Vec::new(),
            former_asked: 0,
            slow_until: 0,
            hidden_until: 0,
            calm_since: 0,
            violations: Vec::new(),
            counts: Counts::default(),
        };
        Arc::new(Self {
            config,
            focus,
            random,
            time: Time::begin(),
            trace: Trace::new(traced),
            logged: Notify::new(),
            calm: AtomicBool::new(false),
            state: Mutex::new(state),
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Moment {
        self.time.now()
    }

    pub(crate) fn log(&self, text: impl FnOnce() -> String) {
        self.trace.line(|| format!("{:>9} {}", self.now(), text()));
    }

    pub(crate) fn violated(&self, text: impl FnOnce() -> String) {
        let text = text();
        self.log(|| format!("VIOLATION {text}"));
        self.state().violations.push(text);
    }

    /// Notes what a judgement found, if it found something.
    pub(crate) fn judged(&self, actor: usize, wrong: Option<&'static str>) {
        if let Some(wrong) = wrong {
            self.violated(|| format!("invalidator {actor}: {wrong}"));
        }
    }

    pub(crate) fn new_actor(&self) -> usize {
        let mut state = self.state();
        let database = state.database.primary();
        state.actors.push(Actor {
            discarded: vec![None; LINES],
            announced: vec![None; LINES],
            loads: vec![HashMap::new(); LINES],
            database,
            ..Actor::default()
        });
        state.actors.len() - 1
    }

    /// Waits while an actor is frozen, and forever once it is dead.
    pub(crate) async fn awake(&self, actor: usize) {
        loop {
            let (dead, until) = {
                let state = self.state();
                (state.actors[actor].dead, state.actors[actor].frozen_until)
            };
            if dead {
                std::future::pending::<()>().await;
            }
            if until <= self.now() {
                return;
            }
            self.time.reach(until.min(self.now() + 100_000)).await;
        }
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// True if a call of the store is lost.
    pub(crate) fn loses(&self) -> bool {
        self.random.chance(self.config.lost_calls) && !self.is_calm()
    }

    /// The store's replica has what the primary has now, or each shard's replica may.
    pub(crate) fn replicate(&self) {
        let mut state = self.state();
        let data = state.servers[state.primary].data.clone();
        for server in &mut state.servers {
            if server.role == (Role::Demoted { follows: true }) {
                server.replace(data.clone());
            }
        }
        match self.config.nodes {
            false => state.replica = data,
            true => state.replica.copy_some(data, &self.random),
        }
        if self.random.chance(100) {
            state.saved = state.servers[state.primary].data.clone();
        }
    }

    /// The way to a server or back.
    pub(crate) async fn travel(&self, slow: bool) {
        let draw = self.random.next();
        let long = self.config.long_ways;
        let way = match draw % 1_000 {
            700.. if self.is_calm() => (draw >> 32) % 2,
            0..=699 => 0,
            700..=939 => 1 + (draw >> 32) % 2,
            _ if (draw >> 16) % 1_000 < long => 20 + (draw >> 32) % 300,
            _ => 3 + (draw >> 32) % 10,
        };
        let extra = if slow { (draw >> 40) % self.config.slow_max } else { 0 };
        // Never at once: only the process's own tier returns without a pause.
        match way + extra {
            0 => tokio::task::yield_now().await,
            pause => pass(millis(pause)).await,
        }
    }

    pub(crate) fn cache_settings(&self, local: bool) -> CacheSettings {
        let mut settings = CacheSettings::default();
        settings.lease = millis(300);
        settings.lease_wait = millis(300);
        settings.load_timeout = millis(3_000);
        settings.proof_wait = millis(200);
        settings.fence_wait = millis(100);
        settings.clock_skew = Duration::from_micros(2 * self.config.skew_micros.unsigned_abs());
        settings.epoch_slots = 16;
        settings.bus_silence_max = self.config.silence();
        settings.bus_retry_min = millis(5);
        settings.bus_retry_max = millis(100);
        settings.loads_max = self.config.loads_max;
        // Short pauses: the store is left alone and tried again many times in a run.
        settings.store_breaker = BreakerSettings::of_store().with_open_min(millis(20)).with_open_max(millis(200));
        // In every other world loads of several keys are merged.
        settings.load_linger = if self.config.loads_max.is_multiple_of(2) { millis(2) } else { Duration::ZERO };
        settings.tick = millis(1_000);
        settings.keys_per_command_max = self.config.keys_per_command_max;
        self.config.lives.apply(&mut settings, local);
        settings
    }

    pub(crate) fn cdc_settings(&self) -> CdcSettings {
        let mut settings = CdcSettings::default();
        settings.batch_changes_max = self.config.batch_changes_max;
        settings.keys_per_command_max = self.config.keys_per_command_max;
        settings.compared_keys_max = self.config.compared_keys_max;
        settings.heartbeat = self.config.heartbeat;
        settings.gate_timeout = self.config.heartbeat * 2;
        settings.retry_min = millis(5);
        settings.retry_max = millis(100);
        settings.drain_max = millis(2_000);
        settings
    }
}

impl State {
    /// The server that an actor's new connection leads to.
    pub(crate) fn dial(&self, actor: usize, now: Moment) -> usize {
        let misled = self.actors[actor].misled_until > now && self.primary > 0;
        let former = self.primary.wrapping_sub(1);
        if misled && self.servers[former].is_up() { former } else { self.primary }
    }

    /// What an actor has removed by hand over its connection to this server, at least: the oldest of what it is removing.
    pub(crate) fn discarded_by(&self, actor: usize, server: usize) -> Option<Discarded> {
        let me = &self.actors[actor];
        let link = me.reads.map(|reads| (reads, me.moves, self.servers[reads].copies))?;
        let oldest = me.discarding.iter().min_by_key(|one| one.event)?;
        let same = link.0 == server && me.discarding.iter().all(|one| one.link == link);
        same.then_some(Discarded { event: oldest.event, at: oldest.at, link: 0, copies: link.2 })
    }

    /// The number of the database server of this name.
    pub(crate) fn origin(&self, name: &str) -> usize {
        origin_of(name)
    }

    /// True if the store's server is a primary that lost its place, to which those who write still write.
    pub(crate) fn is_split(&self) -> bool {
        self.servers.iter().any(|server| server.role == Role::Partitioned)
    }
}
