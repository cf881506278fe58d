//! Requests of every kind that the service knows, over and over.

use cachefront_testkit::process::Simulator;
use serde_json::{Value, json};

/// How many users there are.
const USERS: u64 = 5;

/// A client that makes numbers move.
pub(crate) struct Traffic {
    http: reqwest::Client,
    base: String,
    rounds: u64,
}

impl Traffic {
    /// Adds the users.
    pub(crate) async fn start(simulator: &Simulator) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let traffic = Self { http, base: simulator.api_url(), rounds: 0 };
        for user in 1..=USERS {
            traffic.write(&traffic.url("/users"), user, reqwest::Method::POST).await;
        }
        traffic
    }

    /// Reads each user three times, by both keys, changes one, and asks for what is not there.
    pub(crate) async fn round(&mut self) {
        self.rounds += 1;
        for user in 1..=USERS {
            for _ in 0..3 {
                self.read(&format!("/users/{user}")).await;
            }
            self.read(&format!("/users?email=user{user}@example.org")).await;
        }
        let changed = self.rounds % USERS + 1;
        self.write(&self.url(&format!("/users/{changed}")), changed, reqwest::Method::PUT).await;
        self.read("/users/999999").await;
        self.read("/users/none").await;
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn read(&self, path: &str) {
        self.http.get(self.url(path)).send().await.expect("an answer");
    }

    async fn write(&self, url: &str, user: u64, method: reqwest::Method) {
        let body: Value =
            json!({ "name": format!("round {}", self.rounds), "email": format!("user{user}@example.org") });
        let answer = self.http.request(method, url).json(&body).send().await.expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }
}

/// A page of the API as text.
pub(crate) async fn text(simulator: &Simulator, path: &str) -> String {
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = http.get(format!("{}{path}", simulator.api_url())).send().await.expect("an answer");
    answer.text().await.expect("a text")
}
