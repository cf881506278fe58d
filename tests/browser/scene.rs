//! A simulator and a browser that is logged in to its panel.

use cachefront_tests::connector::Connector;
use cachefront_tests::process::{Launch, Simulator, bootstrap};
use cachefront_tests::unique::{self, Database};
use cachefront_tests::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::chrome::{Chrome, PATIENCE};

const PASSWORD: &str = "a password for the browser";

fn with_password(launch: Launch) -> Launch {
    launch.env("CACHEFRONT_UI_ADMIN_PASSWORD", PASSWORD)
}

/// Both, and an HTTP client beside them: another program.
pub(crate) struct Scene {
    pub(crate) chrome: Chrome,
    pub(crate) simulator: Simulator,
    /// Where the changes come by one.
    pub(crate) connector: Option<Connector>,
    http: reqwest::Client,
    // Dropped last: the program uses it.
    _database: Option<Database>,
}

impl Scene {
    /// A browser of this size at the panel of an embedded simulator.
    pub(crate) async fn embedded(width: u32, height: u32, configure: impl FnOnce(Launch) -> Launch) -> Self {
        Self::at(width, height, configure(with_password(Simulator::role("up"))), None).await
    }

    /// The same on MySQL and Redis, with a database of its own.
    pub(crate) async fn on_servers(width: u32, height: u32, configure: impl FnOnce(Launch) -> Launch) -> Self {
        let database = unique::database("panel").await;
        let launch = with_password(Simulator::role("up")).on_servers(&database);
        Self::at(width, height, configure(launch), Some(database)).await
    }

    /// The same with the changes coming by Debezium and Kafka.
    pub(crate) async fn over_kafka(width: u32, height: u32, configure: impl FnOnce(Launch) -> Launch) -> Self {
        let database = unique::database("panel").await;
        let connector = bootstrap(&database).await;
        let launch = with_password(Simulator::role("up")).over_kafka(&database, connector.name());
        let mut scene = Self::at(width, height, configure(launch), Some(database)).await;
        scene.connector = Some(connector);
        // The connector's first transaction makes the topic that the consumer's group is over.
        wait::until_async("the consumer reads from Kafka", PATIENCE, async || {
            let pipeline = scene.api(Method::GET, "/pipeline", None).await;
            pipeline["applied"].is_string() && pipeline["running"] == true
        })
        .await;
        scene
    }

    /// A panel that is started as `launch` says; the caller keeps the servers.
    pub(crate) async fn of(width: u32, height: u32, launch: Launch) -> Self {
        Self::at(width, height, with_password(launch), None).await
    }

    async fn at(width: u32, height: u32, launch: Launch, database: Option<Database>) -> Self {
        let (chrome, simulator) = tokio::join!(Chrome::start(width, height), launch.start());
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let scene = Self { chrome, simulator, connector: None, http, _database: database };
        scene.log_in().await;
        scene
    }

    /// Fills in the form.
    pub(crate) async fn log_in(&self) {
        self.chrome.goto(&format!("{}/", self.simulator.ui_url())).await;
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

    /// Reads until the panel says healthy: in cdc mode the event of the INSERT may come late and end the entry once.
    pub(crate) async fn warm(&self, id: u64) {
        wait::until_async("the panel says healthy", PATIENCE, async || {
            self.read(id).await;
            self.chrome.text("[data-verdict] h1").await == "cache healthy"
        })
        .await;
    }

    pub(crate) async fn set_mode(&self, mode: &str) {
        self.api(Method::PUT, "/mode", Some(json!({ "mode": mode }))).await;
    }
}
