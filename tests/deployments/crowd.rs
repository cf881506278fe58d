//! What plain readers and the database see while a test lasts.

use std::time::Duration;

use cachefront_testkit::fleet::{Crowd, Pod};

use crate::common::tell;

/// What the readers of all processes saw since the last call.
async fn seen(pods: &mut [Pod]) -> Crowd {
    let mut sum = Crowd::default();
    for pod in pods {
        sum.add(&pod.report().await.crowd);
    }
    sum
}

/// Lets `time` pass under load; returns what was seen meanwhile.
pub(crate) async fn during(pods: &mut [Pod], time: Duration) -> Crowd {
    seen(pods).await;
    // sleep: the load runs for this time.
    tokio::time::sleep(time).await;
    seen(pods).await
}

/// Prints what was seen.
pub(crate) fn say(test: &str, what: &str, time: Duration, crowd: &Crowd) {
    let per_second = |count: u64| count as f64 / time.as_secs_f64();
    tell(&format!(
        "{test}: {what}: {:.0} plain reads/s, the oldest {:?}; {:.1} loads/s, at most {} at once in a process; {} errors",
        per_second(crowd.reads),
        crowd.oldest(),
        per_second(crowd.loads),
        crowd.loads_at_once,
        crowd.errors
    ));
}
