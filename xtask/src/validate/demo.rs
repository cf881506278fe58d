//! The two demos, as a person with curl does them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::failure::{Context, Failure, Result};

/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long an entry of the demos may live, the default of the simulator included.
const TTL_MAX: Duration = Duration::from_secs(60);
/// How long change capture may take, on a busy machine.
const INVALIDATION_MAX: Duration = Duration::from_secs(5);
/// The poll interval.
const PAUSE: Duration = Duration::from_millis(5);

/// The API.
#[derive(Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Api {
    pub(super) fn new(base: String, token: Option<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER)
            .build()
            .context(|| "no HTTP client can be made".to_owned())?;
        Ok(Self { http, base, token })
    }

    /// Asks, and gives the body as JSON (null if there is none) with the status.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value)> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let mut request = self.http.request(method, &url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await.context(|| format!("{url} does not respond"))?;
        let status = answer.status();
        let text = answer.text().await.context(|| format!("{url} breaks off"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    async fn must(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let (status, said) = self.ask(method.clone(), path, body).await?;
        match status.is_success() {
            true => Ok(said),
            false => Err(Failure::new(format!("{method} {path}: {status} {said}"))),
        }
    }

    async fn name(&self, id: u64) -> Result<String> {
        let user = self.must(Method::GET, &format!("/users/{id}"), None).await?;
        Ok(user["name"].as_str().unwrap_or_default().to_owned())
    }

    async fn state(&self, id: u64) -> Result<String> {
        let view = self.must(Method::GET, &format!("/cache/users/{id}"), None).await?;
        Ok(view["state"].as_str().unwrap_or_default().to_owned())
    }

    /// A user of its own, read once, so that the cache holds it.
    pub(super) async fn warm_user(&self, mode: &str) -> Result<u64> {
        self.must(Method::PUT, "/mode", Some(json!({ "mode": mode }))).await?;
        let user = self.must(Method::POST, "/users", Some(user("before", &unique()))).await?;
        let id = user["id"].as_u64().ok_or_else(|| Failure::new("a new user has no id"))?;
        let started = Instant::now();
        // The event of the insertion may come after the first read, and take it out again.
        while self.name(id).await? != "before" || self.state(id).await? != "healthy" {
            if started.elapsed() > INVALIDATION_MAX {
                return Err(Failure::new("a user who was read is not in the cache"));
            }
            // sleep: the poll interval of a bounded wait.
            tokio::time::sleep(PAUSE).await;
        }
        Ok(id)
    }

    pub(super) async fn rename(&self, id: u64) -> Result<()> {
        let email = self.must(Method::GET, &format!("/users/{id}"), None).await?["email"].clone();
        let body = json!({ "name": "after", "email": email });
        self.must(Method::PUT, &format!("/users/{id}"), Some(body)).await.map(drop)
    }

    async fn remove(&self, id: u64) -> Result<()> {
        self.must(Method::DELETE, &format!("/users/{id}"), None).await.map(drop)
    }
}

/// In TTL mode a changed user is served as it was until its time is over.
pub(super) async fn ttl_stale_read(api: &Api) -> Result<String> {
    let id = api.warm_user("ttl").await?;
    api.rename(id).await?;
    let (state, name) = (api.state(id).await?, api.name(id).await?);
    if (state.as_str(), name.as_str()) != ("stale", "before") {
        return Err(Failure::new(format!("after the change the entry is {state} and a read says {name:?}")));
    }
    let started = Instant::now();
    while api.name(id).await? != "after" {
        if started.elapsed() > TTL_MAX {
            return Err(Failure::new(format!("still stale after {TTL_MAX:?}: is CACHEFRONT_TTL longer?")));
        }
        // sleep: the poll interval of a bounded wait.
        tokio::time::sleep(PAUSE * 20).await;
    }
    let state = api.state(id).await?;
    let waited = started.elapsed();
    api.must(Method::PUT, "/mode", Some(json!({ "mode": "cdc" }))).await?;
    api.remove(id).await?;
    match state.as_str() {
        "healthy" => Ok(format!("stale for {:.1} s, then healthy", waited.as_secs_f64())),
        _ => Err(Failure::new(format!("fresh, but the entry is {state}"))),
    }
}

/// In CDC mode the change itself takes the entry out.
pub(super) async fn cdc_invalidation(api: &Api) -> Result<String> {
    let id = api.warm_user("cdc").await?;
    api.rename(id).await?;
    let took = fresh(api, id).await?;
    Ok(format!("never stale beyond {} ms", took.as_millis()))
}

/// Waits until a renamed user is not stale any more, and removes it. Returns how long that took.
pub(super) async fn fresh(api: &Api, id: u64) -> Result<Duration> {
    let started = Instant::now();
    while api.state(id).await? == "stale" {
        if started.elapsed() > INVALIDATION_MAX {
            return Err(Failure::new(format!("still stale after {INVALIDATION_MAX:?}: GET /pipeline says why")));
        }
        // sleep: the poll interval of a bounded wait.
        tokio::time::sleep(PAUSE).await;
    }
    let took = started.elapsed();
    let (name, state) = (api.name(id).await?, api.state(id).await?);
    api.remove(id).await?;
    match (name.as_str(), state.as_str()) {
        ("after", "healthy" | "absent") => Ok(took),
        _ => Err(Failure::new(format!("a read says {name:?}, and the entry is {state}"))),
    }
}

fn user(name: &str, email: &str) -> Value {
    json!({ "name": name, "email": email })
}

/// An address that no user has: the database may be that of a user.
fn unique() -> String {
    #[expect(clippy::disallowed_methods, reason = "no clock of the library is at hand, and nothing depends on it")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("validate-{}@example.org", now.as_nanos())
}
