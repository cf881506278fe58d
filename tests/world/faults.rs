//! What goes wrong, and what is done on purpose: each at a random moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cachefront_core::store::transition;
use cachefront_core::{CdcState, InvalidationMode, ServingMode};

use crate::clock::{millis, pass};
use crate::focus::Focus;
use crate::keys::{NARROW, PLACES, RELEASES};
use crate::process::Invalidator;
use crate::readers::late_orders;
use crate::server::{Data, Role, Server};
use crate::stage::Stage;
use crate::world::World;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Replicate,
    PromoteStore,
    FailOverNode,
    RestartStore,
    EndFormerStore,
    CutReads,
    CutBus,
    DeafBus,
    Mislead,
    EvictEntry,
    EvictMeta,
    Suspend,
    SlowStore,
    StartInvalidator,
    StopInvalidator,
    KillInvalidator,
    FreezeInvalidator,
    StartProcess,
    EndProcess,
    FreezeProcess,
    FailOverDatabase,
    MoveWire,
    MoveLoader,
    BreakWire,
    HideCommits,
    Purge,
    SwitchMode,
    SwitchBypass,
    SwitchServing,
    StepClock,
    RollOut,
}

/// Does one of the faults that this world has.
pub(crate) fn strike(stage: &mut Stage) {
    let config = stage.world.config.clone();
    let has = |is: bool, weight: u64| if is { weight } else { 0 };
    let store = config.store_faults;
    let mut choices = [
        (config.copies, Fault::Replicate),
        (has(store, 10), Fault::PromoteStore),
        (has(store && config.nodes, 8), Fault::FailOverNode),
        (has(store, 2), Fault::RestartStore),
        (has(store, 6), Fault::EndFormerStore),
        (8, Fault::CutReads),
        (8, Fault::CutBus),
        (6, Fault::DeafBus),
        (has(store, 6), Fault::Mislead),
        (has(config.evictions, 20), Fault::EvictEntry),
        (has(config.evictions, 3), Fault::EvictMeta),
        (has(config.churn, 2), Fault::Suspend),
        (4, Fault::SlowStore),
        (has(config.churn, 14), Fault::StartInvalidator),
        (has(config.churn, 8), Fault::StopInvalidator),
        (has(config.churn, 5), Fault::KillInvalidator),
        (has(config.churn, 5), Fault::FreezeInvalidator),
        (has(config.churn, 3), Fault::StartProcess),
        (has(config.churn, 2), Fault::EndProcess),
        (has(config.churn, 3), Fault::FreezeProcess),
        (has(config.database_faults, 3), Fault::FailOverDatabase),
        (has(config.database_faults, 12), Fault::MoveWire),
        (has(config.database_faults, 12), Fault::MoveLoader),
        (5, Fault::BreakWire),
        (has(config.slow_visibility, 4), Fault::HideCommits),
        (has(config.odd_changes, 2), Fault::Purge),
        (has(config.switches, 4), Fault::SwitchMode),
        (has(config.switches, 3), Fault::SwitchBypass),
        (has(config.features.serving, 6), Fault::SwitchServing),
        (6, Fault::StepClock),
        (has(config.releases && config.churn, 20), Fault::RollOut),
    ];
    let favoured = favoured(stage.world.focus);
    for (weight, fault) in &mut choices {
        *weight *= if favoured.contains(fault) { FAVOUR } else { 1 };
    }
    let Some(fault) = stage.world.random.weighted(&choices) else { return };
    stage.world.log(|| format!("fault {fault:?}"));
    if fault == Fault::PromoteStore && stage.world.focus == Focus::Links {
        stage.spawn(follow_soon(Arc::clone(&stage.world)));
    }
    match fault {
        Fault::Replicate
        | Fault::PromoteStore
        | Fault::FailOverNode
        | Fault::RestartStore
        | Fault::EndFormerStore
        | Fault::EvictEntry
        | Fault::EvictMeta
        | Fault::Suspend => in_store(&stage.world, fault),
        Fault::FailOverDatabase
        | Fault::MoveWire
        | Fault::MoveLoader
        | Fault::BreakWire
        | Fault::HideCommits
        | Fault::Purge => in_database(stage, fault),
        Fault::StartInvalidator | Fault::StopInvalidator | Fault::KillInvalidator | Fault::FreezeInvalidator => {
            among_invalidators(stage, fault);
        }
        Fault::RollOut => roll_out(stage),
        Fault::StartProcess | Fault::EndProcess => among_processes(stage, fault),
        Fault::SwitchMode | Fault::SwitchBypass | Fault::SwitchServing => switch(stage, fault),
        _ => in_process(stage, fault),
    }
}

