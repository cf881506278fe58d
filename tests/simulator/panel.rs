//! The control panel: it needs a login, a user does what the role allows, forms of other sites are not
//! obeyed, and it says what the cache holds.

use std::time::Duration;

use cachefront_testkit::process::{Launch, Simulator};
use cachefront_testkit::{unique, wait};
use mysql_async::prelude::Queryable;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::client::{Answer, Client};
use crate::world::{PATIENCE, Place, World, on_servers};

const PASSWORDS: [(&str, &str); 3] = [("admin", "a secret"), ("operator", "o secret"), ("viewer", "v secret")];

pub(crate) fn with_accounts(launch: Launch) -> Launch {
    PASSWORDS.iter().fold(launch.env("CACHEFRONT_MODE", "ttl"), |launch, (name, password)| {
        launch.env(format!("CACHEFRONT_UI_{}_PASSWORD", name.to_uppercase()), *password)
    })
}

/// A browser without a browser: it keeps the cookie and knows the token of its pages.
pub(crate) struct Reader {
    pub(crate) panel: Client,
    cookie: String,
    csrf: String,
}

impl Reader {
    pub(crate) async fn log_in(panel: &Client, name: &str, password: &str) -> Self {
        let answer = login(panel, name, password).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        let cookie = answer.header("set-cookie").to_owned();
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let mut reader = Self { panel: panel.clone(), cookie, csrf: String::new() };
        let page = reader.get("/").await.text;
        let (_, rest) = page.split_once("name=\"csrf\" content=\"").expect("a token in the page");
        reader.csrf = rest.split('"').next().expect("its end").to_owned();
        reader
    }

    /// The answer once the session may ask: a test that waits asks often, and gets a 429 with `Retry-After`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        wait::until_some("the session may ask", PATIENCE, async || {
            let answer = self.get_once(path).await;
            if answer.status == 429 {
                // sleep: a session that asks on at once is held back on and on.
                tokio::time::sleep(Duration::from_millis(200)).await;
                return None;
            }
            Some(answer)
        })
        .await
    }

    /// The answer to one request, whatever it is.
    pub(crate) async fn get_once(&self, path: &str) -> Answer {
        self.panel.get_with(path, ("cookie", &self.cookie)).await
    }

    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    async fn post_with(&self, path: &str, body: &str, csrf: &str, origin: &str) -> Answer {
        let request = self.panel.request(Method::POST, path).header("cookie", &self.cookie).header("origin", origin);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned());
        self.panel.send(request.header("x-csrf-token", csrf)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        self.post_with(path, body, &self.csrf, &self.panel.base.clone()).await
    }
}

async fn login(panel: &Client, name: &str, password: &str) -> Answer {
    let body = format!("name={name}&password={}", password.replace(' ', "+"));
    let request = panel.request(Method::POST, "/login").body(body);
    panel.send(request.header("content-type", "application/x-www-form-urlencoded")).await
}

pub(crate) fn panel_of(world: &World) -> Client {
    panel_at(world.simulator.ui_url())
}

