//! Runs one world: operations at random, then rest, then everything must be right.

use std::sync::Arc;

use crate::clock::{millis, pass};
use crate::faults;
use crate::readers;
use crate::rest;
use crate::stage::Stage;
use crate::world::Counts;

/// The maximum number of applications' calls that are in progress at once.
const IN_PROGRESS_MAX: usize = 100;

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
        let done = operate(&mut stage, operations).await;
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

/// The number of operations that were done before something was wrong.
async fn operate(stage: &mut Stage, operations: u64) -> u64 {
    let world = Arc::clone(&stage.world);
    let (random, config) = (&world.random, &world.config);
    for operation in 0..operations {
        if !world.state().violations.is_empty() {
            return operation;
        }
        pace(stage).await;
        let draw = random.below(1_000);
        if draw < config.faults {
            faults::strike(stage);
        } else if draw < config.faults + config.writes {
            stage.spawn(readers::write(Arc::clone(&world)));
        } else if config.manual && random.chance(20) {
            if let Some(reader) = stage.reader() {
                stage.spawn(reader.invalidate());
            }
        } else if let Some(reader) = stage.reader() {
            stage.spawn(reader.read());
        }
    }
    operations
}

async fn pace(stage: &Stage) {
    let random = &stage.world.random;
    while stage.in_progress() > IN_PROGRESS_MAX {
        pass(millis(1)).await;
    }
    let pause = random.below(stage.world.config.pace + 1);
    if pause > 0 || random.chance(120) {
        pass(millis(pause.max(1))).await;
    } else {
        for _ in 0..random.below(4) {
            tokio::task::yield_now().await;
        }
    }
}