/// How much more often the faults strike that a world focuses on.
const FAVOUR: u64 = 10;

fn favoured(focus: Focus) -> &'static [Fault] {
    match focus {
        Focus::Everything => &[],
        Focus::Covering => &[Fault::RollOut],
        Focus::Definitions => {
            &[Fault::StartInvalidator, Fault::StopInvalidator, Fault::KillInvalidator, Fault::RollOut]
        }
        Focus::Links => &[Fault::PromoteStore, Fault::Mislead],
        Focus::Nodes => &[Fault::FailOverNode],
        Focus::Modes => &[Fault::SwitchMode, Fault::KillInvalidator, Fault::StopInvalidator, Fault::StartInvalidator],
        Focus::Replica => &[Fault::RollOut],
        Focus::Time => &[Fault::RestartStore, Fault::SlowStore],
    }
}

/// The former primary takes over the state of the new one while clients are still connected to it.
async fn follow_soon(world: Arc<World>) {
    pass(millis(world.random.below(10))).await;
    world.replicate();
}

fn in_store(world: &World, fault: Fault) {
    let random = &world.random;
    match fault {
        Fault::Replicate => world.replicate(),
        Fault::PromoteStore => {
            if random.chance(300) {
                // A planned failover loses nothing.
                world.replicate();
            }
            let follows = random.chance(500);
            let role = match random.below(4) {
                _ if world.focus == Focus::Links => Role::Demoted { follows: true },
                0 => Role::Partitioned,
                1 => Role::Down,
                _ => Role::Demoted { follows },
            };
            let data = world.state().replica.clone();
            promote(world, data, role);
        }
        Fault::FailOverNode => {
            // The other nodes keep what they have. The set of nodes is another one from now on.
            let data = {
                let state = world.state();
                let older = if random.chance(300) { &state.saved } else { &state.replica };
                let mut data = state.servers[state.primary].data.clone();
                data.take_shard(random.index(world.config.shards), older);
                data
            };
            promote(world, data, Role::Down);
        }
        Fault::RestartStore => {
            let data = world.state().replica.clone();
            promote(world, data, Role::Down);
        }
        Fault::EndFormerStore => {
            let follows = random.chance(500);
            let mut state = world.state();
            let primary = state.primary;
            for server in &mut state.servers[..primary] {
                server.role = match server.role {
                    Role::Partitioned => Role::Demoted { follows },
                    _ => Role::Down,
                };
                server.changed.notify_waiters();
            }
        }
        // A candidate has suspended the store, and ended before it took the term.
        Fault::Suspend => suspend(world),
        Fault::EvictEntry => {
            let mut state = world.state();
            let primary = state.primary;
            state.servers[primary].data.slots[random.index(PLACES)] = None;
        }
        _ => {
            let mut state = world.state();
            let primary = state.primary;
            let server = &mut state.servers[primary];
            let place = random.index(server.data.metas.len() + 1);
            for (shard, meta) in server.data.metas.iter_mut().enumerate() {
                if place == shard || place == world.config.shards {
                    *meta = None;
                }
            }
            server.promises += 1;
        }
    }
}

fn suspend(world: &World) {
    let now = world.now();
    let mut state = world.state();
    let primary = state.primary;
    let server = &mut state.servers[primary];
    for shard in 0..server.data.metas.len() {
        if let Some(meta) = server.data.metas[shard].as_deref().map(transition::suspend) {
            server.set_meta(shard, meta, now);
        }
    }
}

/// A server with this data becomes the primary.
fn promote(world: &World, data: Data, role: Role) {
    let random = &world.random;
    let id = random.next() | 1;
    let clock = world.config.server_clock(random);
    let mut state = world.state();
    let primary = state.primary;
    state.servers[primary].role = role;
    state.servers[primary].changed.notify_waiters();
    for server in &mut state.servers[..primary] {
        server.role = Role::Down;
        server.changed.notify_waiters();
    }
    state.servers.push(Server::new(id, data, clock));
    state.primary += 1;
    state.counts.failovers += 1;
}