/// Starts a panel that runs alone, and waits until it responds.
pub(crate) async fn start_alone(launch: Launch) -> (Simulator, Client) {
    let alone = launch.spawn();
    let panel = panel_at(alone.ui_url());
    wait::until_async("the panel replies", PATIENCE, async || {
        panel.request(Method::GET, "/healthz").send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await;
    (alone, panel)
}

pub(crate) fn panel_at(base: String) -> Client {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    Client { http: http.build().expect("a client"), base }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_gets_in_without_a_password_and_a_role() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let panel = panel_of(&world);
    let page = panel.get_with("/", ("accept", "text/html")).await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/login"));
    assert!(panel.get("/login").await.text.contains("type=\"password\""));
    for closed in [
        "/",
        "/live",
        "/cache",
        "/race",
        "/race/overtaken",
        "/audit",
        "/session",
        "/experiment/json",
        "/servers",
        "/writes",
        "/past",
        "/export",
    ] {
        assert_eq!(panel.get(closed).await.status, 401, "{closed}");
    }
    assert_eq!(panel.send(panel.request(Method::POST, "/users/1/delete")).await.status, 401);
    assert_eq!(login(&panel, "admin", "wrong").await.status, 401);
    let forged = panel.get_with("/session", ("cookie", "cachefront_session=admin.9999999999.00.00")).await;
    assert_eq!(forged.status, 401);

    let id = world.api.add("Ada", "ada@example.org").await;
    let [admin, operator, viewer] = PASSWORDS;
    let viewer = Reader::log_in(&panel, viewer.0, viewer.1).await;
    assert!(viewer.get("/").await.text.contains("id=\"why-off\""));
    assert!(viewer.get("/audit").await.text.contains("data-empty=\"admin-only\""));
    viewer.post(&format!("/users/{id}/read"), "").await.expect(200);
    for path in ["/mode", "/users", "/faults", "/flush", "/load", "/experiment", "/demo/ttl", "/sessions/end"] {
        assert_eq!(viewer.post(path, "").await.status, 403, "{path}");
    }
    let operator = Reader::log_in(&panel, operator.0, operator.1).await;
    assert_eq!(operator.post("/sessions/end", "").await.status, 403);
    operator.post("/mode", "mode=cdc&version=1").await.expect(200);
    let admin = Reader::log_in(&panel, admin.0, admin.1).await;
    let audit = admin.get("/audit").await.text;
    assert!(audit.contains("mode cdc") && audit.contains("data-outcome=\"failed\""), "{audit}");
    admin.post("/sessions/end", "").await.expect(200);
    for reader in [&viewer, &operator, &admin] {
        assert_eq!(reader.get("/session").await.status, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_of_others_are_not_obeyed_and_nothing_is_overwritten_unseen() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let panel = panel_of(&world);
    let reader = Reader::log_in(&panel, "operator", "o secret").await;
    let own = panel.base.clone();
    let body = "mode=cdc&version=1";
    assert_eq!(reader.post_with("/mode", body, &reader.csrf, "http://evil.example").await.status, 403);
    assert_eq!(reader.post_with("/mode", body, "", &own).await.status, 403);
    assert_eq!(reader.post_with("/mode", body, "guessed", &own).await.status, 403);
    assert_eq!(world.api.get("/mode").await.expect(200)["mode"], "ttl");

    // Another client switches while the confirmation is open.
    world.api.set_mode("cdc").await;
    world.api.set_mode("ttl").await;
    let late = reader.post("/mode", body).await.expect(409);
    assert!(late["message"].as_str().is_some_and(|message| message.contains("v3")), "{late}");
    assert_eq!(world.api.get("/mode").await.expect(200)["mode"], "ttl");
    reader.post("/mode", "mode=cdc&version=3").await.expect(200);
    assert_eq!(world.api.get("/mode").await.expect(200)["mode"], "cdc");
    // The same session goes on after a restart.
    let mut world = world;
    world.simulator.restart().await;
    assert_eq!(reader.get("/session").await.status, 204);
    let large = reader.post("/users", &"x".repeat(10 << 20)).await;
    assert_eq!(large.status, 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_refusals_does_not_fill_the_list() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let panel = panel_of(&world);
    let viewer = Reader::log_in(&panel, "viewer", "v secret").await;
    let operator = Reader::log_in(&panel, "operator", "o secret").await;
    assert_eq!(viewer.post("/flush", "").await.status, 403);
    assert_eq!(operator.post_with("/mode", "", "guessed", &panel.base).await.status, 403);
    let admin = Reader::log_in(&panel, "admin", "a secret").await;
    let audit = admin.get("/audit").await.text;
    assert!(audit.contains("POST /flush") && audit.contains("POST /mode"), "{audit}");
    assert!(audit.matches("data-outcome=\"refused\"").count() >= 2, "{audit}");
    assert!(audit.contains("data-tokens=\"none\""), "{audit}");
    for _ in 0..60 {
        viewer.post("/flush", "").await;
    }
    let audit = admin.get("/audit").await.text;
    // The entry names it twice: as text, and as its title.
    assert_eq!(audit.matches("POST /flush").count(), 2, "{audit}");
    assert!(audit.contains("20 times"), "what is beyond the rate is not written one by one: {audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_panel_shows_everything_and_changes_nothing() {
    let world = World::start(Place::Embedded, |launch| {
        with_accounts(launch)
            .env("CACHEFRONT_UI_READ_ONLY", "true")
            .env("CACHEFRONT_API_TOKENS", "viewer:hush-1,hush-2")
    })
    .await;
    let panel = panel_of(&world);
    let admin = Reader::log_in(&panel, "admin", "a secret").await;
    assert!(admin.get("/").await.text.contains("data-read-only"));
    for path in ["/mode", "/users", "/faults", "/flush", "/load", "/experiment", "/demo/ttl", "/sessions/end"] {
        let refused = admin.post(path, "mode=cdc&version=1").await.expect(403);
        assert_eq!(refused["code"], "read_only", "{path}: {refused}");
    }
    let audit = admin.get("/audit").await.text;
    assert!(audit.contains("data-tokens") && audit.contains("token 2") && !audit.contains("hush"), "{audit}");
    admin.post("/users/read", "").await.expect(200);
    admin.post("/logout", "").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_other_switch_of_the_mode_is_taken_during_a_comparison() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let reader = Reader::log_in(&panel_of(&world), "operator", "o secret").await;
    reader.post("/experiment", "preset=steady&rate=20&seconds=60").await.expect(200);
    for (path, body) in [("/mode", "mode=cdc&version=1"), ("/demo/cdc", ""), ("/demo/ttl", "")] {
        let refused = reader.post(path, body).await.expect(409);
        assert_eq!(refused["code"], "comparing", "{refused}");
    }
    let page = reader.get("/").await.text;
    assert!(page.contains("data-comparing"), "{page}");
    reader.post("/stop/experiment", "").await.expect(200);
    let free = async || {
        reader.post("/demo/stop", "").await.status == 200 && !page_of(&reader).await.contains("data-comparing")
    };
    wait::until_async("the comparison ends", PATIENCE, free).await;
}

/// When the charts' first sample was taken: a tab is sent them all at first.
async fn drawn(reader: &Reader) -> f64 {
    let mut response = wait::until_some("the session may follow", PATIENCE, async || {
        // sleep: as for pages.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let request = reader.panel.request(Method::GET, "/live").header("cookie", &reader.cookie);
        request.send().await.ok().filter(|response| response.status() == 200)
    })
    .await;
    let mut text = String::new();
    loop {
        let chunk = response.chunk().await.expect("a chunk").expect("it goes on");
        text.push_str(&String::from_utf8_lossy(&chunk));
        let Some((event, _)) = text.split("event: chart\ndata: ").nth(1).and_then(|rest| rest.split_once("\n\n"))
        else {
            continue;
        };
        let chart: Value = serde_json::from_str(event).expect("JSON");
        assert_eq!(chart["whole"], true);
        return chart["samples"][0][0].as_f64().expect("a sample");
    }
}

async fn page_of(reader: &Reader) -> String {
    // sleep: pages are bounded for each session, and what is posted next must find room.
    tokio::time::sleep(Duration::from_millis(100)).await;
    reader.get("/").await.text
}

#[tokio::test(flavor = "multi_thread")]
async fn results_say_when_they_were_taken_and_stay_over_a_restart() {
    let mut world = World::start(Place::Embedded, with_accounts).await;
    let reader = Reader::log_in(&panel_of(&world), "operator", "o secret").await;
    reader.post("/load", "preset=hot-key&rate=50&seconds=1").await.expect(200);
    wait::until_async("the load has a result", PATIENCE, async || {
        let page = page_of(&reader).await;
        page.contains("data-result=\"new\" data-preset=\"hot-key\"")
    })
    .await;
    reader.post("/experiment", "preset=steady&rate=50&seconds=1").await.expect(200);
    wait::until_async("the comparison has a result", PATIENCE, async || {
        page_of(&reader).await.contains("data-preset=\"steady\"")
    })
    .await;
    let before = reader.get("/experiment/json").await;
    assert_eq!(before.status, 200);
    let first = drawn(&reader).await;
    // A session that was ended stays ended, and what was shown is shown.
    let left = Reader::log_in(&reader.panel, "operator", "o secret").await;
    left.post("/logout", "").await.expect(200);
    assert!(world.simulator.stop().await.success());
    world.simulator.restart().await;
    assert_eq!(left.get("/session").await.status, 401);
    wait::until_async("the results are there again", PATIENCE, async || {
        let page = page_of(&reader).await;
        ["hot-key", "steady"]
            .iter()
            .all(|preset| page.contains(&format!("data-result=\"previous\" data-preset=\"{preset}\"")))
    })
    .await;
    assert_eq!(reader.get("/experiment/json").await.text, before.text);
    wait::until_async("the charts begin where they began", PATIENCE, async || drawn(&reader).await == first).await;
    assert!(reader.get("/experiment/html").await.text.contains("<html"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_what_the_cache_holds_and_names_are_text() {
    let world = World::start(Place::Embedded, with_accounts).await;
    let reader = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    let page = async || reader.get("/").await;
    // Pages that are opened within a moment share one snapshot.
    let says = async |verdict: &str| {
        let attribute = format!("data-verdict=\"{verdict}\"");
        wait::until_async(verdict, PATIENCE, async || page().await.text.contains(&attribute)).await;
    };
    says("empty").await;
    let policy = page().await.header("content-security-policy").to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let id = world.api.add("<script>alert(1)</script>", "ada@example.org").await;
    // The event of the INSERT may come late and end the entry once.
    let is_healthy = "data-verdict=\"healthy\"";
    wait::until_async("the cache is healthy", PATIENCE, async || {
        world.api.name_of(id).await;
        page().await.text.contains(is_healthy)
    })
    .await;
    let healthy = page().await.text;
    assert!(healthy.contains(is_healthy) && healthy.contains("&lt;script&gt;alert(1)"), "{healthy}");
    assert!(!healthy.contains("<script>alert"));
    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    says("stale").await;
    assert!(reader.get("/cache").await.text.contains(&format!("users:{id}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_panel_runs_alone_over_servers() {
    let database = unique::database("sim").await;
    let api = on_servers(Simulator::role("api"), &database).start().await;
    let alone = with_accounts(on_servers(Simulator::role("ui"), &database)).env("CACHEFRONT_API_URL", api.api_url());
    let (_alone, panel) = start_alone(alone).await;
    let reader = Reader::log_in(&panel, "operator", "o secret").await;
    let page = reader.get("/").await.text;
    assert!(page.contains("MySQL") && page.contains("Redis") && page.contains("data-verdict=\"empty\""), "{page}");
    assert!(page.contains("data-cause=\"capture_silent\""), "no consumer runs");
    // Races need neither servers nor a consumer.
    let race = reader.get("/race/visibility?side=cachefront&step=6").await.text;
    assert!(race.contains("data-outcome=\"current\""), "{race}");
    // What it switches is in force at the API.
    let version = Client::new(api.api_url()).get("/mode").await.expect(200)["version"].clone();
    reader.post("/mode", &format!("mode=cdc&version={version}")).await.expect(200);
    let served = Client::new(api.api_url());
    wait::until_async("the API follows", PATIENCE, async || served.get("/mode").await.expect(200)["mode"] == "cdc")
        .await;
    // That a session was ended is kept where every process and a restart find it.
    reader.post("/logout", "").await.expect(200);
    let mut connection = database.connect().await;
    let ended = "SELECT COUNT(*) FROM cachefront_kept WHERE name LIKE 'session.ended.%' AND expires > UNIX_TIMESTAMP()";
    let ended: Option<u64> = connection.query_first(ended).await.expect("the table is there");
    assert_eq!(ended, Some(1));
}
