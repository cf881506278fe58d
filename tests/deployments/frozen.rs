//! The only invalidator is frozen under load: plain reads get older up to the freshness objective and the shortened time to
//! live, the database gets a bounded load, and the return is no stampede.

use std::time::Duration;

use cachefront_testkit::fleet::{Fleet, LagPolicy, Pod, ROWS, now};

use crate::common::{ACTOR, PHASE, code, commits, item, tell};
use crate::crowd::{during, say};

/// How long the invalidator is frozen.
const FROZEN: Duration = Duration::from_secs(30);
const OBJECTIVE: Duration = Duration::from_secs(2);
const SHORTENED: Duration = Duration::from_secs(1);
/// Loads of one cache at one time in one process.
const LOADS_MAX: usize = 4;
/// How long a load takes, at least.
const LOAD: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_invalidator_costs_age_and_no_more() {
    let fleet = Fleet::open().await;
    let writer = fleet.write();
    let caches = [item(), code()];
    let mut setup = fleet.setup(&caches);
    setup.quiet = true;
    let holder = Pod::ready(ACTOR, &fleet, &setup).await;
    setup.bind = Some(Vec::new());
    setup.crowd = 4;
    let millis = |time: Duration| u64::try_from(time.as_millis()).expect("a short time");
    setup.lag = Some(LagPolicy { objective_ms: millis(OBJECTIVE), ttl_ms: millis(SHORTENED) });
    (setup.loads_max, setup.load_ms) = (LOADS_MAX, millis(LOAD));
    let mut pods = Vec::new();
    for _ in 0..2 {
        pods.push(Pod::ready(ACTOR, &fleet, &setup).await);
    }
    commits(&writer, PHASE).await;

    let second = Duration::from_secs(1);
    let before = during(&mut pods, 4 * second).await;
    say("frozen", "before", 4 * second, &before);
    holder.freeze();
    let onset = during(&mut pods, OBJECTIVE + SHORTENED).await;
    say("frozen", "the first 3 s", OBJECTIVE + SHORTENED, &onset);
    let rest = FROZEN - OBJECTIVE - SHORTENED;
    let frozen = during(&mut pods, rest).await;
    say("frozen", "the other 27 s", rest, &frozen);
    let resumed = holder.resume();
    let back = during(&mut pods, second).await;
    say("frozen", "the first second after", second, &back);
    fleet.settle().await;
    tell(&format!("frozen: everything is applied {:?} after", Duration::from_micros(now() - resumed)));
    let after = during(&mut pods, 4 * second).await;
    say("frozen", "later", 4 * second, &after);

    let allowed = OBJECTIVE + SHORTENED;
    for seen in [&before, &onset, &frozen, &back, &after] {
        assert!(seen.reads > 0 && seen.errors == 0, "{seen:?}");
        assert!(seen.oldest() < allowed, "{:?} old, and {allowed:?} are allowed", seen.oldest());
        assert!(seen.loads_at_once <= (caches.len() * LOADS_MAX) as u64, "{seen:?}");
    }
    // Values do get old: else the invalidator was not frozen.
    assert!(frozen.oldest() > second / 4, "{frozen:?}");
    // One load of each key in the shortened time and process, those that are in progress at both ends, and some that met
    // another process's lease and were not kept.
    let keys = ROWS * caches.len() as u64;
    let times = rest.as_secs_f64() / SHORTENED.as_secs_f64() + 1.0;
    let bound = keys as f64 * times * pods.len() as f64 * 1.25;
    tell(&format!("frozen: {} loads in {rest:?}, {bound} are the bound", frozen.loads));
    assert!((frozen.loads as f64) <= bound, "{} loads", frozen.loads);
    // Each key may be invalidated once more than usual.
    let usual = before.loads.max(after.loads) / 4 + keys * pods.len() as u64;
    assert!(back.loads <= usual + usual / 2, "{} loads in the first second, {usual} are usual", back.loads);
}