fn in_database(stage: &mut Stage, fault: Fault) {
    let world = Arc::clone(&stage.world);
    let (random, now) = (&world.random, world.now());
    match fault {
        Fault::FailOverDatabase => {
            let lost = if random.chance(500) { random.index(4) } else { 0 };
            let mut state = world.state();
            state.database.fail_over(lost, now);
            state.counts.failovers += 1;
            drop(state);
            world.logged.notify_waiters();
        }
        Fault::MoveWire => {
            let primary = world.state().database.primary();
            if let Some(invalidator) = stage.any_invalidator() {
                let wires = &stage.invalidators[invalidator].wires;
                for wire in [&wires.probe, &wires.gate, &wires.log] {
                    if random.chance(500) {
                        wire.store(primary, Ordering::Relaxed);
                    }
                }
            }
        }
        Fault::MoveLoader => {
            let primary = world.state().database.primary();
            if let Some(process) = stage.any_process() {
                let actor = stage.processes[process].actor;
                world.state().actors[actor].database = primary;
            }
        }
        Fault::BreakWire => {
            if let Some(invalidator) = stage.any_invalidator() {
                stage.invalidators[invalidator].wires.broken.store(true, Ordering::Relaxed);
            }
        }
        Fault::HideCommits => world.state().hidden_until = now + random.below(600_000),
        _ => {
            let mut state = world.state();
            let last = state.database.last();
            state.database.purged = last.saturating_sub(random.index(4));
        }
    }
}

fn among_invalidators(stage: &mut Stage, fault: Fault) {
    let world = Arc::clone(&stage.world);
    if let Fault::StartInvalidator = fault {
        // One that found a table partial when it started has ended.
        stage.invalidators.retain(|one| !matches!(one.handle.status().state, CdcState::Failed));
        if stage.invalidators.len() < 4 {
            let release = stage.random_release();
            stage.invalidators.push(Invalidator::start(&world, release, InvalidationMode::Cdc));
        }
        return;
    }
    let Some(which) = stage.any_invalidator() else { return };
    match fault {
        Fault::StopInvalidator => {
            let invalidator = stage.invalidators.remove(which);
            tokio::spawn(invalidator.leave(world));
        }
        Fault::KillInvalidator => {
            let invalidator = stage.invalidators.remove(which);
            world.state().actors[invalidator.actor].dead = true;
            stage.graveyard.push(invalidator);
        }
        _ => {
            let until = world.now() + world.random.below(1_500_000);
            world.state().actors[stage.invalidators[which].actor].frozen_until = until;
        }
    }
}

/// A release that knows less is replaced by one that knows more, while commits of the tables that only the latter knows
/// are not visible yet: the former did not wait for them.
fn roll_out(stage: &mut Stage) {
    let world = Arc::clone(&stage.world);
    let random = &world.random;
    let release = if random.chance(500) {
        for invalidator in stage.invalidators.drain(..) {
            tokio::spawn(invalidator.leave(Arc::clone(&world)));
        }
        // The last one has the fewest caches.
        if random.chance(700) { RELEASES.len() - 1 } else { NARROW }
    } else {
        if world.config.slow_visibility && random.chance(700) {
            stage.spawn(late_orders(Arc::clone(&world)));
        } else if world.config.slow_visibility {
            world.state().hidden_until = world.now() + random.below(300_000);
        }
        random.index(NARROW)
    };
    if stage.invalidators.len() < 4 {
        stage.invalidators.push(Invalidator::start(&world, release, InvalidationMode::Cdc));
    }
}

fn among_processes(stage: &mut Stage, fault: Fault) {
    match fault {
        Fault::StartProcess if stage.processes.len() < 4 => stage.start_process(),
        Fault::EndProcess if stage.processes.len() > 1 => {
            if let Some(which) = stage.any_process() {
                stage.processes.remove(which);
            }
        }
        _ => {}
    }
}

