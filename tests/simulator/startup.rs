//! Starts that cannot succeed end with one clear line and exit code 1; ends that are asked for are orderly.

use std::net::TcpListener;
use std::time::Duration;

use cachefront_testkit::process::{Launch, Simulator};
use cachefront_testkit::{port, stack, unique, wait};

use crate::client::Client;
use crate::world::{PATIENCE, Place, World, on_servers};

/// Starts, waits for the end, and returns the line that says why.
async fn refusal(launch: Launch) -> String {
    let mut simulator = launch.spawn();
    let status = simulator.ended(PATIENCE).await;
    let log = simulator.log();
    assert_eq!(status.code(), Some(1), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(!log.contains("panicked"), "{log}");
    lines[0].to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind(("127.0.0.1", port::free())).expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for setting in ["CACHEFRONT_API_ADDR", "CACHEFRONT_UI_ADDR"] {
        let line = refusal(Simulator::role("up").env(setting, &address)).await;
        assert!(line.contains(&address) && line.contains("taken") && line.contains(setting), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_named_and_secrets_are_not_shown() {
    for (name, value, hint) in [
        ("CACHEFRONT_TTL", "30", "30s"),
        ("CACHEFRONT_TTL", "never", "500ms"),
        ("CACHEFRONT_MODE", "fast", "cdc"),
        ("CACHEFRONT_API_ADDR", "8000", "host:port"),
        ("CACHEFRONT_MYSQL_URL", "mysql://u:hush@:::/x", "MySQL URL"),
        ("CACHEFRONT_MYSQL_URL", "postgres://u:hush@h/x", "mysql://"),
        ("CACHEFRONT_DATA_DIR", "/proc/nothing", "CACHEFRONT_DATA_DIR"),
        ("CACHEFRONT_API_TOKENS", "hush,operator:", "empty"),
        ("CACHEFRONT_API_URL", "https://hush.example", "TLS is not supported"),
    ] {
        let line = refusal(Simulator::role("up").env(name, value)).await;
        assert!(line.contains(name) && line.contains(hint) && !line.contains("hush"), "{line}");
    }
    let open = refusal(Simulator::role("up").env("CACHEFRONT_API_ADDR", format!("0.0.0.0:{}", port::free()))).await;
    assert!(open.contains("CACHEFRONT_API_TOKENS") && open.contains("--insecure-open-api"), "{open}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_missing_or_refuse_are_named() {
    let database = unique::database("sim").await;
    let nowhere = port::free();
    let role = |name: &str| on_servers(Simulator::role(name), &database).env("CACHEFRONT_STARTUP_TIMEOUT", "1s");
    for name in ["up", "api", "consumer"] {
        let line =
            refusal(role(name).env("CACHEFRONT_MYSQL_URL", format!("mysql://u:hush@127.0.0.1:{nowhere}/x"))).await;
        assert!(line.contains(&nowhere.to_string()) && line.contains("CACHEFRONT_MYSQL_URL"), "{line}");
        assert!(!line.contains("hush"), "{line}");
        let line = refusal(role(name).env("CACHEFRONT_REDIS_URL", format!("redis://:hush@127.0.0.1:{nowhere}"))).await;
        assert!(line.contains(&nowhere.to_string()) && line.contains("CACHEFRONT_REDIS_URL"), "{line}");
        assert_eq!(line.matches("cannot be reached").count(), 1, "{line}");
        assert!(!line.contains("hush"), "{line}");
    }
    let wrong = format!("mysql://unknown:hush@{}", database.url().rsplit('@').next().expect("a host"));
    let line = refusal(role("up").env("CACHEFRONT_MYSQL_URL", wrong)).await;
    assert!(line.contains("user and password") && !line.contains("hush"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_waited_for_is_named_at_once_and_once() {
    let database = unique::database("sim").await;
    let nowhere = port::free();
    for (server, variable, url) in [
        ("MySQL", "CACHEFRONT_MYSQL_URL", format!("mysql://u:hush@127.0.0.1:{nowhere}/x")),
        ("Redis", "CACHEFRONT_REDIS_URL", format!("redis://:hush@127.0.0.1:{nowhere}")),
    ] {
        let launch = on_servers(Simulator::role("api"), &database).env(variable, url);
        let mut simulator = launch.env("CACHEFRONT_STARTUP_TIMEOUT", "2s").spawn();
        simulator.ended(PATIENCE).await;
        let log = simulator.log();
        assert_eq!(log.matches(&format!("waiting for {server} at 127.0.0.1:{nowhere}")).count(), 1, "{log}");
        assert!(!log.contains("hush"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_names_the_right_that_it_lacks() {
    let database = unique::database("sim").await;
    let user = unique::name("u");
    database.execute(&format!("CREATE USER {user} IDENTIFIED BY 'pw'")).await;
    database.execute(&format!("GRANT ALL ON {}.* TO {user}", database.name())).await;
    let host = database.url().rsplit('@').next().expect("a host").to_owned();
    let launch = on_servers(Simulator::role("consumer"), &database);
    let line = refusal(launch.env("CACHEFRONT_MYSQL_URL", format!("mysql://{user}:pw@{host}"))).await;
    database.execute(&format!("DROP USER {user}")).await;
    assert!(line.contains("GRANT REPLICATION SLAVE"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_absent_is_made_with_its_tables() {
    let name = unique::name("sim_made");
    let url = format!("{}/{name}", stack::mysql_url().trim_end_matches('/'));
    let launch =
        Simulator::role("api").env("CACHEFRONT_MYSQL_URL", url).env("CACHEFRONT_REDIS_URL", stack::redis_url());
    let simulator = launch.start().await;
    Client::new(simulator.api_url()).add("Ada", "ada@example.org").await;
    drop(simulator);
    unique::database("sim").await.execute(&format!("DROP DATABASE {name}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_asks_for_a_token_where_one_is_set() {
    let configure = |launch: Launch| launch.env("CACHEFRONT_API_TOKENS", "first-token, second-token");
    let world = World::start(Place::Embedded, configure).await;
    let api = &world.api;
    assert_eq!(api.get("/users").await.expect(401), serde_json::json!({ "detail": "Not authenticated" }));
    assert_eq!(api.get("/users").await.header("www-authenticate"), "Bearer");
    for wrong in ["Bearer third-token", "Bearer first-toke", "Bearer ", "Basic first-token", "first-token"] {
        api.get_with("/users", ("Authorization", wrong)).await.expect(401);
    }
    for right in ["Bearer first-token", "bearer second-token"] {
        api.get_with("/users", ("Authorization", right)).await.expect(200);
    }
    for open in ["/healthz", "/readyz"] {
        api.get(open).await.expect(200);
    }
    for closed in ["/metrics", "/events", "/mode", "/nothing"] {
        api.get(closed).await.expect(401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_named_env_is_read_below_the_environment() {
    let mut world = World::start(Place::Embedded, |launch| launch).await;
    let directory = world.simulator.data_dir().parent().expect("a parent").to_owned();
    // Lines of other programs are none of our business, whatever they look like.
    let text = "\u{feff}CACHEFRONT_MODE=ttl\nmy-var=1\na.b=1\nFOO\nKEY=\"two\nlines\"\nCACHEFRONT_API_ADDR=nonsense\n";
    std::fs::write(directory.join(".env"), text).expect("a file");
    world.simulator.restart().await;
    assert_eq!(world.api.get("/mode").await.expect(200)["mode"], "ttl");
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_it_ends_well_and_the_health_check_notices() {
    let mut world = World::start(Place::Embedded, |launch| launch).await;
    let check = |url: String| Simulator::role("healthcheck").env("CACHEFRONT_API_URL", url).arg("--timeout=5s").spawn();
    assert!(check(world.simulator.api_url()).ended(PATIENCE).await.success());
    assert!(world.simulator.stop().await.success(), "{}", world.simulator.log());
    let mut failing = check(world.simulator.api_url());
    assert_eq!(failing.ended(Duration::from_secs(20)).await.code(), Some(1));
}

/// A second signal does not wait for a request that takes its time.
#[tokio::test(flavor = "multi_thread")]
async fn asked_to_end_twice_it_ends_at_once() {
    let mut world = World::start(Place::Embedded, |launch| launch).await;
    world.api.put("/faults", &serde_json::json!({ "database_delay_ms": 9_000 })).await.expect(200);
    let slow = tokio::spawn({
        let request = world.api.request(reqwest::Method::GET, "/users");
        async move { request.send().await.is_err() }
    });
    wait::until_async("the request is in progress", PATIENCE, async || {
        // This one counts itself.
        world.api.get("/metrics").await.text.contains("simulator_http_requests_in_flight 2")
    })
    .await;
    world.simulator.tell_to_end();
    wait::until("it has noticed the signal", PATIENCE, || world.simulator.log().contains("shutting down")).await;
    let started = std::time::Instant::now();
    world.simulator.tell_to_end();
    assert_eq!(world.simulator.ended(PATIENCE).await.code(), Some(130), "{}", world.simulator.log());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert!(slow.await.expect("a task"), "the request was not waited for");
}
