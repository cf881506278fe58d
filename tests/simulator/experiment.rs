//! The experiment: the same load in TTL mode, there again with stale-while-revalidate, and in CDC mode. The mode that was found is
//! there again afterwards.

use cachefront_testkit::process::{Launch, Simulator};
use cachefront_testkit::wait;
use serde_json::{Value, json};

use crate::load::{finish, self_contained, with};
use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{PATIENCE, Place, World};

pub(crate) fn experiment(world: &World) -> Launch {
    Simulator::role("experiment").env("CACHEFRONT_API_URL", world.simulator.api_url()).arg("--json=-")
}

async fn mode(world: &World) -> Value {
    world.api.get("/mode").await.expect(200)["mode"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn ttl_shows_stale_reads_and_cdc_none_beyond_milliseconds() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_TTL", "2s")).await;
    world.api.set_mode("ttl").await;
    // Far above what a commit takes to the cache, also on a busy machine, and far below the time to live.
    // What TTL mode does by design misses no goal.
    let goals = ["--threshold=stale_late=0", "--threshold=errors=0"];
    let plan = ["--rate=150", "--duration=6s", "--grace=500ms", "--seed=7", "--html=ab.html", goals[0], goals[1]];
    let mut running = with(experiment(&world), &plan).spawn();
    let status = running.ended(PATIENCE * 3).await;
    let log = running.log();
    assert!(status.success(), "{log}");
    let line = log.lines().find(|line| line.starts_with('{')).expect("a result");
    let result: Value = serde_json::from_str(line).expect("JSON");

    let side = |mode: &str, pointer: &str| {
        let value = result.pointer(&format!("/{mode}/result{pointer}")).and_then(Value::as_f64);
        value.unwrap_or_else(|| panic!("no {pointer} in {}", result[mode]))
    };
    assert!(side("ttl", "/freshness/load/late") > 0.0 && side("ttl", "/freshness/probe/late") > 0.0, "{result}");
    assert_eq!((side("cdc", "/freshness/load/late"), side("cdc", "/freshness/probe/late")), (0.0, 0.0), "{result}");
    // A value that is served while it is loaded again is a hit, and older.
    assert!(side("swr", "/freshness/load/late") > 0.0, "{result}");
    assert!(side("swr", "/cache/hit_ratio") >= side("ttl", "/cache/hit_ratio"), "{result}");
    assert!(result["verdict"].as_str().is_some_and(|verdict| verdict.contains("stale-while-revalidate")), "{result}");
    let options = json!({ "ttl_ms": 2_000, "fenced": false, "refresh_in_place": false, "stale_if_error_ms": 0 });
    assert_eq!(result["caches"], options);
    assert!(side("cdc", "/freshness/load/judged") > 500.0, "{result}");
    // The cost is reported: what was invalidated is loaded again.
    assert!(side("cdc", "/cache/database_loads") > side("ttl", "/cache/database_loads"), "{result}");
    assert!(side("cdc", "/cache/hit_ratio") < side("ttl", "/cache/hit_ratio"), "{result}");
    for pointer in ["/seed", "/requests/sent", "/latency/writes/count"] {
        assert_eq!(side("ttl", pointer), side("cdc", pointer), "{pointer}");
        assert_eq!(side("ttl", pointer), side("swr", pointer), "{pointer}");
    }
    assert_eq!((&result["valid"], &result["restored"]), (&json!(true), &json!("ttl")), "{result}");
    assert_eq!(mode(&world).await, "ttl");
    assert_eq!(world.api.get("/users?limit=1000").await.expect(200), json!([]), "rows are left behind");

    let page = std::fs::read_to_string(running.data_dir().parent().expect("a folder").join("ab.html")).expect("a page");
    self_contained(&page);
    assert!(page.contains("Change capture ends stale reads") && page.contains("Database loads"));
}

/// The same load with and without values of rows in place: writes cost fewer loads, and no read is stale for long.
#[tokio::test(flavor = "multi_thread")]
async fn values_of_rows_in_place_save_loads() {
    let (with, without) = tokio::join!(cdc_side("true"), cdc_side("false"));
    let loads = |side: &Value| side["cache"]["database_loads"].as_u64().expect("a number");
    let hits = |side: &Value| side["cache"]["hit_ratio"].as_f64().expect("a number");
    assert!(loads(&with) < loads(&without), "{} {}", loads(&with), loads(&without));
    assert!(hits(&with) > hits(&without), "{} {}", hits(&with), hits(&without));
    assert_eq!(with["freshness"]["load"]["late"], 0, "{with}");
}

/// The result in CDC mode of a load with many writes.
async fn cdc_side(refresh_in_place: &str) -> Value {
    let world = World::start(Place::Embedded, |launch| {
        launch.env("CACHEFRONT_TTL", "10m").env("CACHEFRONT_REFRESH_IN_PLACE", refresh_in_place)
    })
    .await;
    let plan = ["--rate=100", "--duration=4s", "--grace=1s", "--seed=7", "--probe-rows=0", "--write-ratio=0.3"];
    let (_, result, log) = finish(with(experiment(&world), &plan)).await;
    assert_eq!(result["caches"]["refresh_in_place"].to_string(), refresh_in_place, "{log}");
    result["cdc"]["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_presets_are_listed() {
    let mut running = Simulator::role("experiment").arg("--preset=list").spawn();
    assert!(running.ended(PATIENCE).await.success(), "{}", running.log());
    assert!(running.log().contains("hot-key"), "{}", running.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_experiment_puts_the_mode_back() {
    let world = World::start(Place::Embedded, |launch| launch).await;
    let mut running = with(experiment(&world), &["--duration=5m", "--rate=50"]).spawn();
    wait::until_async("the first side runs", PATIENCE, async || {
        mode(&world).await == "ttl" && world.api.get("/users?limit=1000").await.expect(200) != json!([])
    })
    .await;
    let status = running.stop().await;
    assert_eq!(status.code(), Some(1), "{}", running.log());
    assert!(running.log().contains("stopped"), "{}", running.log());
    assert_eq!(mode(&world).await, "cdc");
    assert_eq!(world.api.get("/users?limit=1000").await.expect(200), json!([]), "rows are left behind");
}

/// The panel's process is killed within an A/B run: the next start takes back what it has done, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_experiment_is_taken_back_by_the_next_start() {
    let mut world = World::start(Place::Embedded, |launch| with_accounts(launch).env("CACHEFRONT_MODE", "cdc")).await;
    let reader = Reader::log_in(&panel_of(&world), "operator", "o secret").await;
    reader.post("/experiment", "preset=steady&rate=50&seconds=600").await.expect(200);
    let users = async |world: &World| world.api.get("/users?limit=1000").await.expect(200);
    wait::until_async("the first side runs", PATIENCE, async || {
        mode(&world).await == "ttl" && users(&world).await.as_array().map(Vec::len) >= Some(100)
    })
    .await;
    world.simulator.kill();
    world.simulator.restart().await;
    wait::until_async("mode and rows are as before", PATIENCE, async || {
        mode(&world).await == "cdc" && users(&world).await == json!([])
    })
    .await;
    wait::until_async("the page says so", PATIENCE, async || {
        reader.get("/").await.text.contains("the mode was cdc before it and is cdc now")
    })
    .await;
    // Nothing is left to be taken back.
    world.simulator.restart().await;
    assert!(!reader.get("/").await.text.contains("was cut off"));
    world.api.set_mode("ttl").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_another_client_changes_fails_the_experiment() {
    let world = World::start(Place::Embedded, |launch| launch.env("CACHEFRONT_MODE", "ttl")).await;
    let plan = ["--duration=3s", "--rate=50", "--probe-rows=0"];
    let launch = with(experiment(&world), &plan);
    let (finished, ()) = tokio::join!(finish(launch), async {
        wait::until_async("the second side runs", PATIENCE, async || mode(&world).await == "cdc").await;
        let users = async || world.api.get("/users?limit=1000").await.expect(200);
        wait::until_async("it has its rows", PATIENCE, async || users().await.as_array().map(Vec::len) >= Some(100))
            .await;
        world.api.set_mode("ttl").await;
        world.api.set_mode("cdc").await;
    });
    let (code, result, log) = finished;
    assert_eq!(code, Some(98), "{log}");
    assert_eq!(result["valid"], false, "{result}");
    assert!(result["notes"][0].as_str().expect("a note").contains("cdc side"), "{result}");
    assert_eq!(mode(&world).await, "cdc");
}
