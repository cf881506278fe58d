//! An invalidator's connections to the database: log, probe and gate, each to a server of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cachefront_core::event::{Batch, Transaction, TransitTimes};
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::{BatchLimits, ChangeSource, Checkpoint, Head, SourceProbe, TableFilter};
use cachefront_core::{Error, ErrorKind, Position, Result, Timestamp};

use crate::clock::{Moment, millis, pass};
use crate::server::unavailable;
use crate::world::World;

/// The servers that an invalidator's connections lead to.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    pub(crate) probe: AtomicUsize,
    pub(crate) gate: AtomicUsize,
    pub(crate) log: AtomicUsize,
    /// The server that the log or the probe named last. The gate waits at no other one.
    pub(crate) origin: AtomicUsize,
    /// The next question at the gate or to the probe fails.
    pub(crate) broken: AtomicBool,
}

impl Wires {
    /// Connections to the database server of this number.
    pub(crate) fn to(server: usize) -> Self {
        Self {
            probe: server.into(),
            gate: server.into(),
            log: server.into(),
            origin: server.into(),
            broken: AtomicBool::new(false),
        }
    }

    fn fails(&self) -> bool {
        self.broken.swap(false, Ordering::Relaxed)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) world: Arc<World>,
    pub(crate) actor: usize,
    pub(crate) wires: Arc<Wires>,
    /// Its gate waits on the replica too.
    waits_on_replica: bool,
    /// The next event to deliver; none if the log is not open.
    next: Option<usize>,
    server: usize,
    /// A log that was opened delivers nothing before.
    delivers_from: Moment,
    delivered: Position,
}

impl Source {
    pub(crate) fn new(world: &Arc<World>, actor: usize, wires: &Arc<Wires>, release: usize) -> Self {
        let (world, wires) = (Arc::clone(world), Arc::clone(wires));
        let waits_on_replica = world.config.declares_replica(release) && !world.config.fenced;
        Self {
            world,
            actor,
            wires,
            waits_on_replica,
            next: None,
            server: 0,
            delivers_from: 0,
            delivered: Position::new(),
        }
    }

    /// What follows in the log, at most this many transactions.
    fn take(&mut self, most: usize) -> Result<Option<Batch>> {
        if self.world.now() < self.delivers_from {
            return Ok(None);
        }
        let state = self.world.state();
        let Some(next) = self.next else { return Err(unavailable("the log is not open")) };
        if self.world.config.careful_log && self.server != self.wires.origin.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Gap, "the probe found another server"));
        }
        if next <= state.database.purged && next <= state.database.last() {
            return Err(Error::new(ErrorKind::Gap, "the log was purged"));
        }
        let end = state.database.log_end(self.server);
        let mut transactions = Vec::new();
        let mut at = next;
        while at <= end && transactions.len() < most {
            let event = &state.database.events[at];
            // A server that took over never had what the failover lost.
            let is_there = !event.lost || event.origin == self.server;
            if let Some(gtid) = event.gtid.as_ref().filter(|_| is_there) {
                self.delivered.insert(gtid);
                transactions.push(Transaction {
                    gtid: gtid.clone(),
                    committed_at: Timestamp::UNKNOWN,
                    transit: TransitTimes::default(),
                    changes: event.changes.to_vec(),
                    complete: true,
                });
            }
            at += 1;
        }
        self.next = Some(at);
        let checkpoint = Checkpoint { position: self.delivered.clone(), ..Checkpoint::default() };
        Ok((!transactions.is_empty()).then_some(Batch { transactions, checkpoint }))
    }

    /// What the servers show that loaders read, if `server` is the primary.
    fn shown(&self, server: usize) -> [Arc<Position>; 2] {
        let now = self.world.now();
        let mut state = self.world.state();
        let database = &mut state.database;
        let visible = database.visible(server, now);
        let on_replica = if self.waits_on_replica { database.on_replica(now) } else { visible };
        [visible, on_replica].map(|event| Arc::clone(&database.events[event].executed))
    }

    fn judge_wait(&self, position: &Position) {
        let server = self.wires.origin.load(Ordering::Relaxed);
        let [one, other] = self.shown(server);
        let shown = if one.covers(&other) { other } else { one };
        let wrong = self.world.state().actors[self.actor].session.wait(position, server, &shown);
        self.world.judged(self.actor, wrong);
    }
}

#[async_trait]
impl ChangeSource for Source {
    fn describe(&self) -> String {
        format!("log of {}", self.actor)
    }

