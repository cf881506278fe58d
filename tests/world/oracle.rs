//! The oracle: it knows every commit with its time, and judges every answer at the level that was asked for.

use std::sync::Arc;
use std::time::Duration;

use cachefront_core::store::Meta;
use cachefront_core::{Hit, Position, StoreKey, Tier};

use crate::clock::{Moment, NEVER};
use crate::database::{Database, Event};
use crate::keys::{Key, Kind, Line, kind_of, line, marker_of};
use crate::process::{Member, Process};
use crate::server::{Discarded, Server};
use crate::world::{Discarding, Handed, State, World};

/// What a reader asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) at_least: Option<Arc<Position>>,
    /// Another token.
    pub(crate) and: Option<Arc<Position>>,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) bypass: bool,
}

/// What is known when a read begins.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) at: Moment,
    pub(crate) line: Line,
    pub(crate) actor: usize,
    /// The server that it reads, the connection's number, and the server's copy.
    link: Option<(usize, u64, u64)>,
    promises: u64,
    meta: Option<Arc<Meta>>,
    handed: Option<Handed>,
    bus_links: u64,
    /// What was removed by hand: by this process, over the same connection; by any process, on the same server; and by
    /// others, as the bus has said.
    discarded: Option<Discarded>,
    removed: Option<Discarded>,
    announced: Option<Discarded>,
    /// What had been applied long before, where the bus is read and on the primary.
    applied_long_ago: Vec<Arc<Meta>>,
    by_log: Option<u64>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) value: Option<u64>,
    /// None if the reader did not ask for it.
    pub(crate) tier: Option<Tier>,
    /// It may come from the process's own tier, as far as the reader knows.
    pub(crate) maybe_local: bool,
    pub(crate) position: Option<Position>,
    pub(crate) bound: Option<Duration>,
    /// It says of itself that it may have been invalidated.
    pub(crate) stale: bool,
}

impl Answer {
    /// A value alone. `local` says whether it came from the process's own tier, if that is known.
    pub(crate) fn plain(value: Option<u64>, local: Option<bool>) -> Self {
        let tier = (local == Some(true)).then_some(Tier::Local);
        Self { value, tier, maybe_local: local.is_none(), position: None, bound: None, stale: false }
    }

    pub(crate) fn detailed(hit: Hit<u64>) -> Self {
        Self {
            value: hit.value,
            tier: Some(hit.tier),
            maybe_local: false,
            position: hit.position,
            bound: hit.staleness_bound,
            stale: hit.stale,
        }
    }
}

/// Commits that a value must contain: those of a position, and the failovers up to a server's.
#[derive(Clone, Copy, Debug)]
struct Floor<'a> {
    position: &'a Position,
    origin: usize,
}

impl Floor<'_> {
    fn has(&self, event: &Event) -> bool {
        match &event.gtid {
            Some(gtid) => self.position.contains(gtid),
            None => event.origin <= self.origin,
        }
    }
}

pub(crate) fn begin(world: &World, process: &Process, member: &Member, key: Key) -> Begun {
    let now = world.now();
    let line = line(member.kind, key);
    let state = world.state();
    let me = &state.actors[process.actor];
    let link = me.reads.map(|server| (server, me.moves, state.servers[server].copies));
    let meta = me.reads.and_then(|server| promised(world, &state.servers[server], member.kind, key));
    let over_link = |discarded: &Discarded| {
        link.is_some_and(|(_, moves, copies)| moves == discarded.link && copies == discarded.copies)
    };
    let removed = link.and_then(|(server, _, copies)| {
        state.servers[server].discarded[line].filter(|discarded| discarded.copies == copies)
    });
    Begun {
        at: now,
        line,
        actor: process.actor,
        link,
        promises: me.reads.map_or(0, |server| state.servers[server].promises),
        meta,
        handed: me.handed.clone(),
        bus_links: me.bus_links,
        discarded: me.discarded[line].filter(over_link),
        removed,
        announced: me.announced[line],
        applied_long_ago: applied_long_ago(world, &state, process.actor, now),
        by_log: member.by_log(),
    }
}

