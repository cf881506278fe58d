//! The API as the load generator calls it.

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::mix::Known;
use crate::config::Secret;
use crate::fatal::{Fatal, why};

/// Users are listed in pages of this size, the largest that the API answers.
const PAGE: usize = 1_000;

/// The header that a token goes into.
///
/// # Errors
/// If the token cannot stand in a header.
pub(super) fn authorization(token: &Secret) -> Result<HeaderMap, Fatal> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let mut value = value.map_err(|_| Fatal::new("CACHEFRONT_API_TOKENS: the first token cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// A client of the API.
#[derive(Clone, Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(super) fn new(http: reqwest::Client, base: String) -> Self {
        Self { http, base }
    }

    /// `count` users, hottest first; those that are missing are created.
    ///
    /// # Errors
    /// A line that says how the API failed.
    pub(super) async fn prepare(&self, count: usize) -> Result<Vec<Known>, Fatal> {
        let mut users: Vec<Known> = Vec::new();
        while users.len() < count {
            let limit = (count - users.len()).min(PAGE);
            let after = users.last().map_or(0, |user| user.id);
            let url = format!("{}/users?limit={limit}&after={after}", self.base);
            let page: Vec<Known> = self.json(self.http.get(&url)).await?;
            if page.is_empty() {
                break;
            }
            users.extend(page);
        }
        while users.len() < count {
            users.push(self.create(users.len()).await?);
        }
        Ok(users)
    }

    async fn create(&self, number: usize) -> Result<Known, Fatal> {
        // The address is unique over runs: the numbers of earlier users may be taken.
        let unique = getrandom::u64().map_err(|error| Fatal::new(error.to_string()))?;
        let email = format!("load-{number}-{unique:016x}@example.org");
        let user = json!({ "name": format!("load {number}"), "email": email });
        self.json(self.http.post(format!("{}/users", self.base)).json(&user)).await
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Fatal> {
        let failed = |error: reqwest::Error| {
            Fatal::new(format!("the API at {} does not answer as it should: {}", self.base, why(&error)))
        };
        let response = request.send().await.and_then(Response::error_for_status).map_err(failed)?;
        response.json().await.map_err(failed)
    }

    pub(super) async fn read(&self, id: u64) -> Option<StatusCode> {
        status(self.http.get(format!("{}/users/{id}", self.base))).await
    }

    pub(super) async fn write(&self, user: &Known, name: &str) -> Option<StatusCode> {
        let body = json!({ "name": name, "email": user.email });
        status(self.http.put(format!("{}/users/{}", self.base, user.id)).json(&body)).await
    }
}

/// The status of a whole answer; none if it did not come.
async fn status(request: RequestBuilder) -> Option<StatusCode> {
    let response = request.send().await.ok()?;
    let status = response.status();
    response.bytes().await.ok()?;
    Some(status)
}
