//! Rest: faults have ended and some time has passed. Now every cache serves what is current, at every level, from its
//! tiers; nothing stale is left; and what was committed is applied.

use std::sync::Arc;

use cachefront_core::entry::{Entry, PayloadState};
use cachefront_core::store::{InvalidationMode, MappingId, Meta};
use cachefront_core::{CdcState, ErrorKind, Tier};

use crate::caches::key_map_of;
use crate::clock::{Moment, millis, pass};
use crate::database::{Way, Write};
use crate::faults;
use crate::keys::{KEYS, KINDS, Key, Kind, NARROW, line};
use crate::oracle::Asked;
use crate::process::{Member, Process};
use crate::readers::Reader;
use crate::stage::Stage;
use crate::world::World;

/// Everything settles within this many milliseconds.
const SETTLED_WITHIN: u64 = 60_000;

pub(crate) async fn rest(stage: &mut Stage) {
    let world = Arc::clone(&stage.world);
    if world.config.database_faults && world.random.chance(300) {
        fail_over_behind_the_gate(&world).await;
    }
    faults::heal(stage);
    if !settles(stage).await || !settles_slowly(stage).await {
        return;
    }
    if world.config.slow_visibility {
        let calm_since = world.state().calm_since;
        world.time.reach(calm_since).await;
        commit_hidden(&world, 1_000_000);
        if !settles(stage).await {
            return;
        }
        // What changes no covered cache is applied before it is visible.
        let visible_at = {
            let state = world.state();
            state.database.events[state.database.last()].replica_at
        };
        world.time.reach(visible_at).await;
    }
    pass(world.config.silence() * 2 + millis(700)).await;
    look_at_store(&world);
    for process in &stage.processes {
        for member in 0..process.members.len() {
            look_through(&world, process, member).await;
        }
    }
}

/// Commits what is in the log now and visible later.
fn commit_hidden(world: &World, micros: u64) {
    let visible_at = world.now() + micros;
    let way = Way { visible_at, replica_at: visible_at, unmappable: false };
    let writes = [Write::User { number: 0, mail: None }, Write::Order { number: 0 }];
    let event = world.state().database.commit(&writes, way);
    world.log(|| format!("commit {event} visible at {visible_at}"));
    world.logged.notify_waiters();
}

/// The primary is replaced while an invalidator waits for what the former one will never show.
async fn fail_over_behind_the_gate(world: &World) {
    commit_hidden(world, 500_000);
    pass(millis(100)).await;
    let now = world.now();
    world.state().database.fail_over(world.random.index(2), now);
    world.logged.notify_waiters();
    pass(millis(world.random.below(50))).await;
}

/// Waits until everything has settled.
async fn settles(stage: &mut Stage) -> bool {
    let world = Arc::clone(&stage.world);
    let begun = world.now();
    while stage.in_progress() > 0 || !is_settled(stage) {
        if world.now() > begun + SETTLED_WITHIN * 1_000 {
            let states: Vec<_> = stage.invalidators.iter().map(|one| (one.actor, one.handle.status())).collect();
            world.violated(|| format!("it does not settle: {} calls in progress, {states:?}", stage.in_progress()));
            return false;
        }
        pass(millis(20)).await;
        // A client that began before the faults ended may have altered a table since.
        world.state().database.complete_tables(world.now());
        faults::keep_one(stage);
    }
    true
}

/// One invalidator runs, and all that was committed is applied.
fn is_settled(stage: &Stage) -> bool {
    let runs = stage.invalidators.iter().any(|one| {
        let status = one.handle.status();
        status.state == CdcState::Running && status.mode == InvalidationMode::Cdc
    });
    let state = stage.world.state();
    let executed = state.database.executed();
    let is_applied =
        |meta: &Option<Arc<Meta>>| meta.as_ref().is_some_and(|meta| meta.is_live() && meta.applied().covers(executed));
    runs && state.servers[state.primary].data.metas.iter().all(is_applied)
}

/// Every call of the store takes longer than a heartbeat's period: batches are applied all the same ("The loop turns").
async fn settles_slowly(stage: &mut Stage) -> bool {
    let world = Arc::clone(&stage.world);
    if world.config.slow_max > 100 || !world.random.chance(200) {
        return true;
    }
    {
        let mut state = world.state();
        (state.slow_until, state.calm_since) = (Moment::MAX, 0);
    }
    commit_hidden(&world, 0);
    let settled = settles(stage).await;
    let mut state = world.state();
    (state.slow_until, state.calm_since) = (0, world.now() + 1_500_000);
    settled
}

/// Changes when another invalidator takes over, as one that was frozen may.
fn promises(world: &World) -> u64 {
    let state = world.state();
    state.servers[state.primary].promises
}