/// Modes are switched for all caches and invalidators, or for one cache as in the middle of a switch.
fn switch(stage: &mut Stage, fault: Fault) {
    let random = Arc::clone(&stage.world.random);
    let mode = if random.chance(400) { InvalidationMode::Ttl } else { InvalidationMode::Cdc };
    let bypass = random.chance(300);
    let servings = [ServingMode::Normal, ServingMode::ReadOnly, ServingMode::Shadow, ServingMode::Bypass];
    let serving = servings[random.index(servings.len())];
    for process in &stage.processes {
        for member in process.members.iter().filter(|_| random.chance(700)) {
            match fault {
                Fault::SwitchBypass => member.set_bypass(bypass),
                Fault::SwitchServing => member.set_serving(serving),
                _ => member.set_mode(mode),
            }
        }
    }
    if let Fault::SwitchMode = fault {
        for invalidator in stage.invalidators.iter().filter(|_| random.chance(800)) {
            invalidator.handle.set_mode(mode);
        }
    }
}

fn in_process(stage: &mut Stage, fault: Fault) {
    let world = Arc::clone(&stage.world);
    let (random, now) = (&world.random, world.now());
    if let Fault::SlowStore = fault {
        world.state().slow_until = now + random.below(300_000);
        return;
    }
    let (clock, actor) = if random.chance(300) {
        let Some(which) = stage.any_invalidator() else { return };
        (&stage.invalidators[which].clock, stage.invalidators[which].actor)
    } else {
        let Some(which) = stage.any_process() else { return };
        (&stage.processes[which].clock, stage.processes[which].actor)
    };
    if let Fault::StepClock = fault {
        clock.set(world.config.process_clock(random));
        return;
    }
    let mut state = world.state();
    let bus = state.actors[actor].bus;
    let me = &mut state.actors[actor];
    match fault {
        Fault::CutReads => {
            me.reads = None;
            me.moves += 1;
        }
        Fault::CutBus => me.bus_cut = me.bus_links,
        Fault::DeafBus => me.deaf_until = now + random.below(1_000_000),
        Fault::Mislead => me.misled_until = now + random.below(600_000),
        _ => me.frozen_until = now + random.below(800_000),
    }
    if let Some(server) = bus {
        state.servers[server].changed.notify_waiters();
    }
}

/// Everything works from now on: faults end, connections are made again, one invalidator at least runs.
pub(crate) fn heal(stage: &mut Stage) {
    let world = Arc::clone(&stage.world);
    world.log(|| "faults end".to_owned());
    world.calm.store(true, Ordering::Relaxed);
    {
        let mut state = world.state();
        let (primary, database) = (state.primary, state.database.primary());
        for server in &mut state.servers[..primary] {
            server.role = Role::Down;
            server.changed.notify_waiters();
        }
        for actor in &mut state.actors {
            actor.frozen_until = 0;
            actor.misled_until = 0;
            actor.deaf_until = 0;
            actor.database = database;
            if actor.reads.is_some_and(|server| server != primary) {
                actor.reads = None;
                actor.moves += 1;
            }
        }
        state.slow_until = 0;
        state.hidden_until = 0;
        // What is on its way already may be slow.
        state.calm_since = world.now() + 1_500_000;
        state.database.purged = state.database.purged.min(state.database.last());
        state.database.complete_tables(world.now());
    }
    world.logged.notify_waiters();
    for process in &stage.processes {
        process.clock.set(0);
        for member in &process.members {
            member.set_serving(ServingMode::Normal);
            member.set_mode(InvalidationMode::Cdc);
        }
    }
    let primary = world.state().database.primary();
    for invalidator in &stage.invalidators {
        invalidator.clock.set(0);
        let wires = &invalidator.wires;
        wires.probe.store(primary, Ordering::Relaxed);
        wires.log.store(primary, Ordering::Relaxed);
        // A connection that is in use stays where it is, until it is noticed to lead to a former primary.
        if world.random.chance(500) {
            wires.gate.store(primary, Ordering::Relaxed);
        }
        wires.broken.store(false, Ordering::Relaxed);
        invalidator.handle.set_mode(InvalidationMode::Cdc);
    }
    keep_one(stage);
}

/// Starts an invalidator if there is none: one that found a table partial when it started has ended.
pub(crate) fn keep_one(stage: &mut Stage) {
    stage.invalidators.retain(|one| !matches!(one.handle.status().state, CdcState::Failed));
    if stage.invalidators.is_empty() {
        let release = stage.processes.first().map_or(0, |process| process.release);
        let invalidator = Invalidator::start(&stage.world, release.min(RELEASES.len() - 1), InvalidationMode::Cdc);
        invalidator.clock.set(0);
        stage.invalidators.push(invalidator);
    }
}
