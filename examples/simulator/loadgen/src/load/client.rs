//! The load generator's client of the API.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use simulator_cli::{CliError, ExposeSecret, SecretString, root_cause};

use super::built_with::Setup;

/// Page size for listing users, the maximum that the API accepts.
const PAGE: usize = 1_000;

/// Maximum number of pages searched for rows of earlier runs.
const PAGES_MAX: usize = 200;

/// Maximum number of concurrent requests that create or remove rows.
const AT_ONCE: usize = 16;

/// Pause between two reads of a row that is not there yet.
const LOOK: Duration = Duration::from_millis(20);

/// The API's URL, and the token to use.
#[derive(Clone, Debug)]
pub struct Target {
    pub url: String,
    pub token: Option<SecretString>,
}

/// A row that the load generator created.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Row {
    pub id: u64,
    pub(super) name: String,
    /// Unchanged by writes, so that the rows' addresses never conflict.
    pub(super) email: String,
}

/// Where a value came from, as the API reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Cache,
    Database,
    /// The API does not report it.
    Unknown,
}

/// Which of the API's caches reads go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// The one that follows the mode.
    #[default]
    Plain,
    /// The one that goes by age, and serves an expired value while it loads it again.
    Revalidating,
    /// The one that goes by age, with entries of this lifetime.
    Aged(Duration),
}

/// A complete response to a read.
#[derive(Clone, Debug)]
pub struct ReadAnswer {
    pub(super) status: u16,
    pub(super) origin: Origin,
    /// `None` if the response is not a user.
    pub(super) name: Option<String>,
}

/// The mode in force, and its version, which every change increments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeView {
    pub mode: String,
    pub version: u64,
}

/// A client of the API.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    /// The query of every read.
    query: String,
    processes: Arc<Processes>,
}

/// The header in which the API names the process that responds.
const PROCESS: &str = "x-process";

/// The processes that responses came from.
#[derive(Debug, Default)]
struct Processes {
    first: OnceLock<HeaderValue>,
    are_several: AtomicBool,
}

impl Processes {
    fn note(&self, headers: &HeaderMap) {
        let Some(process) = headers.get(PROCESS) else { return };
        if self.first.get_or_init(|| process.clone()) != process {
            self.are_several.store(true, Ordering::Relaxed);
        }
    }
}

