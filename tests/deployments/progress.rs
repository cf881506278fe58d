//! Invalidators that hand over, are killed, wait at a slow gate, or write to a slow store.

use std::sync::Arc;
use std::time::Duration;

use cachefront::settings::CdcSettings;
use cachefront::store::Store;
use cachefront::testing::FaultyStore;
use cachefront::{Cdc, CdcState, binlog::BinlogSource, redis::RedisStore};
use cachefront_testkit::fleet::{Fleet, Pod, now};
use cachefront_testkit::server::MySql;
use cachefront_testkit::shop::{PATIENCE, Shop, applied, builder};
use cachefront_testkit::{stack, wait};
use mysql_async::prelude::Queryable;

use crate::common::{ACTOR, PHASE, Sum, at_rest, commits, item, tell};

fn since(begun: u64, ended: u64) -> Duration {
    Duration::from_micros(ended.saturating_sub(begun))
}

/// An orderly end hands over at once, a kill after the silence that standbys wait for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orderly_end_hands_over_at_once_and_a_kill_after_a_silence() {
    let mysql = MySql::start(&[]).await;
    let fleet = Fleet::open_on(&mysql.url(), &stack::redis_url()).await;
    let writer = fleet.write();
    let setup = fleet.setup(&[item()]);
    let mut sum = Sum::default();
    let (mut handovers, mut takeovers) = (Vec::new(), Vec::new());
    let mut standby = Pod::ready(ACTOR, &fleet, &setup).await;
    for _ in 0..3 {
        for orderly in [true, false] {
            let mut holder = Pod::ready(ACTOR, &fleet, &setup).await;
            standby.is("Standby").await;
            holder.is("Running").await;
            wait::until_async("one invalidator reads the log, the standby does not", PATIENCE, async || {
                dumps(&mysql).await == 1
            })
            .await;
            sum.add(&holder.report().await);
            let ended = if orderly { holder.tell_to_end() } else { holder.kill().await };
            let took = since(ended, standby.is("Running").await);
            if orderly { handovers.push(took) } else { takeovers.push(took) }
        }
    }
    tell("| another invalidator works after | first | second | third | intended |");
    tell("|---|---|---|---|---|");
    for (what, times, intended) in [("a clean stop", &handovers, "0.5 s"), ("kill -9", &takeovers, "2 s")] {
        tell(&format!("| {what} | {:.2?} | {:.2?} | {:.2?} | {intended} |", times[0], times[1], times[2]));
    }
    commits(&writer, PHASE).await;
    let mut pods = [standby];
    let rest = at_rest(&fleet, &writer, &mut pods).await;
    sum.add(&pods[0].report().await);
    sum.is_right("handovers", &["session", "bounded", "eventual"]);
    assert!(rest.stale.is_empty(), "{:?}", rest.stale);
    // A loaded machine is slower; what these bounds exclude is that a clean stop is waited for like a silence.
    assert!(handovers.iter().all(|took| *took < Duration::from_secs(2)), "{handovers:?}");
    assert!(takeovers.iter().all(|took| *took < Duration::from_secs(10)), "{takeovers:?}");
}

/// The number of connections that read the log.
async fn dumps(mysql: &MySql) -> u64 {
    let select = "SELECT COUNT(*) FROM performance_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%'";
    mysql.connect().await.query_first(select).await.expect("a reply").expect("a row")
}

/// How often `applied` moved during `time`.
async fn steps(store: &dyn Store, time: Duration) -> usize {
    let (mut last, mut steps, end) = (None, 0, tokio::time::Instant::now() + time);
    while tokio::time::Instant::now() < end {
        let is = applied(store).await;
        if is.is_some() && is != last {
            steps += usize::from(last.is_some());
            last = is;
        }
        // sleep: the poll interval; the loop is bounded by `time`.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    steps
}

/// What loaders read lags by more than the standbys' patience: three invalidators get on as one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_invalidators_behind_a_slow_gate_get_on_as_one_does() {
    let fleet = Fleet::open().await;
    let writer = fleet.write();
    let mut setup = fleet.setup(&[item()]);
    setup.gate_lag_ms = 3_500;
    let mut pods = Vec::new();
    for _ in 0..3 {
        pods.push(Pod::ready(ACTOR, &fleet, &setup).await);
    }
    let store = fleet.store().await;
    let moved = steps(&*store, Duration::from_secs(16)).await;
    let mut sum = Sum::default();
    let mut states = Vec::new();
    for pod in &mut pods {
        let report = pod.report().await;
        states.push(report.state.clone());
        sum.add(&report);
    }
    let rest = at_rest(&fleet, &writer, &mut pods).await;
    tell(&format!("three invalidators, a gate 3.5 s behind: `applied` moved {moved} times in 16 s; {states:?}"));
    sum.is_right("a slow gate", &["session", "bounded"]);
    assert!(rest.stale.is_empty(), "{:?}", rest.stale);
    // One would do it four times: each batch waits for the whole lag.
    assert!(moved >= 3, "{moved}");
    assert_eq!(states.iter().filter(|state| *state == "Running").count(), 1, "{states:?}");
}

/// A store that replies late delays invalidations and does not stop them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_store_does_not_stop_the_invalidator() {
    let shop = Shop::open(10).await;
    let redis = RedisStore::builder(&stack::redis_url()).namespace(&*shop.namespace).connect().await.expect("a store");
    let faulty = FaultyStore::new(redis.clone());
    let cache = builder(Arc::new(faulty.clone()), shop.database.name()).build().expect("a cache");
    let source = BinlogSource::connect(shop.database.url()).await.expect("a source");
    let cdc = Cdc::new(source).bind(&cache).settings(CdcSettings::default()).spawn().expect("an invalidator");
    cdc.ready().await.expect("it runs");
    let reader = shop.cache().await;
    let begun = cdc.status();
    for delay in [50, 200, 1_000].map(Duration::from_millis) {
        faulty.set_delay(delay);
        let mut worst = Duration::ZERO;
        for id in 1..=3 {
            let value = reader.get(&id).await.expect("an answer").expect("a row");
            let token = shop.increment(id).await;
            let written = now();
            wait::until_async("the change is applied", PATIENCE, async || {
                applied(&redis).await.is_some_and(|applied| applied.covers(&token))
            })
            .await;
            worst = worst.max(since(written, now()));
            assert_eq!(reader.get(&id).await.expect("an answer"), Some(value + 1));
        }
        tell(&format!("a store that replies {delay:?} late: applied after {worst:?} at most"));
        // A heartbeat's two calls may be in progress; then five calls.
        assert!(worst < delay * 12 + Duration::from_secs(2), "{delay:?}: {worst:?}");
        assert_eq!(cdc.status().state, CdcState::Running);
    }
    let status = cdc.status();
    assert_eq!((status.flushes_total, status.rewinds_total), (begun.flushes_total, 0), "{:?}", status.last_error);
    faulty.set_delay(Duration::ZERO);
    cdc.shutdown().await;
}
