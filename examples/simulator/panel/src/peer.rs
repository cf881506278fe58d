//! The API of other processes, for a panel that runs alone: only they can check what they hold in their own memory.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use simulator_cli::{ExposeSecret, SecretString};
use simulator_model::inspector::{Consistency, Verdict};
use simulator_model::settings::Settings;
use tokio::time::Instant;

use super::moment::AGE_MAX;
use super::processes::Processes;

/// Time limit of a request to the API.
const ANSWER_MAX: Duration = Duration::from_millis(800);

/// Reads the results of an API's inspector.
#[derive(Debug)]
pub(super) struct Peer {
    http: reqwest::Client,
    url: String,
    token: Option<SecretString>,
    /// Those that all responses came from, also those of the metrics.
    processes: Arc<Processes>,
    /// The time of the last reported pass by the API's clock, and when it was first received.
    newest: Mutex<Option<(String, Instant)>>,
}

impl Peer {
    /// The API that the settings name.
    pub(super) fn new(settings: &Settings, processes: Arc<Processes>) -> Self {
        // Each request on a connection of its own, so that every process behind the address is heard of.
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).pool_max_idle_per_host(0);
        Self {
            http: http.build().unwrap_or_default(),
            url: settings.api_url.clone(),
            token: settings.client_token().cloned(),
            processes,
            newest: Mutex::new(None),
        }
    }

    /// Returns the outcome of the API's last pass.
    ///
    /// # Errors
    /// Why the outcome is not known, in words for people.
    pub(super) async fn consistency(&self) -> Result<Consistency, String> {
        let url = &self.url;
        let request = self.http.get(format!("{url}/consistency"));
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let unknown = "what its processes hold themselves is not known";
        let answer = request.send().await.map_err(|_| format!("The API at {url} does not respond: {unknown}."))?;
        self.processes.note(answer.headers());
        match answer.status() {
            status if status.is_success() => {
                let said: Consistency =
                    answer.json().await.map_err(|_| format!("The API at {url} is of another version: {unknown}."))?;
                // A stale entry of one process is proof, whatever the others hold.
                if let Some(count) = self.processes.several()
                    && said.verdict != Verdict::Stale
                {
                    return Err(format!(
                        "{count} processes respond as the API at {url}, and each compares only what it holds itself: not measured. \
                         GET /consistency of each tells."
                    ));
                }
                match self.is_new(&said.as_of) {
                    true => Ok(said),
                    false => Err(format!("The API at {url} has not compared for some time: {unknown}.")),
                }
            }
            status if status == 401 || status == 403 => {
                Err(format!("The API at {url} wants a token: {unknown}. Set CACHEFRONT_API_TOKENS for the panel, too."))
            }
            status => Err(format!("The API at {url} returned {status}: {unknown}.")),
        }
    }

    /// Returns false if the same pass has been reported for longer than [`AGE_MAX`]. Timestamps are only compared with
    /// others of the same clock.
    fn is_new(&self, as_of: &str) -> bool {
        let Ok(mut newest) = self.newest.lock() else { return false };
        match &*newest {
            Some((known, heard)) if known == as_of => heard.elapsed() <= AGE_MAX,
            _ => {
                *newest = Some((as_of.to_owned(), Instant::now()));
                true
            }
        }
    }
}
