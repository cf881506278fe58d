//! The API of other processes, where the panel runs alone: what its processes hold in their own memory nobody else sees.

use std::time::Duration;

use crate::config::{Secret, Settings};
use crate::inspector::Consistency;

/// An API that takes longer says nothing.
const ANSWER_MAX: Duration = Duration::from_millis(800);

/// Asks an API what its inspector says.
#[derive(Debug)]
pub(super) struct Peer {
    http: reqwest::Client,
    url: String,
    token: Option<Secret>,
}

impl Peer {
    /// The API that the settings name.
    pub(super) fn new(settings: &Settings) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build().unwrap_or_default();
        Self { http, url: settings.api_url.clone(), token: settings.client_token().cloned() }
    }

    /// What the API's last pass found.
    ///
    /// # Errors
    /// Why nothing is known, in words for people.
    pub(super) async fn consistency(&self) -> Result<Consistency, String> {
        let url = &self.url;
        let request = self.http.get(format!("{url}/consistency"));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let unknown = "what its processes hold themselves is not known";
        let answer = request.send().await.map_err(|_| format!("The API at {url} does not answer: {unknown}."))?;
        match answer.status() {
            status if status.is_success() => {
                answer.json().await.map_err(|_| format!("The API at {url} is of another version: {unknown}."))
            }
            status if status == 401 || status == 403 => {
                Err(format!("The API at {url} wants a token: {unknown}. Set CACHEFRONT_API_TOKENS for the panel, too."))
            }
            status => Err(format!("The API at {url} answers {status}: {unknown}.")),
        }
    }
}