impl Client {
    /// Creates a client that keeps up to `connections` idle connections.
    ///
    /// # Errors
    /// If the token is not a valid header value.
    pub fn new(target: &Target, timeout: Duration, connections: usize) -> Result<Self, CliError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &target.token {
            let value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()));
            let mut value =
                value.map_err(|_| CliError::new("CACHEFRONT_API_TOKENS: the token cannot stand in a header"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(timeout)
            .pool_max_idle_per_host(connections)
            .default_headers(headers)
            .build()
            .map_err(|error| CliError::new(root_cause(&error)))?;
        Ok(Self { http, base: target.url.clone(), query: String::new(), processes: Arc::default() })
    }

    /// Sends reads through the cache that `reads` names.
    pub(super) fn reading(self, reads: Reads) -> Self {
        let query = match reads {
            Reads::Plain => String::new(),
            Reads::Revalidating => "?revalidate=true".to_owned(),
            Reads::Aged(ttl) => format!("?ttl_ms={}", ttl.as_millis()),
        };
        Self { query, ..self }
    }

    /// Returns `count` rows whose addresses begin with `prefix`, sorted by id. Creates missing ones.
    ///
    /// # Errors
    /// A line that says how the API failed.
    pub async fn rows(&self, prefix: &str, count: usize) -> Result<Vec<Row>, CliError> {
        let mut known = self.known(prefix).await?;
        let rows = (0..count).map(|number| {
            let email = address(prefix, number);
            let found = known.remove(&email);
            async move {
                match found {
                    Some(row) => Ok(row),
                    None => self.create(email).await,
                }
            }
        });
        let mut rows: Vec<Row> = stream::iter(rows.collect::<Vec<_>>()).buffered(AT_ONCE).try_collect().await?;
        // Concurrent creation assigns ids in any order; sorted, the hottest row is the same in every run.
        rows.sort_by_key(|row| row.id);
        Ok(rows)
    }

    /// Returns the rows of earlier runs by address.
    async fn known(&self, prefix: &str) -> Result<HashMap<String, Row>, CliError> {
        let (mut known, mut after) = (HashMap::new(), 0);
        for _ in 0..PAGES_MAX {
            let url = format!("{}/users?limit={PAGE}&after={after}", self.base);
            let page: Vec<Row> = self.json(self.http.get(&url)).await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            let is_full = page.len() == PAGE;
            let own = page.into_iter().filter(|row| row.email.starts_with(prefix));
            known.extend(own.map(|row| (row.email.clone(), row)));
            if !is_full {
                break;
            }
        }
        Ok(known)
    }

    async fn create(&self, email: String) -> Result<Row, CliError> {
        let user = json!({ "name": "load", "email": email });
        self.json(self.http.post(format!("{}/users", self.base)).json(&user)).await
    }

    /// Removes all rows whose addresses begin with `prefix`. Returns false if some may remain: they are recognizable by their
    /// addresses.
    pub async fn remove_all(&self, prefix: &str) -> bool {
        let Ok(rows) = self.known(prefix).await else { return false };
        let removals = rows.values().map(|row| self.remove(row.id));
        stream::iter(removals.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).all(async |removed| removed).await
    }

    /// Returns true if the row is not there any more.
    async fn remove(&self, id: u64) -> bool {
        let response = self.http.delete(format!("{}/users/{id}", self.base)).send().await;
        response.is_ok_and(|response| response.status().is_success() || response.status() == StatusCode::NOT_FOUND)
    }

    /// Sends a request and decodes its response.
    ///
    /// # Errors
    /// A line that says how the API failed.
    pub(super) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, CliError> {
        let response =
            request.send().await.and_then(Response::error_for_status).map_err(|error| self.failed(&error))?;
        response.json().await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &reqwest::Error) -> CliError {
        let hint = match error.status() {
            Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                "; give a token that may write in CACHEFRONT_API_TOKENS"
            }
            Some(_) => "",
            None => "; is it running, and is CACHEFRONT_API_URL right?",
        };
        CliError::new(format!("the API at {} does not respond as expected: {}{hint}", self.base, root_cause(error)))
    }

    /// Reads a row through the cache. Returns `None` if there was no complete response.
    pub async fn read(&self, id: u64) -> Option<ReadAnswer> {
        #[derive(Deserialize)]
        struct Named<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
        }
        let response = self.http.get(format!("{}/users/{id}{}", self.base, self.query)).send().await.ok()?;
        self.processes.note(response.headers());
        let (status, origin) = (response.status().as_u16(), origin(response.headers()));
        let body = response.bytes().await.ok()?;
        let name = serde_json::from_slice::<Named<'_>>(&body).ok().map(|user| user.name.into_owned());
        Some(ReadAnswer { status, origin, name: name.filter(|_| status == 200) })
    }

    /// Writes a row. Returns `None` if there was no response: then it is unknown whether the row was written.
    pub(super) async fn write(&self, row: &Row, name: &str) -> Option<u16> {
        let body = json!({ "name": name, "email": row.email });
        let response = self.http.put(format!("{}/users/{}", self.base, row.id)).json(&body).send().await.ok()?;
        let status = response.status().as_u16();
        response.bytes().await.ok()?;
        Some(status)
    }

    /// Reads a row through the cache until the response has it, and removes what is cached after each response that has not:
    /// a replica that lags may not have the row yet.
    pub async fn until_shown(&self, id: u64) {
        while self.read(id).await.is_none_or(|answer| answer.name.is_none()) {
            // An API without this route goes on serving what it has cached; the caller bounds the wait.
            let _ = self.http.delete(format!("{}/cache/users/{id}", self.base)).send().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Returns how the API is set up, as far as it says.
    pub async fn setup(&self) -> Setup {
        self.json(self.http.get(format!("{}/pipeline", self.base))).await.unwrap_or_default()
    }

    /// Returns the mode in force.
    ///
    /// # Errors
    /// A line that says how the API failed.
    pub async fn mode(&self) -> Result<ModeView, CliError> {
        self.json(self.http.get(format!("{}/mode", self.base))).await
    }

    /// Switches the mode. With `only_from`, switches only from that version, and returns `None` if the mode has another
    /// one.
    ///
    /// # Errors
    /// A line that says how the API failed.
    pub async fn set_mode(&self, mode: &str, only_from: Option<u64>) -> Result<Option<ModeView>, CliError> {
        let mut request = self.http.put(format!("{}/mode", self.base)).json(&json!({ "mode": mode }));
        if let Some(version) = only_from {
            request = request.header("If-Match", format!("\"{version}\""));
        }
        let response = request.send().await.map_err(|error| self.failed(&error))?;
        if response.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(None);
        }
        let response = response.error_for_status().map_err(|error| self.failed(&error))?;
        response.json().await.map(Some).map_err(|error| self.failed(&error))
    }

    /// Returns the state of a row's cached entry, such as `healthy`, `stale` or `absent`.
    ///
    /// # Errors
    /// A line that says how the API failed.
    pub async fn state(&self, id: u64) -> Result<String, CliError> {
        #[derive(Deserialize)]
        struct Look {
            state: String,
        }
        let look: Look = self.json(self.http.get(format!("{}/cache/users/{id}", self.base))).await?;
        Ok(look.state)
    }

    /// Returns true if reads and counters came from more than one process, so that the counters are not those of the reads.
    pub(super) fn saw_several_processes(&self) -> bool {
        self.processes.are_several.load(Ordering::Relaxed)
    }

    /// Returns the API's counters, or `None` if it does not expose them.
    pub(super) async fn counters(&self) -> Option<Counters> {
        let response = self.http.get(format!("{}/metrics", self.base)).send().await.ok()?.error_for_status().ok()?;
        self.processes.note(response.headers());
        Some(Counters::parse(&response.text().await.ok()?))
    }
}

