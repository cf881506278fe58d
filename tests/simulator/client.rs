//! A plain HTTP client that keeps what it saw.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Asks one API.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.text))
    }

    /// The text of a header that must be there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().expect("text")
    }

    /// The body, if the status is this one.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

impl Client {
    pub(crate) fn new(base: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, base }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("a body") }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn get_with(&self, path: &str, header: (&str, &str)) -> Answer {
        self.send(self.request(Method::GET, path).header(header.0, header.1)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Adds a user and returns its id.
    pub(crate) async fn add(&self, name: &str, email: &str) -> u64 {
        let user = self.post("/users", &json!({ "name": name, "email": email })).await.expect(201);
        user["id"].as_u64().expect("an id")
    }

    /// The name of a user as a plain read sees it.
    pub(crate) async fn name_of(&self, id: u64) -> String {
        let user = self.get(&format!("/users/{id}")).await.expect(200);
        user["name"].as_str().expect("a name").to_owned()
    }

    /// `/cache/users/{id}`.
    pub(crate) async fn look(&self, id: u64) -> Value {
        self.get(&format!("/cache/users/{id}")).await.expect(200)
    }

    /// The state in `/cache/users/{id}`.
    pub(crate) async fn state(&self, id: u64) -> String {
        self.look(id).await["state"].as_str().expect("a state").to_owned()
    }

    pub(crate) async fn set_mode(&self, mode: &str) {
        self.put("/mode", &json!({ "mode": mode })).await.expect(200);
    }
}
