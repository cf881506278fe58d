//! What operators look at: a real Prometheus over a running simulator, and every query that is shipped, asked of it.

mod board;
mod prometheus;
mod traffic;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cachefront_testkit::process::Simulator;
use cachefront_testkit::{stack, unique, wait};

use crate::board::Query;
use crate::prometheus::Prometheus;
use crate::traffic::Traffic;

/// How long it may take until every query finds something, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Queries that may find nothing while all is well, by a part of their text, and why.
const MAY_BE_EMPTY: [(&str, &str); 4] = [
    ("cachefront_store_errors_total", "an operation on the store that failed makes the first of these"),
    ("cachefront_local_resets_total", "doubt about the invalidation bus makes the first of these"),
    ("cachefront_source_errors_total", "a failure of the change source makes the first of these"),
    ("ALERTS{", "holds the alerts that are pending or firing"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_every_dashboard_finds_something() {
    let queries = board::queries();
    assert!(queries.len() > 60, "only {} queries: this test searches the wrong place", queries.len());
    let (simulator, prometheus) = start().await;
    let mut traffic = Traffic::start(&simulator).await;

    let started = Instant::now();
    let mut empty: BTreeMap<String, Query> =
        queries.iter().cloned().map(|query| (query.expression.clone(), query)).collect();
    while !empty.is_empty() && started.elapsed() < PATIENCE {
        traffic.round().await;
        prometheus::next_scrape().await;
        let mut still = BTreeMap::new();
        for (expression, query) in empty {
            let found = prometheus.numbers(&expression).await;
            let found = found.unwrap_or_else(|error| panic!("{query}: {error}"));
            if found == 0 {
                still.insert(expression, query);
            }
        }
        empty = still;
        // Those that are left are those that may be empty: nothing more is to be waited for.
        if empty.keys().all(|expression| may_be_empty(expression)) {
            break;
        }
    }
    empty.retain(|expression, _| !may_be_empty(expression));
    let empty: Vec<String> = empty.values().map(ToString::to_string).collect();
    assert!(empty.is_empty(), "queries that find nothing:\n  {}", empty.join("\n  "));
    for (part, _) in MAY_BE_EMPTY {
        assert!(queries.iter().any(|query| query.expression.contains(part)), "no query asks for {part} any more");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_is_evaluated_over_series_that_exist() {
    let (simulator, prometheus) = start().await;
    let mut traffic = Traffic::start(&simulator).await;
    let mut wrong = Vec::new();
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        traffic.round().await;
        prometheus::next_scrape().await;
        let rules = prometheus.rules().await;
        assert!(rules.len() > 40, "only {} rules were loaded", rules.len());
        wrong.clear();
        for rule in &rules {
            assert_eq!(rule.error, "", "{}", rule.name);
            if !rule.evaluated {
                wrong.push(format!("{} was not evaluated", rule.name));
            }
            if rule.recording && prometheus.numbers(&rule.name).await.expect("a name") == 0 {
                wrong.push(format!("{} records nothing", rule.name));
            }
            for metric in board::metrics(&rule.query) {
                let known = may_be_empty(&metric) || prometheus.numbers(&metric).await.expect("a name") > 0;
                if !known {
                    wrong.push(format!("{} asks for {metric}, which is not exported", rule.name));
                }
            }
        }
        if wrong.is_empty() {
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let firing = prometheus.numbers("ALERTS{alertstate=\"firing\"}").await.expect("a name");
    assert_eq!(firing, 0, "alerts fire while all is well");
}

#[tokio::test]
async fn the_numbers_of_the_simulator_keep_the_conventions() {
    let simulator = Simulator::role("up").start().await;
    Traffic::start(&simulator).await.round().await;
    let exposed = traffic::text(&simulator, "/metrics").await;
    assert!(exposed.contains("cachefront_reads_total{"), "{exposed}");
    prometheus::check_metrics(&exposed);
}

/// A simulator on SQLite, and a Prometheus with the shipped configuration that has scraped it.
async fn start() -> (Simulator, Prometheus) {
    let simulator = Simulator::role("up").start().await;
    let prometheus = Prometheus::start(&simulator);
    let up = "up{job=\"cachefront-api\"} == 1";
    wait::until_some("Prometheus has scraped the simulator", PATIENCE, async || {
        prometheus.numbers(up).await.ok().filter(|found| *found > 0)
    })
    .await;
    (simulator, prometheus)
}

fn may_be_empty(expression: &str) -> bool {
    MAY_BE_EMPTY.iter().any(|(part, _)| expression.contains(part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_numbers_of_a_panel_alone_are_for_the_bearers_of_a_token() {
    let database = unique::database("numbers").await;
    let panel = Simulator::role("ui")
        .env("CACHEFRONT_MYSQL_URL", database.url())
        .env("CACHEFRONT_REDIS_URL", stack::redis_url())
        .env("CACHEFRONT_API_TOKENS", "viewer:looks,operator:changes")
        .spawn();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let ask = async |token: &str| {
        let request = http.get(format!("{}/metrics", panel.ui_url())).bearer_auth(token);
        request.send().await.ok().map(|answer| answer.status().as_u16())
    };
    let known = wait::until_some("the panel replies", PATIENCE, async || ask("looks").await).await;
    assert_eq!((known, ask("guessed").await), (200, Some(401)));
}
