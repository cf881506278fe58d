//! One process of a test: an invalidator that a test may kill, or readers that storm one key.
//!
//! `actor consumer` runs until it is killed, and prints each state that it comes to; over Kafka as a member of a group,
//! if the test names brokers. `actor storm TASKS ID MS` waits for a line on standard input, then reads key `ID` by that
//! many tasks at once, with a loader that takes so long, and prints each distinct value with its count, and then the time that
//! all took. With `patient` after it, its readers never ask again for the lease of another process: only the store wakes
//! them. `actor pod` is one process of a service.

mod crowd;
mod gate;
mod judge;
mod output;
mod pod;

use std::collections::BTreeMap;
use std::time::Duration;

use cachefront::{CacheSettings, CdcState, CdcStatus};
use cachefront_testkit::shop::{Items, Stream, builder, connect_cdc, connect_kafka_cdc, connect_store};

use crate::output::say;

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: a test starts this program"))
}

#[tokio::main]
async fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter("info").init();
    if std::env::args().nth(1).as_deref() == Some("pod") {
        let setup = serde_json::from_str(&setting("POD_SETUP")).expect("a setup in JSON");
        return pod::run(setup).await;
    }
    let store = connect_store(&setting("SHOP_REDIS_URL"), &setting("SHOP_NAMESPACE")).await;
    let cache = builder(store, &setting("SHOP_DATABASE"));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["consumer"] => {
            let cache = cache.build().expect("a cache");
            let cdc = match std::env::var("SHOP_KAFKA_BROKERS") {
                Ok(brokers) => {
                    let (prefix, database) = (setting("SHOP_TOPIC_PREFIX"), setting("SHOP_DATABASE"));
                    let stream = Stream { brokers: &brokers, prefix: &prefix, database: &database };
                    connect_kafka_cdc(&setting("SHOP_MYSQL_URL"), &stream, Some(&database), &cache).await
                }
                Err(_) => connect_cdc(&setting("SHOP_MYSQL_URL"), &cache).await,
            };
            let cdc = cdc.spawn().expect("an invalidator");
            let mut statuses = cdc.watch();
            let settled = |status: &CdcStatus| matches!(status.state, CdcState::Running | CdcState::Standby);
            statuses.wait_for(settled).await.expect("the invalidator works or waits");
            say("ready");
            let mut said = None;
            loop {
                let state = statuses.borrow_and_update().state;
                if said.replace(state) != Some(state) {
                    say(&format!("{state:?}"));
                }
                statuses.changed().await.expect("the invalidator never ends");
            }
        }
        ["storm", tasks, id, takes, ref patience @ ..] => {
            let pool = mysql_async::Pool::new(setting("SHOP_MYSQL_URL").as_str());
            let loader = Items::new(pool).slow(Duration::from_millis(takes.parse().expect("milliseconds")));
            let hour = Duration::from_secs(3600);
            let patient = CacheSettings::default().with_lease(hour).with_lease_wait(hour).with_lease_push_max(hour);
            let patient = patient.with_lease_poll_min(hour).with_lease_poll_max(hour);
            let settings = if patience == ["patient"] { patient } else { CacheSettings::default() };
            let cache = cache.settings(settings).loader(loader).build().expect("a cache");
            let (tasks, id): (usize, u64) = (tasks.parse().expect("a number"), id.parse().expect("a number"));
            say("ready");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).expect("a line");
            let began = std::time::Instant::now();
            let readers: Vec<_> = (0..tasks)
                .map(|_| {
                    let cache = cache.clone();
                    tokio::spawn(async move { cache.get(&id).await })
                })
                .collect();
            let mut values: BTreeMap<String, usize> = BTreeMap::new();
            for reader in readers {
                let value = reader.await.expect("joined").map_err(|error| error.chain());
                *values.entry(format!("{value:?}")).or_default() += 1;
            }
            let took = began.elapsed();
            say(&format!("{values:?}"));
            say(&format!("{} ms", took.as_millis()));
        }
        _ => panic!("usage: actor consumer | actor storm TASKS ID MS [patient]"),
    }
}
