//! A simulator and a browser that is logged in to its panel.

use cachefront_testkit::connector::{Connector, Servers};
use cachefront_testkit::process::{Launch, Simulator};
use cachefront_testkit::stack;
use cachefront_testkit::unique::{self, Database};
use cachefront_testkit::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::chrome::{Chrome, PATIENCE};

const PASSWORD: &str = "a password for the browser";

fn with_password(launch: Launch) -> Launch {
    launch.env("CACHEFRONT_UI_ADMIN_PASSWORD", PASSWORD)
}

/// Both, and an HTTP client that acts as another program.
pub(crate) struct Scene {
    pub(crate) chrome: Chrome,
    pub(crate) simulator: Simulator,
    http: reqwest::Client,
    // Dropped last: the program uses them.
    _connector: Option<Connector>,
    database: Option<Database>,
}

/// Settings with which every role reads a database's changes from Debezium on the shared Kafka. `user` is how the
/// connector logs in: `name:password`.
fn over_kafka(launch: Launch, database: &Database, prefix: &str, user: &str) -> Launch {
    let shared = stack::connect_mysql_url();
    let server = shared.rsplit('@').next().expect("an address").trim_end_matches('/');
    launch
        .over_kafka(database, prefix)
        .env("CACHEFRONT_CONNECT_MYSQL_URL", format!("mysql://{user}@{server}/{}", database.name()))
        .env("CACHEFRONT_STARTUP_TIMEOUT", "90s")
}

impl Scene {
    /// A browser of this size at the panel of an embedded simulator.
    pub(crate) async fn embedded(width: u32, height: u32, configure: impl FnOnce(Launch) -> Launch) -> Self {
        Self::at(width, height, configure(with_password(Simulator::role("up"))), None, None).await
    }

    /// The same on MySQL and Redis, with a database of its own.
    pub(crate) async fn on_servers(width: u32, height: u32, configure: impl FnOnce(Launch) -> Launch) -> Self {
        let database = unique::database("panel").await;
        let launch = with_password(Simulator::role("up")).on_servers(&database);
        Self::at(width, height, configure(launch), Some(database), None).await
    }

    /// The same with the changes coming by Debezium and Kafka. The connector logs in as `user`, `name:password`, who is
    /// made first.
    pub(crate) async fn over_kafka(
        width: u32,
        height: u32,
        user: &str,
        configure: impl FnOnce(Launch) -> Launch,
    ) -> Self {
        let (database, prefix) = (unique::database("panel").await, unique::name("panel"));
        let (name, password) = user.split_once(':').expect("a name and a password");
        database.execute(&format!("CREATE USER '{name}'@'%' IDENTIFIED BY '{password}'")).await;
        let rights = "SELECT, RELOAD, SHOW DATABASES, REPLICATION SLAVE, REPLICATION CLIENT, LOCK TABLES";
        database.execute(&format!("GRANT {rights} ON *.* TO '{name}'@'%'")).await;
        database.execute(&format!("GRANT INSERT, UPDATE ON `{}`.* TO '{name}'@'%'", database.name())).await;
        let mut bootstrap = over_kafka(Simulator::role("bootstrap"), &database, &prefix, user).spawn();
        assert!(bootstrap.ended(PATIENCE * 3).await.success(), "{}", bootstrap.log());
        let connector = Connector::adopt(&Servers::shared(), &prefix, &database);
        let launch = over_kafka(with_password(Simulator::role("up")), &database, &prefix, user);
        let scene = Self::at(width, height, configure(launch), Some(database), Some(connector)).await;
        wait::until_async("the invalidator reads from Kafka", PATIENCE * 2, async || {
            let pipeline = scene.api(Method::GET, "/pipeline", None).await;
            pipeline["applied"].is_string() && pipeline["running"] == true
        })
        .await;
        scene
    }

    /// A panel that is started as `launch` says; the caller keeps the servers.
    pub(crate) async fn of(width: u32, height: u32, launch: Launch) -> Self {
        Self::at(width, height, with_password(launch), None, None).await
    }

    async fn at(
        width: u32,
        height: u32,
        launch: Launch,
        database: Option<Database>,
        connector: Option<Connector>,
    ) -> Self {
        let (chrome, simulator) = tokio::join!(Chrome::start(width, height), launch.start());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let scene = Self { chrome, simulator, http, _connector: connector, database };
        scene.log_in().await;
        scene
    }

    /// A statement of another program that knows nothing of caches.
    pub(crate) async fn execute(&self, sql: &str) {
        self.database.as_ref().expect("on servers").execute(sql).await;
    }

    /// Fills in the form.
    pub(crate) async fn log_in(&self) {
        self.chrome.goto(&format!("{}/", self.simulator.ui_url())).await;
        self.enter_password().await;
    }

    /// Fills in the form that the browser shows.
    pub(crate) async fn enter_password(&self) {
        // The tour of the page starts by itself only at a first visit.
        self.chrome.run("localStorage.setItem('cachefront-guide', 'seen')").await;
        self.chrome.run(&format!("document.querySelector('[name=password]').value = '{PASSWORD}'")).await;
        self.chrome.click("form button").await;
        self.chrome.shows("#connection", "live", PATIENCE).await;
    }

    pub(crate) async fn api(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}{path}", self.simulator.api_url());
        let request = self.http.request(method, url);
        let request = match &body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let text = answer.text().await.expect("a body");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn add(&self, name: &str, email: &str) -> u64 {
        let user = self.api(Method::POST, "/users", Some(json!({ "name": name, "email": email }))).await;
        user["id"].as_u64().expect("an id")
    }

    pub(crate) async fn rename(&self, id: u64, name: &str, email: &str) {
        self.api(Method::PUT, &format!("/users/{id}"), Some(json!({ "name": name, "email": email }))).await;
    }

    pub(crate) async fn read(&self, id: u64) {
        self.api(Method::GET, &format!("/users/{id}"), None).await;
    }

    /// Reads until the panel says healthy: in CDC mode the event of the INSERT may come late and end the entry once.
    pub(crate) async fn warm(&self, id: u64) {
        wait::until_async("the panel says healthy", PATIENCE, async || {
            self.read(id).await;
            !self.chrome.text("[data-verdict=healthy]").await.is_empty()
        })
        .await;
    }

    pub(crate) async fn set_mode(&self, mode: &str) {
        self.api(Method::PUT, "/mode", Some(json!({ "mode": mode }))).await;
    }
}
