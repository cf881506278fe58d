//! Runs are kept over a restart, within bounds, and compared; the sweep over lifetimes is one of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use cachefront_testkit::process::Simulator;
use cachefront_testkit::{unique, wait};
use serde_json::{Value, json};

use crate::load::with;
use crate::panel::{Reader, panel_of, start_alone, with_accounts};
use crate::world::{PATIENCE, Place, World, on_servers};

/// The ids of the kept runs, the newest first, as the list has them.
async fn ids(reader: &Reader) -> Vec<String> {
    let page = reader.get("/runs").await.text;
    page.split("data-run=\"").skip(1).filter_map(|rest| Some(rest.split('"').next()?.to_owned())).collect()
}

async fn until_kept(reader: &Reader, count: usize) -> Vec<String> {
    let kept = async || {
        // sleep: the poll interval, within the rate that a session has.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some(ids(reader).await).filter(|ids| ids.len() == count)
    };
    wait::until_some("the run is kept", PATIENCE, kept).await
}

fn folder(world: &World) -> PathBuf {
    world.simulator.data_dir().join("runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_survive_a_restart_and_two_are_compared() {
    let configure = |launch| with_accounts(launch).env("CACHEFRONT_TTL", "2s").env("CACHEFRONT_RUNS_MAX", "3");
    let mut world = World::start(Place::Embedded, configure).await;
    let panel = panel_of(&world);
    let operator = Reader::log_in(&panel, "operator", "o secret").await;
    assert!(operator.get("/runs").await.text.contains("data-empty=\"runs\""));
    for count in 1..=2 {
        operator.post("/load", "preset=hot-key&rate=60&seconds=1").await.expect(200);
        until_kept(&operator, count).await;
    }
    let [second, first] = &until_kept(&operator, 2).await[..] else { panic!("two runs") };
    let file = folder(&world).join(format!("{first}.json"));
    let rights = |path: &PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((rights(&file), rights(&folder(&world))), (0o600, 0o700));
    // Half of a file, as a full disk leaves it.
    let text = fs::read_to_string(&file).expect("a record");
    fs::write(folder(&world).join("1-load.json"), &text[..text.len() / 2]).expect("written");

    world.simulator.restart().await;
    let viewer = Reader::log_in(&panel, "viewer", "v secret").await;
    let list = viewer.get("/runs").await.text;
    assert!(list.contains("data-damaged=\"1-load\"") && list.contains("Put a whole copy in its place"), "{list}");
    assert!(list.contains(first) && list.contains(second) && list.contains("TTL 2 s"), "{list}");
    let compared = viewer.get(&format!("/runs/compare?a={first}.0&b={second}.0")).await;
    assert_eq!(compared.status, 200);
    assert!(compared.text.contains("data-figure=\"Stale reads\"") && compared.text.contains("data-plot=\"Hits\""));
    assert!(!compared.text.contains("The loads differ") && !compared.text.contains("The seeds differ"));
    for (path, status) in [
        (format!("/runs/{first}"), 200),
        (format!("/runs/{first}/json"), 200),
        ("/runs/2-load".to_owned(), 404),
        (format!("/runs/compare?a={first}.7&b=x"), 404),
        ("/runs/compare".to_owned(), 404),
    ] {
        let answer = viewer.get(&path).await;
        assert_eq!(answer.status, status, "{path}");
        // A page without a run says so, and nothing else.
        let is_alone = answer.text.contains("data-empty=\"run\"") && !answer.text.contains("data-verdict=");
        assert_eq!(is_alone, status == 404, "{path}: {}", answer.text);
    }
    let record = viewer.get(&format!("/runs/{first}/json")).await.expect(200);
    assert_eq!((&record["kind"], &record["measurements"][0]["ttl_ms"]), (&json!("load"), &json!(2_000)), "{record}");
    assert_eq!(record["measurements"][0]["mode"], "ttl");
    assert_eq!(viewer.post(&format!("/runs/{first}/delete"), "").await.status, 403);
    assert_eq!(viewer.post("/sweep", "").await.status, 403);

    let admin = Reader::log_in(&panel, "admin", "a secret").await;
    let kept = admin.get("/export").await.expect(200)["runs"]["kept"].clone();
    assert_eq!((kept.as_array().map(Vec::len), &kept[0]["record"]["seconds"]), (Some(2), &json!(1.0)), "{kept}");
    for id in ["1-load", first] {
        admin.post(&format!("/runs/{id}/delete"), "").await.expect(200);
    }
    assert_eq!(admin.post(&format!("/runs/{first}/delete"), "").await.status, 404);
    assert_eq!(ids(&admin).await, std::slice::from_ref(second));
    assert_eq!(panel.get("/runs").await.status, 401);

    // What was not there was not deleted, changed or stopped, and the audit list says so.
    assert_eq!(admin.post("/users/4294967296/write", "name=a&email=b").await.status, 404);
    assert_eq!(admin.post("/users/4294967296/delete", "").await.status, 404);
    admin.post("/stop/load", "").await.expect(200);
    let audit = admin.get("/audit").await.text;
    let outcomes = |what: &str| -> Vec<String> {
        let cell = format!("{what}</td>");
        let cells = audit.split(&cell).skip(1);
        cells.filter_map(|rest| Some(rest.split_once("data-outcome=\"")?.1.split('"').next()?.to_owned())).collect()
    };
    assert_eq!(outcomes(&format!("run {first} deleted")), ["failed", "ok"], "{audit}");
    for what in ["user 4294967296 changed", "user 4294967296 deleted", "load stopped"] {
        assert_eq!(outcomes(what), ["failed"], "{what}: {audit}");
    }
}

/// In a container without a volume nothing can be written: the last run is shown and exported all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_be_written_is_shown_and_exported() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let operator = Reader::log_in(&panel_of(&world), "operator", "o secret").await;
    fs::write(folder(&world), "a file is in the way").expect("written");
    operator.post("/load", "preset=steady&rate=50&seconds=1").await.expect(200);
    let first = until_kept(&operator, 1).await.remove(0);
    for path in ["/runs".to_owned(), format!("/runs/{first}")] {
        assert!(operator.get(&path).await.text.contains("data-unwritten"), "{path}");
    }
    assert!(operator.get("/runs").await.text.contains("Check CACHEFRONT_DATA_DIR"));
    assert_eq!(operator.get(&format!("/runs/{first}/json")).await.expect(200)["kind"], "load");
    // Written with the next one.
    fs::remove_file(folder(&world)).expect("removed");
    until_started(&operator, "/load", "preset=steady&rate=50&seconds=1").await;
    until_kept(&operator, 2).await;
    assert!(!operator.get("/runs").await.text.contains("data-unwritten"));
    assert!(folder(&world).join(format!("{first}.json")).is_file());
}