/// What the store promises of a key: of an entry with a tag, no more than the shard of the tag's marker does.
fn promised(world: &World, server: &Server, kind: Kind, key: Key) -> Option<Arc<Meta>> {
    let of = |key: StoreKey| server.data.metas[server.shard_of(&key)].as_ref();
    let own = of(StoreKey::encode(kind.cache(), &key).ok()?)?;
    if !world.config.features.has_tags(kind) {
        return Some(Arc::clone(own));
    }
    let of_tag = of(StoreKey::from_text(marker_of(key.number)).ok()?)?;
    let less = if own.applied().covers(of_tag.applied()) { of_tag } else { own };
    Some(Arc::clone(less))
}

/// A tier that receives no message turns itself off after a while: this much later it has seen everything, or is off.
fn long(world: &World) -> Moment {
    4 * world.config.silence().as_micros() as Moment + 1_500_000
}

fn applied_long_ago(world: &World, state: &State, actor: usize, now: Moment) -> Vec<Arc<Meta>> {
    let me = &state.actors[actor];
    let Some(then) = now.checked_sub(long(world)) else { return Vec::new() };
    if world.config.wild_clocks || state.is_split() {
        return Vec::new();
    }
    let servers = me.bus.into_iter().chain([state.primary]);
    servers.filter_map(|server| state.servers[server].applied_at(then).cloned()).collect()
}

/// Judges an answer. What is wrong with it is noted as a violation.
pub(crate) fn judge(world: &World, process: &Process, member: &Member, begun: &Begun, asked: &Asked, answer: &Answer) {
    let wrong = {
        let now = world.now();
        let mut state = world.state();
        count(&mut state, answer);
        let judgement = Judgement { world, state: &state, begun, answer, now };
        judgement.run(member, asked)
    };
    world.log(|| format!("{} reads {} {asked:?}: {answer:?}", process.actor, begun.line));
    if let Some(wrong) = wrong {
        world.violated(|| {
            format!(
                "{wrong}: process {} of release {} read {:?} of {:?}, asked {asked:?}, answer {answer:?}, begun at {}",
                process.actor,
                process.release,
                begun.line,
                kind_of(begun.line),
                begun.at
            )
        });
    }
}

fn count(state: &mut State, answer: &Answer) {
    match answer.tier {
        _ if answer.stale => state.counts.stale += 1,
        Some(Tier::Local) => state.counts.local += 1,
        Some(Tier::Shared) => state.counts.shared += 1,
        Some(Tier::Database) => state.counts.database += 1,
        _ => {}
    }
}

pub(crate) struct Judgement<'a> {
    pub(crate) world: &'a World,
    pub(crate) state: &'a State,
    pub(crate) begun: &'a Begun,
    pub(crate) answer: &'a Answer,
    pub(crate) now: Moment,
}