/// Returns the address of a row, which is the same in every run with the same prefix.
fn address(prefix: &str, number: usize) -> String {
    format!("{prefix}{number:05}@example.org")
}

fn origin(headers: &HeaderMap) -> Origin {
    let Some(value) = headers.get("x-cache").and_then(|value| value.to_str().ok()) else { return Origin::Unknown };
    let word = value.split([' ', ',', ';', '-']).next().unwrap_or_default().to_ascii_lowercase();
    match word.as_str() {
        // An expired value still comes from the cache.
        "hit" | "stale" => Origin::Cache,
        "miss" | "bypass" => Origin::Database,
        _ => Origin::Unknown,
    }
}

/// The library's counter of loads. A test checks the name.
const LOADS_TOTAL: &str = "cachefront_loads_total";

/// The library's counter of reads. A test checks the name.
const READS_TOTAL: &str = "cachefront_reads_total";

/// The API's counters since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counters {
    /// Loads from the database.
    pub(super) loads: f64,
    /// Reads that were served from a cache.
    pub(super) hits: f64,
    pub(super) reads: f64,
}

impl Counters {
    fn parse(text: &str) -> Self {
        let mut counters = Self::default();
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            if name == LOADS_TOTAL {
                counters.loads += value;
            } else if name == READS_TOTAL {
                counters.reads += value;
                if labels.contains("outcome=\"local\"") || labels.contains("outcome=\"shared\"") {
                    counters.hits += value;
                }
            }
        }
        counters
    }

    /// Returns what was counted since `earlier`, or `None` if the API was restarted in between.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let difference = Self {
            loads: self.loads - earlier.loads,
            hits: self.hits - earlier.hits,
            reads: self.reads - earlier.reads,
        };
        (difference.loads >= 0.0 && difference.hits >= 0.0 && difference.reads >= 0.0).then_some(difference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_the_text() {
        let text = "# TYPE cachefront_loads_total counter\n\
                    cachefront_loads_total{cache=\"users\",outcome=\"value\"} 3\n\
                    cachefront_loads_total{cache=\"users\",outcome=\"absent\"} 1\n\
                    cachefront_reads_total{cache=\"users\",outcome=\"local\"} 10\n\
                    cachefront_reads_total{cache=\"users\",outcome=\"shared\"} 5\n\
                    cachefront_reads_total{cache=\"users\",outcome=\"miss\"} 4\n\
                    other{x=\"y\"} nonsense\n\n";
        let counters = Counters::parse(text);
        assert_eq!(counters, Counters { loads: 4.0, hits: 15.0, reads: 19.0 });
        assert_eq!(counters.since(&Counters { loads: 5.0, ..Counters::default() }), None);
        assert_eq!(counters.since(&counters), Some(Counters::default()));
    }

    #[test]
    fn the_counters_have_the_librarys_names() {
        assert_eq!(LOADS_TOTAL, cachefront::metrics::LOADS_TOTAL);
        assert_eq!(READS_TOTAL, cachefront::metrics::READS_TOTAL);
    }

    #[test]
    fn the_header_says_where_an_answer_came_from() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-cache", value.parse().expect("a header"));
            origin(&headers)
        };
        assert_eq!((of("HIT"), of("hit; tier=local"), of("hit-shared")), (Origin::Cache, Origin::Cache, Origin::Cache));
        assert_eq!((of("miss"), of("BYPASS"), of("?")), (Origin::Database, Origin::Database, Origin::Unknown));
        assert_eq!(origin(&HeaderMap::new()), Origin::Unknown);
    }

    #[test]
    fn counters_of_one_process_are_not_those_of_the_reads_of_another() {
        let processes = Processes::default();
        let of = |process: &str| {
            HeaderMap::from_iter([("x-process".parse().expect("a name"), process.parse().expect("a value"))])
        };
        for headers in [HeaderMap::new(), of("a"), of("a"), HeaderMap::new()] {
            processes.note(&headers);
            assert!(!processes.are_several.load(Ordering::Relaxed), "{headers:?}");
        }
        processes.note(&of("b"));
        processes.note(&of("a"));
        assert!(processes.are_several.load(Ordering::Relaxed));
    }

    #[test]
    fn a_token_is_not_shown() {
        let target = Target { url: "http://x".into(), token: Some(SecretString::from("hush")) };
        let client = Client::new(&target, Duration::from_secs(1), 1).expect("a client");
        assert!(!format!("{client:?} {target:?}").contains("hush"));
    }
}