    /// Reads the tables' definitions where the probe's connection leads.
    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        let world = &self.world;
        world.awake(self.actor).await;
        world.travel(false).await;
        let now = world.now();
        let server = self.wires.probe.load(Ordering::Relaxed);
        let mut state = world.state();
        if server != state.database.primary() {
            state.former_asked = now;
        }
        let seen = state.database.visible(server, now);
        let partial = filter.iter().find(|(table, _)| state.database.is_partial(table.as_str(), seen));
        match partial {
            Some((table, _)) => Err(Error::new(ErrorKind::Config, format!("the log lacks changes of {table}"))),
            None => Ok(Vec::new()),
        }
    }

    async fn open(&mut self, from: &Checkpoint, _filter: &TableFilter) -> Result<()> {
        self.world.awake(self.actor).await;
        self.world.travel(false).await;
        let state = self.world.state();
        self.server = self.wires.log.load(Ordering::Relaxed);
        self.wires.origin.store(self.server, Ordering::Relaxed);
        let database = &state.database;
        let end = database.log_end(self.server);
        let missing = |at: &usize| {
            let event = &database.events[*at];
            let is_there = !event.lost || event.origin == self.server;
            is_there && event.gtid.as_ref().is_some_and(|gtid| !from.position.contains(gtid))
        };
        // Commits are delivered in order, so what is missing is a suffix.
        let contained = (0..=end).rev().find(|at| !missing(at) && database.events[*at].gtid.is_some());
        let next = contained.map_or(0, |at| at + 1);
        if next <= database.purged && next <= end {
            return Err(Error::new(ErrorKind::Gap, "the log was purged"));
        }
        let end_of_log = &database.events[end].executed;
        if !end_of_log.covers(&from.position) && self.server == database.primary() {
            return Err(Error::new(ErrorKind::Gap, "the position is not in this server's history"));
        }
        if self.world.random.chance(self.world.config.slow_logs) && !self.world.is_calm() {
            self.delivers_from = self.world.now() + self.world.random.below(600_000);
        }
        self.next = Some(next.max(1));
        self.delivered = from.position.clone();
        Ok(())
    }

    fn origin(&self) -> Option<Box<str>> {
        Some((*self.world.state().database.servers[self.server].name).into())
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let world = Arc::clone(&self.world);
        world.awake(self.actor).await;
        let deadline = pass(limits.wait_max);
        tokio::pin!(deadline);
        loop {
            let logged = world.logged.notified();
            if let Some(batch) = self.take(limits.changes_max)? {
                return Ok(batch);
            }
            tokio::select! {
                biased;
                () = logged => {}
                () = &mut deadline => {
                    let checkpoint = Checkpoint { position: self.delivered.clone(), ..Checkpoint::default() };
                    return Ok(Batch { transactions: Vec::new(), checkpoint });
                }
            }
        }
    }

    async fn acknowledge(&mut self, _checkpoint: &Checkpoint) -> Result<()> {
        Ok(())
    }

    async fn close(&mut self) {
        self.next = None;
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        Arc::new(self.clone())
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        Some(Arc::new(self.clone()))
    }
}

#[async_trait]
impl SourceProbe for Source {
    async fn head(&self) -> Result<Head> {
        let world = &self.world;
        world.awake(self.actor).await;
        world.travel(false).await;
        if self.wires.fails() {
            return Err(unavailable("the probe's connection broke"));
        }
        let server = self.wires.probe.load(Ordering::Relaxed);
        let head = {
            let now = world.now();
            let mut state = world.state();
            if server != state.database.primary() {
                state.former_asked = now;
            }
            let database = &state.database;
            let position = Position::clone(&database.events[database.log_end(server)].executed);
            let checkpoint = Checkpoint { position, ..Checkpoint::default() };
            Head { checkpoint, origin: (*database.servers[server].name).into() }
        };
        if world.config.slow_probe > 0 && !world.is_calm() {
            pass(millis(world.random.below(world.config.slow_probe))).await;
        }
        world.travel(false).await;
        world.awake(self.actor).await;
        self.wires.origin.store(server, Ordering::Relaxed);
        Ok(head)
    }
}

#[async_trait]
impl VisibilityGate for Source {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        let world = &self.world;
        world.awake(self.actor).await;
        let deadline = world.now() + timeout.as_micros() as u64;
        self.judge_wait(position);
        loop {
            if self.wires.fails() {
                return Err(unavailable("the gate's connection broke"));
            }
            let server = self.wires.gate.load(Ordering::Relaxed);
            if server != self.wires.origin.load(Ordering::Relaxed) {
                if world.is_calm() {
                    // The next connection leads to where the address does.
                    self.wires.gate.store(world.state().database.primary(), Ordering::Relaxed);
                }
                return Err(unavailable("the gate leads to another server than the log"));
            }
            let now = world.now();
            let is_visible = self.shown(server).iter().all(|shown| shown.covers(position));
            if is_visible {
                world.travel(false).await;
                world.awake(self.actor).await;
            }
            if is_visible || now >= deadline {
                world.state().actors[self.actor].session.waited(position, server, is_visible);
                return Ok(is_visible);
            }
            pass(millis(1)).await;
        }
    }
}