impl Judgement<'_> {
    fn run(&self, member: &Member, asked: &Asked) -> Option<String> {
        let database = &self.state.database;
        let line = self.begun.line;
        if !database.stamps[line].iter().any(|stamp| stamp.value == self.answer.value) {
            return Some("the value was never committed".into());
        }
        if self.answer.stale {
            return self.stale(asked).map(str::to_owned);
        }
        if asked.bypass {
            return (!self.was_loaded()).then(|| "the database did not return this value".into());
        }
        let mut tokens = asked.at_least.iter().chain(&asked.and);
        if let Some(event) = tokens.find_map(|token| self.lacks(Floor { position: token, origin: 0 })) {
            return Some(format!("the value lacks event {event} of a token"));
        }
        if let Some(position) = &self.answer.position
            && let Some(event) = self.lacks(Floor { position, origin: 0 })
        {
            return Some(format!("the value lacks event {event} of the position that it claims"));
        }
        if let Some(allowed) = asked.max_staleness
            && self.is_older(allowed, self.begun.at)
        {
            return Some("the value is staler than allowed".into());
        }
        if let Some(bound) = self.answer.bound
            && self.is_older(bound, self.now)
        {
            return Some("the value is staler than its bound says".into());
        }
        if self.lived_too_long() {
            return Some("the value has lived for too long".into());
        }
        let by_log = self.begun.by_log.is_some() && self.begun.by_log == member.by_log();
        if by_log && self.is_outdated(asked) {
            return Some("the value is older than the freshness objective allows".into());
        }
        let wrong = if by_log && !self.is_torn_back() { self.eventual(member) } else { None };
        // A plain read does not learn that its value is stale.
        wrong.filter(|_| self.answer.tier.is_some() || self.stale(asked).is_some())
    }

    /// True if an invalidator of a former primary of the database has the store, or had it a moment ago: it cannot know what was
    /// applied before, and a process's own tier trusts the messages of each until the first one of the next. What is proven stays true; what is only eventual may be older for a moment.
    fn is_torn_back(&self) -> bool {
        let shared = matches!(self.answer.tier, Some(Tier::Shared | Tier::Database));
        let long = 4 * self.world.config.silence().as_micros() as Moment;
        let recently =
            |server: &Server| server.is_torn() || server.torn_at > 0 && server.torn_at + long >= self.begun.at;
        !shared && self.state.servers.iter().any(recently)
    }

    /// The first event of the floor that overwrote the value.
    fn lacks(&self, floor: Floor<'_>) -> Option<usize> {
        let database = &self.state.database;
        for stamp in database.stamps[self.begun.line].iter().rev() {
            if stamp.value == self.answer.value {
                return None;
            }
            if floor.has(&database.events[stamp.event]) {
                return Some(stamp.event);
            }
        }
        None
    }

    /// True if the value was current at no instant from so long before `until` on.
    pub(crate) fn is_older(&self, allowed: Duration, until: Moment) -> bool {
        let earliest = until.saturating_sub(allowed.as_micros() as Moment);
        // A server that does not know that it is not the primary any more can prove nothing else.
        if self.world.config.wild_clocks || earliest <= self.state.former_asked + self.doubt() {
            return false;
        }
        current_until(&self.state.database, self.begun.line, self.answer.value, self.now) < earliest
    }

    fn doubt(&self) -> Moment {
        if self.state.former_asked == 0 { 0 } else { 4 * self.world.config.skew_micros as Moment }
    }

    fn eventual(&self, member: &Member) -> Option<String> {
        match self.answer.tier {
            Some(Tier::Local) => self.local(),
            Some(Tier::Shared) => self.covered(member).or_else(|| self.shared(member)),
            _ if self.was_loaded() => None,
            _ if self.answer.maybe_local => self.shared(member).and_then(|_| self.local()),
            _ => self.shared(member),
        }
    }

    /// True if this process began a load after the read began that returned this value.
    fn was_loaded(&self) -> bool {
        let loads = &self.state.actors[self.begun.actor].loads[self.begun.line];
        loads.get(&self.answer.value).is_some_and(|begun| *begun >= self.begun.at)
    }

    fn link_is_up(&self) -> bool {
        let me = &self.state.actors[self.begun.actor];
        let link = me.reads.map(|server| (server, me.moves, self.state.servers[server].copies));
        self.begun.link.is_some() && link == self.begun.link
    }

    /// What a cache is served from the store is covered there.
    fn covered(&self, member: &Member) -> Option<String> {
        let (server, _, _) = self.begun.link?;
        let same = self.link_is_up() && self.state.servers[server].promises == self.begun.promises;
        let covers =
            self.begun.meta.as_ref().is_some_and(|meta| meta.is_live() && meta.coverage.covers(member.mapping));
        (same && !covers).then(|| "the store vouches for no entry of this cache".into())
    }

    fn shared(&self, member: &Member) -> Option<String> {
        if !self.link_is_up() {
            return None;
        }
        let by_any = || self.discarded(self.begun.removed, "the key was removed by hand from this server");
        if let Some(wrong) = self.discarded(self.begun.discarded, "this process removed the key").or_else(by_any) {
            return Some(wrong);
        }
        let meta = self.begun.meta.as_ref().filter(|meta| meta.is_live() && meta.coverage.covers(member.mapping))?;
        if self.went_back(meta) {
            return None;
        }
        let floor = Floor { position: meta.applied(), origin: self.state.origin(&meta.origin) };
        self.lacks(floor).map(|event| format!("event {event} was applied to the store before the read began"))
    }

    /// What a process removed by hand is not older, unless a process loads from a former primary.
    fn discarded(&self, by: Option<Discarded>, what: &str) -> Option<String> {
        let event = by.filter(|discarded| self.state.former_asked < discarded.at)?.event;
        self.is_before(event).then(|| format!("{what} after event {event}"))
    }

    /// True if an invalidator whose connections all lead to a former primary of the database has taken over since: it
    /// cannot know.
    fn went_back(&self, before: &Meta) -> bool {
        let before = self.state.origin(&before.origin);
        let me = &self.state.actors[self.begun.actor];
        let servers = self.begun.link.map(|(server, _, _)| server).into_iter().chain(me.bus);
        let mut metas = servers.flat_map(|server| self.state.servers[server].data.metas.iter().flatten());
        let recently = |server: &Server| server.torn_at > 0 && server.torn_at >= self.begun.at;
        self.state.servers.iter().any(recently) || metas.any(|meta| self.state.origin(&meta.origin) < before)
    }

    /// True if the value was overwritten by this event, or an earlier one.
    fn is_before(&self, event: usize) -> bool {
        let stamps = &self.state.database.stamps[self.begun.line];
        let newest = stamps.iter().rposition(|stamp| stamp.value == self.answer.value);
        newest.is_some_and(|at| stamps.get(at + 1).is_some_and(|next| next.event <= event))
    }

    fn local(&self) -> Option<String> {
        let me = &self.state.actors[self.begun.actor];
        if let Some(wrong) = self.discarded(self.begun.discarded, "this process removed the key")
            && self.link_is_up()
        {
            return Some(wrong);
        }
        let is_up = |announced: &Discarded| {
            let copies = me.bus.map(|server| self.state.servers[server].copies);
            me.bus_links == announced.link && copies == Some(announced.copies)
        };
        if let Some(wrong) = self.discarded(self.begun.announced.filter(is_up), "the bus said that the key was removed")
        {
            return Some(wrong);
        }
        let by_any = self.begun.removed.filter(|removed| removed.at + long(self.world) < self.begun.at);
        let same = self.link_is_up() && me.bus == me.reads && me.bus_links == self.begun.bus_links;
        if same && !self.state.is_split() && !self.world.config.wild_clocks {
            let wrong = self.discarded(by_any, "the key was removed by hand long ago, and the tier is still on");
            if wrong.is_some() {
                return wrong;
            }
        }
        if let Some(handed) = self.begun.handed.as_ref().filter(|_| me.bus_links == self.begun.bus_links) {
            let floor = Floor { position: &handed.applied, origin: handed.origin };
            if let Some(event) = self.lacks(floor) {
                return Some(format!("the bus had delivered event {event} to this process"));
            }
        }
        for meta in &self.begun.applied_long_ago {
            // Over a new connection to the bus, a tier begins with what its server has.
            if me.bus_links != self.begun.bus_links || self.went_back(meta) {
                continue;
            }
            let floor = Floor { position: meta.applied(), origin: self.state.origin(&meta.origin) };
            if let Some(event) = self.lacks(floor) {
                return Some(format!("event {event} was applied long ago, and the tier is still on"));
            }
        }
        None
    }
}

/// The last instant at which the value was current.
fn current_until(database: &Database, line: Line, value: Option<u64>, now: Moment) -> Moment {
    let stamps = &database.stamps[line];
    let Some(at) = stamps.iter().rposition(|stamp| stamp.value == value) else { return 0 };
    match stamps.get(at + 1) {
        None => NEVER,
        Some(next) => {
            let visible_at = database.events[next.event].visible_at;
            if visible_at > now { NEVER } else { visible_at }
        }
    }
}

/// An application has removed lines by hand: what was visible before is what is read from now on from the server that it
/// removed them from.
pub(crate) fn removed(world: &World, process: &Process, lines: &[Line], begun: &Discarding) {
    let mut state = world.state();
    let (server, moves, copies) = begun.link;
    let me = &state.actors[process.actor];
    if (me.reads, me.moves) != (Some(server), moves) || state.servers[server].copies != copies {
        return;
    }
    let discarded = Discarded { event: begun.event, at: begun.at, link: moves, copies };
    for line in lines {
        state.actors[process.actor].discarded[*line] = Some(discarded);
        let before = &mut state.servers[server].discarded[*line];
        *before = before.filter(|before| before.event > begun.event && before.copies == copies).or(Some(discarded));
    }
}
