//! The load generator: what it measures is what happened, and its exit code says whether that was good enough.

use std::time::Duration;

use cachefront_testkit::process::{Launch, Simulator};
use cachefront_testkit::wait;
use serde_json::Value;

use crate::stub::Stub;
use crate::world::{PATIENCE, Place, World};

/// A run of the load generator against `api`, its result on standard output.
pub(crate) fn load(api: &str) -> Launch {
    Simulator::role("load").env("CACHEFRONT_API_URL", api).arg("--json=-")
}

/// A launch with more arguments.
pub(crate) fn with(launch: Launch, arguments: &[&str]) -> Launch {
    arguments.iter().fold(launch, |launch, argument| launch.arg(*argument))
}

/// Runs to the end and returns the exit code, the result (if there is one) and what was printed.
pub(crate) async fn finish(launch: Launch) -> (Option<i32>, Value, String) {
    let mut running = launch.spawn();
    let code = running.ended(PATIENCE + Duration::from_secs(60)).await.code();
    let log = running.log();
    let line = log.lines().find(|line| line.starts_with('{'));
    let result = line.map_or(Value::Null, |line| serde_json::from_str(line).expect("JSON"));
    (code, result, log)
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_generator_prints_what_it_saw() {
    let simulator = Simulator::role("up").start().await;
    let launch = with(load(&simulator.api_url()), &["--rate=200", "--duration=2s", "--users=20", "--warmup=500ms"]);
    let (code, result, log) = finish(launch).await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(number(&result, "/requests/failed"), 0.0, "{result}");
    assert_eq!(number(&result, "/requests/sent") + number(&result, "/requests/dropped"), 400.0, "{result}");
    assert_eq!(number(&result, "/latency/all/count"), number(&result, "/requests/answered"));
    assert!(number(&result, "/latency/reads/count") > number(&result, "/latency/writes/count"), "{result}");
    let histogram: f64 =
        result["histogram"].as_array().expect("a histogram").iter().map(|step| number(step, "/1")).sum();
    assert_eq!(histogram, number(&result, "/requests/answered"));
    let ratio = number(&result, "/cache/hit_ratio");
    assert!(ratio > 0.5 && ratio < 1.0, "{result}");
    assert_eq!((number(&result, "/seed"), result["mode"].as_str()), (42.0, Some("cdc")));
}

/// Requests for each second, over 4 s of which the server does not respond for one.
const STALLED: [&str; 5] = ["--rate=200", "--duration=4s", "--in-flight=1", "--probe-rows=0", "--users=5"];

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_in_the_latency_of_all_requests_that_were_due() {
    let stub = Stub::start(Some(Duration::from_secs(1))).await;
    let (code, result, log) = finish(with(load(&stub.url()), &STALLED).arg("--start-within=5s")).await;
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(number(&result, "/requests/answered"), 800.0, "{result}");
    // Every fifth request was due while the server stood still; only one of them had been sent.
    assert!(number(&result, "/latency/all/p99_ms") > 800.0, "{result}");
    assert!(number(&result, "/latency/service/max_ms") > 800.0, "{result}");
    assert!(number(&result, "/latency/service/p99_ms") < number(&result, "/latency/all/p99_ms") / 2.0, "{result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_closed_model_hides_a_stall_and_says_so() {
    let stub = Stub::start(Some(Duration::from_secs(1))).await;
    let launch = with(load(&stub.url()), &["--model=closed", "--clients=1", "--duration=4s", "--probe-rows=0"]);
    let (code, result, log) = finish(launch).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(number(&result, "/latency/all/max_ms") > 800.0, "{result}");
    assert!(number(&result, "/latency/all/p99_ms") < 500.0, "{result}");
    assert_eq!(result["plan"]["model"], "closed");
    assert_eq!(result["requests"]["rate_wanted"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_in_time_is_dropped_and_counted() {
    let stub = Stub::start(Some(Duration::from_secs(1))).await;
    let launch = with(load(&stub.url()), &STALLED).arg("--start-within=100ms").arg("--threshold=dropped=0");
    let (code, result, log) = finish(launch).await;
    assert_eq!((code, result["verdict"]["ending"].as_str()), (Some(98), Some("invalid")), "{log}");
    let dropped = number(&result, "/requests/dropped");
    assert!((100.0..400.0).contains(&dropped), "{result}");
    assert_eq!(number(&result, "/requests/sent") + dropped, 800.0, "{result}");
    let points = result["timeline"].as_array().expect("a timeline");
    let total: f64 = points.iter().map(|point| number(point, "/dropped")).sum();
    assert_eq!(total, dropped);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_sends_the_same_requests() {
    let stub = Stub::start(None).await;
    let mut sequences = Vec::new();
    for seed in ["--seed=7", "--seed=7", "--seed=8"] {
        stub.forget();
        let arguments = [
            "--rate=300",
            "--duration=1s",
            "--in-flight=1",
            "--start-within=20s",
            "--probe-rows=0",
            "--write-ratio=0.2",
        ];
        let (code, _, log) = finish(with(load(&stub.url()), &arguments).arg(seed)).await;
        assert_eq!(code, Some(0), "{log}");
        sequences.push(stub.requests());
    }
    assert_eq!(sequences[0].len(), 300);
    assert!(sequences[0] == sequences[1], "{:?}\n{:?}", sequences[0], sequences[1]);
    assert!(sequences[0] != sequences[2], "the seed does not matter");
    let writes = sequences[0].iter().filter(|request| request.starts_with("PUT")).count();
    assert!((30..90).contains(&writes), "{writes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn goals_decide_the_exit_code() {
    let stub = Stub::start(None).await;
    let run = |goal: &str| {
        let launch = with(load(&stub.url()), &["--rate=50", "--duration=1s", "--probe-rows=0"]);
        finish(launch.arg(format!("--threshold={goal}")))
    };
    let (code, result, log) = run("p99<20s").await;
    assert_eq!((code, result["verdict"]["ending"].as_str()), (Some(0), Some("met")), "{log}");
    let (code, result, log) = run("rate>1000").await;
    assert_eq!((code, result["goals"][0]["met"].as_bool()), (Some(99), Some(false)), "{log}");
    // What was not measured meets no goal.
    let (code, _, log) = run("window_p99<20s").await;
    assert_eq!(code, Some(99), "{log}");
    let (code, _, log) = run("p99<20").await;
    assert!(code == Some(1) && log.contains("needs a unit"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_away_is_an_error_and_no_missed_goal() {
    let nowhere = format!("http://127.0.0.1:{}", cachefront_testkit::port::free());
    let (code, _, log) = finish(load(&nowhere).arg("--threshold=errors=0")).await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("CACHEFRONT_API_URL"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_finds_staleness_in_ttl_mode_only() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "2s")).await;
    // Far above what a commit takes to the cache, also on a busy machine, and far below the time to live.
    let plan = ["--rate=100", "--duration=5s", "--write-ratio=0.2", "--grace=500ms"];
    world.api.set_mode("ttl").await;
    let (_, ttl, log) = finish(with(load(&world.simulator.api_url()), &plan).arg("--threshold=stale_late=0")).await;
    assert!(number(&ttl, "/freshness/probe/stale") > 0.0 && number(&ttl, "/freshness/load/stale") > 0.0, "{log}");
    assert!(number(&ttl, "/freshness/load/late") > 0.0 && number(&ttl, "/freshness/windows/max_ms") > 500.0, "{ttl}");
    assert_eq!(ttl["verdict"]["ending"], "missed");

    world.api.set_mode("cdc").await;
    let (code, cdc, log) = finish(with(load(&world.simulator.api_url()), &plan).arg("--threshold=stale_late=0")).await;
    assert_eq!(code, Some(0), "{log}");
    assert!(number(&cdc, "/freshness/windows/count") > 40.0, "{cdc}");
    assert!(number(&cdc, "/freshness/windows/p50_ms") < 100.0, "{cdc}");
    // A read that overlaps the end of the run may be beyond judgement.
    assert!(number(&cdc, "/freshness/load/unknown") < 0.02 * number(&cdc, "/freshness/load/judged"), "{cdc}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_needs_no_network_and_files_are_written() {
    let stub = Stub::start(None).await;
    let launch = with(load(&stub.url()), &["--rate=50", "--duration=2s", "--html=run.html", "--hgrm=run.hgrm"]);
    let mut running = launch.spawn();
    assert!(running.ended(PATIENCE).await.success(), "{}", running.log());
    let folder = running.data_dir().parent().expect("a folder").to_owned();
    let page = std::fs::read_to_string(folder.join("run.html")).expect("a report");
    self_contained(&page);
    assert!(page.contains("Responses a second") && page.contains("Stale reads"));
    let hgrm = std::fs::read_to_string(folder.join("run.hgrm")).expect("a distribution");
    assert!(hgrm.trim_start().starts_with("Value") && hgrm.contains("#[Max"), "{hgrm}");
    assert!(hgrm.contains("1.000000000000        100"), "{hgrm}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_result_can_go_to_standard_output_and_two_are_refused() {
    let stub = Stub::start(None).await;
    let run = |more: &[&str]| {
        let launch = Simulator::role("load").env("CACHEFRONT_API_URL", stub.url());
        with(with(launch, &["--rate=50", "--duration=1s", "--probe-rows=0"]), more).spawn()
    };
    for (flag, first) in [("--html=-", "<!DOCTYPE html>"), ("--hgrm=-", "       Value")] {
        let mut running = run(&[flag]);
        assert!(running.ended(PATIENCE).await.success(), "{}", running.log());
        let log = running.log();
        assert!(log.lines().any(|line| line.starts_with(first)), "{log}");
        assert!(!log.contains("open model: latency"), "the summary is in the file: {log}");
    }
    let mut running = run(&["--html=-", "--json=-"]);
    assert_eq!(running.ended(PATIENCE).await.code(), Some(1));
    assert!(running.log().contains("only one of") && stub.requests().len() == 100, "{}", running.log());
}

/// Fails if the page would send any request.
pub(crate) fn self_contained(page: &str) {
    assert!(page.contains("default-src 'none'"));
    // The licence of the charts names its home.
    let rest = page.replace("https://github.com/leeoniya/uPlot", "");
    for word in ["http://", "https://", " src=", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import("]
    {
        assert!(!rest.contains(word), "{word} in the page");
    }
    let links: Vec<&str> = rest.split("href=").skip(1).map(|rest| rest.get(..8).unwrap_or(rest)).collect();
    assert_eq!(links, ["\"data:,\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_it_keeps_what_it_measured() {
    let stub = Stub::start(None).await;
    let mut running = with(load(&stub.url()), &["--rate=100", "--duration=10m", "--probe-rows=0"]).spawn();
    wait::until("requests arrive", PATIENCE, || stub.requests().len() > 20).await;
    assert!(running.stop().await.success(), "{}", running.log());
    let log = running.log();
    let result: Value =
        serde_json::from_str(log.lines().find(|line| line.starts_with('{')).expect("a result")).expect("JSON");
    assert_eq!(result["stopped"], true);
    assert!(number(&result, "/requests/answered") > 10.0 && number(&result, "/seconds") < 60.0, "{result}");
}
