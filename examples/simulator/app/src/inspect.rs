//! `simulator inspect`: one pass, as a table or as JSON, and an exit code that says what was found.
//!
//! With servers, it compares the store with the database itself. In the embedded setup the store is in the memory of
//! another process, so it calls that process's API.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::AUTHORIZATION;
use simulator_cli::{CliError, ExposeSecret, root_cause, shutdown_signal};
use simulator_model::backend::Backend;
use simulator_model::domain::User;
use simulator_model::inspector::{Consistency, Inspector, StaleEntry, Verdict};
use simulator_model::mode::Modes;
use simulator_model::settings::Settings;

use crate::cli::InspectFlags;

/// Timeout of a request to the API.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two passes with `--follow`.
const EVERY: Duration = Duration::from_secs(1);

/// Maximum number of repair rounds; a pass reports up to 50 entries.
const ROUNDS_MAX: usize = 100;

/// Runs a pass, prints it, and repairs stale entries if requested. The exit code is 0 if no entry is stale (after the
/// repair), 1 if one is, 2 if that is unknown.
///
/// # Errors
/// A line that says what is missing.
pub(crate) async fn run(settings: &Settings, flags: &InspectFlags) -> Result<ExitCode, CliError> {
    let eye = match settings.embedded() {
        true => Eye::Api(Api::new(settings)?),
        false => Eye::Own(own(settings).await?),
    };
    let mut end = Box::pin(shutdown_signal());
    loop {
        let mut found = eye.pass().await?;
        print(&found, flags.json)?;
        if flags.repair && found.verdict == Verdict::Stale {
            found = repair(&eye, found).await?;
            print(&found, flags.json)?;
        }
        let code = match found.verdict {
            Verdict::Healthy | Verdict::Empty => 0,
            Verdict::Stale => 1,
            Verdict::Unknown => 2,
        };
        if !flags.follow {
            return Ok(ExitCode::from(code));
        }
        tokio::select! {
            () = &mut end => return Ok(ExitCode::from(code)),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// Removes stale entries until a pass finds no more, for at most [`ROUNDS_MAX`] rounds. Returns the last pass.
async fn repair(eye: &Eye, mut found: Consistency) -> Result<Consistency, CliError> {
    for _ in 0..ROUNDS_MAX {
        let mut ids: Vec<u64> = found.entries.iter().map(|entry| entry.id).collect();
        ids.dedup();
        if ids.is_empty() {
            break;
        }
        for id in ids {
            eye.remove(id).await?;
        }
        found = eye.pass().await?;
    }
    Ok(found)
}

/// How passes are made: by this process, or through the API.
enum Eye {
    Own(Arc<Inspector>),
    Api(Api),
}

impl Eye {
    async fn pass(&self) -> Result<Consistency, CliError> {
        match self {
            Self::Own(inspector) => Ok(inspector.pass().await),
            Self::Api(api) => api.pass().await,
        }
    }

    async fn remove(&self, id: u64) -> Result<(), CliError> {
        match self {
            Self::Own(inspector) => Ok(inspector.remove(id).await.map_err(CliError::from_error)?),
            Self::Api(api) => api.remove(id).await,
        }
    }
}

async fn own(settings: &Settings) -> Result<Arc<Inspector>, CliError> {
    let backend = Backend::open(settings).await?;
    let row = backend.true_database.mode().await.map_err(|error| CliError::new(error.to_string()))?;
    let caches = backend.caches(settings)?;
    let follow = caches.clone();
    let modes = Modes::new(Arc::clone(&backend.true_database), row, move |row| follow.set_mode(row.mode));
    backend.inspector(caches, &modes)
}

/// Client of the API of the process that has the store in its memory.
struct Api {
    client: reqwest::Client,
    url: String,
    authorization: Option<String>,
}

impl Api {
    fn new(settings: &Settings) -> Result<Self, CliError> {
        let client = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().build();
        Ok(Self {
            client: client.map_err(|error| CliError::new(error.to_string()))?,
            url: settings.api_url.clone(),
            authorization: settings.client_token().map(|token| format!("Bearer {}", token.expose_secret())),
        })
    }

    async fn pass(&self) -> Result<Consistency, CliError> {
        let answer = self.send(self.client.get(format!("{}/consistency?fresh=true", self.url))).await?;
        answer.json().await.map_err(|error| self.failed(&error))
    }

    async fn remove(&self, id: u64) -> Result<(), CliError> {
        self.send(self.client.delete(format!("{}/cache/users/{id}", self.url))).await.map(drop)
    }

    async fn send(&self, mut request: reqwest::RequestBuilder) -> Result<reqwest::Response, CliError> {
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = request.send().await.map_err(|error| self.failed(&error))?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status if status == 401 || status == 403 => Err(CliError::new(format!(
                "{} returned {status}: give a token of the role operator in CACHEFRONT_API_TOKENS",
                self.url
            ))),
            status => Err(CliError::new(format!("{} returned {status}", self.url))),
        }
    }

    fn failed(&self, error: &reqwest::Error) -> CliError {
        CliError::new(format!(
            "{} does not respond: {}; start the simulator, say where it is with CACHEFRONT_API_URL, or look at servers \
             with --stack",
            self.url,
            root_cause(error)
        ))
    }
}

fn print(found: &Consistency, json: bool) -> Result<(), CliError> {
    let text = match json {
        true => serde_json::to_string(found).unwrap_or_default() + "\n",
        false => table(found),
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| CliError::new(format!("the outcome cannot be printed: {error}")))
}

fn table(found: &Consistency) -> String {
    let Consistency { users, compared, as_of, .. } = found;
    let mut text = format!(
        "{}  (mode {}, {users} users, {compared} entries compared, {as_of})\n",
        found.words(),
        found.mode.as_str()
    );
    if let Some(cause) = &found.cause {
        text += &format!("{cause}\n");
    }
    if !found.entries.is_empty() {
        text += &format!("\n{:<36} {:<8} {:>8}  {:<28} {}\n", "entry", "kind", "ttl ms", "cached", "database");
    }
    for StaleEntry { key, kind, cached, database, ttl_ms, .. } in &found.entries {
        let ttl = ttl_ms.map_or("-".to_owned(), |ttl| ttl.to_string());
        let (cached, database) = (name(cached.as_ref()), name(database.as_ref()));
        text += &format!("{:<36} {:<8} {ttl:>8}  {cached:<28} {database}\n", plain(key), kind.as_str());
    }
    text
}

fn name(user: Option<&User>) -> String {
    user.map_or("(no such user)".to_owned(), |user| plain(&user.name))
}

/// Removes control characters, so that text in a row cannot control the terminal.
fn plain(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use simulator_model::domain::Mode;
    use simulator_model::inspector::StaleKind;

    use super::*;

    #[test]
    fn a_table_names_what_is_stale_and_steers_no_terminal() {
        let user = User {
            id: 1,
            name: "Ada\u{1b}[2J".into(),
            email: "a@b".into(),
            updated_at: String::new(),
            status: "active".into(),
        };
        let entry = StaleEntry {
            id: 1,
            key: "users:1".into(),
            kind: StaleKind::Lost,
            cached: Some(user),
            database: None,
            ttl_ms: Some(5),
        };
        let found = Consistency::of("now".into(), Mode::Cdc, 1, true, 1, vec![entry]);
        let text = table(&found);
        assert!(text.starts_with("cache stale (1)") && text.contains("1 lost"), "{text}");
        assert!(text.contains("Ada?[2J") && text.contains("(no such user)") && !text.contains('\u{1b}'), "{text}");
    }
}