/// Starts a run in a session that has just asked often, and is held back.
async fn until_started(operator: &Reader, path: &str, form: &str) {
    wait::until_async("the run is started", PATIENCE, async || {
        // sleep: a session that asks on at once is held back on and on.
        tokio::time::sleep(Duration::from_millis(200)).await;
        operator.post(path, form).await.status == 200
    })
    .await;
}

/// A panel that runs alone keeps what is true of the API that it measures, not its own settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_kept_with_the_settings_of_the_api_that_was_measured() {
    let database = unique::database("sim").await;
    let fenced = |role: &str| on_servers(Simulator::role(role), &database).env("CACHEFRONT_FENCED", "true");
    let api = fenced("api").env("CACHEFRONT_TTL", "2s").start().await;
    let _consumer = fenced("consumer").start().await;
    let ui = with_accounts(on_servers(Simulator::role("ui"), &database)).env("CACHEFRONT_TTL", "9s");
    let ui = ui.env("CACHEFRONT_SOURCE", "kafka").env("CACHEFRONT_KAFKA_BROKERS", "127.0.0.1:1");
    let (_ui, panel) = start_alone(ui.env("CACHEFRONT_API_URL", api.api_url())).await;
    let operator = Reader::log_in(&panel, "operator", "o secret").await;
    operator.post("/load", "preset=steady&rate=50&seconds=1").await.expect(200);
    let load = until_kept(&operator, 1).await.remove(0);
    until_started(&operator, "/sweep", "preset=steady&rate=50&seconds=1&ttls=50ms&seeds=1").await;
    let sweep = until_kept(&operator, 2).await.remove(0);
    let built = json!({ "ttl_ms": 2_000, "fenced": true, "refresh_in_place": false, "stale_if_error_ms": 0 });
    for (id, ttl_ms) in [(load, 2_000), (sweep, 50)] {
        let record = operator.get(&format!("/runs/{id}/json")).await.expect(200);
        assert_eq!((&record["source"], &record["caches"]), (&json!("binlog"), &built), "{record}");
        assert_eq!(record["measurements"][0]["ttl_ms"], ttl_ms, "{record}");
        let page = operator.get(&format!("/runs/{id}")).await.text;
        assert!(page.contains("source binlog · caches: TTL 2 s, fenced loads"), "{page}");
    }
}