fn current(world: &World, kind: Kind, key: Key) -> Option<u64> {
    let state = world.state();
    state.database.value_at(line(kind, key), state.database.last())
}

/// No entry that may be served is stale.
fn look_at_store(world: &World) {
    for kind in KINDS {
        // A tagged entry may stay: its marker is gone.
        if world.config.features.has_tags(kind) {
            continue;
        }
        let mappings: Vec<_> = (0..=NARROW).map(|release| key_map_of(&world.config, kind, release).mapping()).collect();
        for number in 0..KEYS as u16 {
            let key = Key::new(kind, number);
            let Some(entry) = in_force(world, kind, key, &mappings) else { continue };
            let value = match entry.header.state {
                PayloadState::Fresh => std::str::from_utf8(&entry.payload).ok().and_then(|text| text.parse().ok()),
                PayloadState::Negative => None,
                _ => continue,
            };
            let right = current(world, kind, key);
            if entry.header.mode == InvalidationMode::Cdc && value != right {
                world.violated(|| {
                    format!("a stale entry stays in the store: {kind:?} {number} is {value:?}, not {right:?}")
                });
            }
        }
    }
}

/// The key's entry, if its own shard covers the cache under one of these mappings in the entry's generation. Other shards may
/// have other generations: a reader's `clear` that overtakes a flush on some shards leaves them so.
fn in_force(world: &World, kind: Kind, key: Key, mappings: &[MappingId]) -> Option<Entry> {
    let now = world.now();
    let store_key = cachefront_core::StoreKey::encode_short(kind.cache(), &key).ok()??;
    let state = world.state();
    let (meta, slot) = state.servers[state.primary].look(&store_key, now);
    let entry = Entry::decode(slot?.bytes.clone()).ok()?;
    let coverage = &meta?.coverage;
    mappings.iter().any(|mapping| coverage.generation(*mapping) == Some(entry.header.generation)).then_some(entry)
}

/// Reads every key of a cache at every level.
async fn look_through(world: &Arc<World>, process: &Arc<Process>, at: usize) {
    let member = &process.members[at];
    let executed = Arc::clone(world.state().database.executed());
    let promises = promises(world);
    let levels = [
        Asked::default(),
        Asked { at_least: Some(executed), ..Asked::default() },
        Asked { max_staleness: Some(world.config.heartbeat * 6 + millis(400)), ..Asked::default() },
        Asked { bypass: true, ..Asked::default() },
        // Twice: the entry may have come to the end of its time.
        Asked::default(),
        Asked::default(),
    ];
    for number in 0..world.config.keys {
        let key = Key::new(member.kind, number);
        let mut tier = None;
        for asked in &levels {
            let reader = Reader { world: Arc::clone(world), process: Arc::clone(process), member: at };
            let right = current(world, member.kind, key);
            match reader.one(key, asked, true).await {
                Ok(answer) if answer.stale => tier = None,
                Ok(answer) if answer.value == right => tier = answer.tier,
                // Only what is kept can be proven to be recent where a replica is read.
                Err(error) if error.kind() == ErrorKind::Unproven && cannot_prove(world, process, member) => {}
                other => {
                    let actor = process.actor;
                    world.violated(|| {
                        format!("at rest, process {actor} reads {key:?} as {other:?} at {asked:?}, not {right:?}")
                    });
                    return;
                }
            }
        }
        if world.config.is_undeclared() && world.state().actors[process.actor].on_replica {
            continue;
        }
        if let Some(wrong) = misplaced(world, member, tier).filter(|_| promises == self::promises(world)) {
            world.violated(|| format!("at rest, process {} has {key:?} in {tier:?}: {wrong}", process.actor));
        }
    }
}

/// True if every shard covers the cache under the member's mapping.
fn is_covered(world: &World, member: &Member) -> bool {
    let state = world.state();
    let metas = &state.servers[state.primary].data.metas;
    metas.iter().all(|meta| meta.as_ref().is_some_and(|meta| meta.coverage.covers(member.mapping)))
}

fn cannot_prove(world: &World, process: &Process, member: &Member) -> bool {
    world.state().actors[process.actor].on_replica && (world.config.is_undeclared() || !is_covered(world, member))
}

/// What is covered is cached, and nothing else is.
fn misplaced(world: &World, member: &Member, tier: Option<Tier>) -> Option<&'static str> {
    let covered = is_covered(world, member);
    match tier {
        // A reader whose clock is far ahead of the store's finds an entry over that the store takes for good.
        Some(Tier::Database) if covered && !world.config.wild_clocks && world.config.lives.keeps_values() => {
            Some("it is not cached")
        }
        Some(Tier::Shared | Tier::Local) if !covered => Some("it is cached, and nothing keeps it"),
        _ => None,
    }
}