/// A figure of the measurements with a lifetime, `None` for CDC mode.
fn figure(record: &Value, ttl_ms: Option<u64>, name: &str) -> f64 {
    let parts = record["measurements"].as_array().expect("measurements");
    let of = parts.iter().filter(|part| part["ttl_ms"].as_u64() == ttl_ms);
    of.map(|part| part["figures"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {part}"))).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_lifetime_serves_more_stale_reads_and_loads_less() {
    let world = World::start(Place::Embedded, |launch| with_accounts(launch).env("CACHEFRONT_SWEEP_MAX", "1m")).await;
    let panel = panel_of(&world);
    let operator = Reader::log_in(&panel, "operator", "o secret").await;
    let mode = async || world.api.get("/mode").await.expect(200)["mode"].clone();

    let long = "preset=steady&rate=50&seconds=30&ttls=1s%2C5s&seeds=1";
    assert!(operator.post("/sweep", long).await.expect(422)["message"].to_string().contains("CACHEFRONT_SWEEP_MAX"));
    assert_eq!(operator.post("/sweep", "preset=steady&rate=50&seconds=1&ttls=5s%2C1s&seeds=1").await.status, 422);
    // Cancelled, it leaves the mode as it was, and no rows.
    operator.post("/sweep", "preset=steady&rate=50&seconds=30&ttls=1s&seeds=1").await.expect(200);
    assert_eq!(operator.post("/mode", "mode=cdc&version=1").await.status, 409);
    wait::until_async("it measures", PATIENCE, async || {
        operator.get("/runs").await.text.contains("data-sweep=\"running\"")
    })
    .await;
    operator.post("/stop/sweep", "").await.expect(200);
    wait::until_async("it is stopped", PATIENCE, async || {
        operator.get("/runs").await.text.contains("data-sweep=\"stopped\"")
    })
    .await;
    assert_eq!((mode().await, ids(&operator).await), (json!("ttl"), Vec::<String>::new()));
    assert_eq!(world.api.get("/users?limit=1000").await.expect(200), json!([]), "rows are left behind");

    // Nine of ten requests for one row, which is written about ten times a second.
    operator.post("/sweep", "preset=hot-key&rate=120&seconds=2&ttls=50ms%2C400ms%2C10s&seeds=1").await.expect(200);
    let id = until_kept(&operator, 1).await.remove(0);
    let record = operator.get(&format!("/runs/{id}/json")).await.expect(200);
    let [short, middle, long] = [50, 400, 10_000].map(Some);
    let stale = |ttl_ms| figure(&record, ttl_ms, "stale");
    let loads = |ttl_ms| figure(&record, ttl_ms, "database_loads");
    assert!(stale(short) < stale(middle) && stale(middle) < stale(long), "{record}");
    assert!(loads(short) > loads(middle) && loads(middle) > loads(long), "{record}");
    // Far above what a commit takes to the cache, also on a busy machine, and far below what a lifetime of 10 s leaves stale.
    assert!(figure(&record, None, "window_max_ms") < 1_000.0 && stale(None) < stale(long), "{record}");
    assert!(figure(&record, long, "window_max_ms") > 1_000.0, "{record}");
    for name in ["judged", "rate"] {
        assert!(figure(&record, None, name) > 0.0, "{record}");
    }
    let notes = record["notes"].to_string();
    assert!(notes.contains("One measurement takes 2 s: no entry with a TTL of 10 s expires"), "{notes}");
    let page = operator.get(&format!("/runs/{id}")).await.text;
    for part in ["data-ttl=\"400\"", "data-ttl=\"cdc\"", "data-unexpired", "data-plot=\"Database reads a second\""] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(mode().await, "ttl");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_have_the_lifetime_that_is_asked_for_and_a_sweep_uses_it() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let api = &world.api;
    let id = api.add("Ada", "ada@example.org").await;
    let cached = async |ttl_ms: u64| {
        let answer = api.get(&format!("/users/{id}?ttl_ms={ttl_ms}")).await;
        answer.expect(200);
        answer.header("x-cache").to_owned()
    };
    assert_eq!((cached(60_000).await, cached(60_000).await), ("miss".into(), "hit".into()));
    cached(50).await;
    wait::until_async("the shorter one expires", PATIENCE, async || cached(50).await == "miss").await;
    assert_eq!(cached(60_000).await, "hit");
    for query in ["ttl_ms=9", "ttl_ms=3600001", "ttl_ms=x", "ttl_ms=50&revalidate=true"] {
        assert_eq!(api.get(&format!("/users/{id}?{query}")).await.status, 422, "{query}");
    }
    // More than there can be at a time: the one that was asked for longest ago makes room.
    for ttl_ms in 100..200 {
        cached(ttl_ms).await;
        assert_eq!(cached(60_000).await, "hit", "{ttl_ms}");
    }
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("cache=\"users_ttl\"") && !metrics.contains("users_ttl_"), "their series are one");

    let sweep = Simulator::role("sweep").env("CACHEFRONT_API_URL", world.simulator.api_url()).arg("--json=-");
    let flags = ["--ttls=100ms,101ms", "--seeds=1", "--duration=1s", "--rate=50", "--users=10", "--probe-rows=1"];
    let mut running = with(sweep, &flags).spawn();
    assert!(running.ended(PATIENCE).await.success(), "{}", running.log());
    let log = running.log();
    let record: Value =
        serde_json::from_str(log.lines().find(|line| line.starts_with('{')).expect("a record")).expect("JSON");
    assert_eq!((&record["schema"], &record["kind"]), (&json!("cachefront-simulator-run"), &json!("sweep")));
    assert_eq!(record["measurements"].as_array().map(Vec::len), Some(3), "{record}");
    assert_eq!(api.get("/mode").await.expect(200)["mode"], "cdc");
    let mut wrong = Simulator::role("sweep").arg("--ttls=1").spawn();
    assert_eq!(wrong.ended(PATIENCE).await.code(), Some(1));
    assert!(wrong.log().contains("--ttls"), "{}", wrong.log());
}
