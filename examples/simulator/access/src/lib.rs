//! Access control: accounts with passwords for the panel, tokens for the API, and the audit list.
//!
//! A handler of the panel needs three calls:
//!
//! - [`Access::login`] returns the cookie of a new session, [`Access::logout`] the one that ends it;
//! - [`Access::viewer`] for requests that only read, [`Access::change`] for requests that change something: both return
//!   the [`Session`], or a [`Denied`], which converts into a response. A form sends [`Session::csrf`] in its field
//!   `csrf`, a script in the header `x-csrf-token`;
//! - [`Access::audit`] after a change.
//!
//! State that several processes share is in the database: password hashes, the key that signs cookies, the audit list.
//! So a restart ends no session, and a new key ends all sessions in all processes within a second.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

mod account;
mod denied;
mod limit;
mod quota;
mod session;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use cachefront::{Clock, Timestamp};
use simulator_cli::CliError;
use simulator_model::credentials::{ApiToken, Passwords, Role};
use simulator_model::domain::{ADDRESS, AuditEntry, Database, DbError};
use simulator_model::poll::poll;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::account::Accounts;
pub use self::account::Printed;
pub use self::denied::Denied;
use self::limit::Attempts;
pub use self::limit::{KeyedLimit, network};
pub use self::quota::{Place, Quota};
pub use self::session::{Session, is_own_origin};
use self::session::{Sessions, SigningKey};
pub use self::token::Tokens;

/// Prefix of the name under which the database keeps an ended session; its nonce follows.
const ENDED: &str = "session.ended.";

/// Poll interval for accounts, the signing key and ended sessions.
const POLL: Duration = Duration::from_secs(1);

/// Maximum number of concurrent password checks: each takes about 20 MB and a core.
const CHECKS_AT_ONCE: usize = 2;

/// Maximum length of a text in the audit list, in characters.
const AUDIT_CHARS_MAX: usize = 200;

/// The same entry is noted once within this time, so that a client cannot fill the list by repetition.
const REPEATED_WITHIN: Duration = Duration::from_secs(10);

/// Accounts, sessions, tokens and the audit list.
pub struct Access {
    /// The last entry of the audit list, and when it was made.
    last_noted: Mutex<Option<(Timestamp, [String; 3])>>,
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    accounts: RwLock<Accounts>,
    sessions: Sessions,
    /// The API's tokens.
    pub tokens: Tokens,
    attempts: Attempts,
    checks: Semaphore,
}

impl Access {
    /// Reads what the database keeps, and creates the signing key if there is none. Set `secure` if the panel is behind
    /// TLS: browsers then send its cookies over TLS only.
    ///
    /// # Errors
    /// A line that says what cannot be read.
    pub async fn open(
        database: Arc<dyn Database>,
        clock: Arc<dyn Clock>,
        tokens: Vec<ApiToken>,
        secure: bool,
    ) -> Result<Arc<Self>, CliError> {
        let failed = |error: DbError| CliError::new(format!("accounts cannot be read: {error}"));
        let accounts = Accounts::read(&*database).await.map_err(failed)?;
        let key = SigningKey::read_or_make(&*database).await.map_err(failed)?;
        let access = Arc::new(Self {
            accounts: RwLock::new(accounts),
            sessions: Sessions::new(key, secure),
            tokens: Tokens::new(tokens),
            attempts: Attempts::new(),
            last_noted: Mutex::default(),
            checks: Semaphore::new(CHECKS_AT_ONCE),
            database,
            clock,
        });
        // Before the first request: a session that was ended before this start must not be accepted.
        access.read_ended().await.map_err(failed)?;
        Ok(access)
    }

    /// Sets the configured passwords. Without a configured admin password, and if there is no admin yet, generates one
    /// and returns it, to be printed once.
    ///
    /// # Errors
    /// A line that says what cannot be written.
    pub async fn adopt(&self, passwords: &Passwords) -> Result<Option<Printed>, CliError> {
        let failed = |error: DbError| CliError::new(format!("accounts cannot be written: {error}"));
        let printed = account::adopt(&*self.database, passwords).await.map_err(failed)?;
        self.refresh().await.map_err(failed)?;
        Ok(printed)
    }

    /// Checks name and password. Returns the session and the cookie that carries it.
    ///
    /// # Errors
    /// [`Denied::WrongPassword`], [`Denied::TooManyAttempts`], or [`Denied::Unavailable`].
    pub async fn login(&self, name: &str, password: &str, from: IpAddr) -> Result<(Session, HeaderValue), Denied> {
        self.attempts.check(from).map_err(Denied::TooManyAttempts)?;
        let account = self.accounts().get(name);
        let hash = account.as_ref().map(|account| account.hash.clone());
        let permit = self.checks.acquire().await.map_err(|_| Denied::Unavailable)?;
        let right = account::check(hash, password.to_owned()).await;
        drop(permit);
        let Some(account) = account.filter(|_| right) else {
            // Not under the name, which the client chooses.
            let who = format!("{ADDRESS}{}", network(from));
            self.audit(&who, &format!("login as {name}"), "wrong name or password").await;
            return Err(Denied::WrongPassword);
        };
        self.audit(name, "login", "ok").await;
        Ok(self.sessions.open(&account, self.clock.now()))
    }

    /// Ends the session of these headers. Returns the cookie that makes the browser forget it.
    pub async fn logout(&self, headers: &HeaderMap) -> HeaderValue {
        if let Some(session) = self.session_of(headers) {
            self.sessions.close(&session);
            let name = format!("{ENDED}{}", session.nonce);
            if let Err(error) = self.database.keep(&name, "", Some(session.expires)).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the end of a session is known to this process only"
                );
            }
            self.audit(&session.name, "logout", "ok").await;
        }
        self.sessions.forgotten()
    }

    /// Ends all sessions of all accounts by replacing the key that signs them.
    ///
    /// # Errors
    /// The database's.
    pub async fn logout_all(&self) -> Result<(), DbError> {
        self.sessions.replace_key(SigningKey::replace(&*self.database).await?);
        Ok(())
    }

    /// Returns the session that a request's cookie carries, or `None` if there is none, it is forged, or it has
    /// expired.
    pub fn session_of(&self, headers: &HeaderMap) -> Option<Session> {
        self.sessions.of(headers, &self.accounts(), self.clock.now())
    }

    /// Returns the session of a request that only reads; any role is sufficient.
    ///
    /// # Errors
    /// [`Denied::NotLoggedIn`].
    pub fn viewer(&self, headers: &HeaderMap) -> Result<Session, Denied> {
        self.session_of(headers).ok_or(Denied::NotLoggedIn)
    }

    /// Returns the session of a request that changes something and needs `role`. `csrf` is the form's field of that
    /// name; a script may send it in the header `x-csrf-token` instead.
    ///
    /// # Errors
    /// [`Denied::NotLoggedIn`], [`Denied::Role`], or [`Denied::Forged`] if the request does not come from a page of
    /// this session.
    pub fn change(&self, headers: &HeaderMap, role: Role, csrf: Option<&str>) -> Result<Session, Denied> {
        let session = self.viewer(headers)?;
        let header = headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
        let given = csrf.or(header).unwrap_or_default();
        if !session.csrf_matches(given) || !is_own_origin(headers) {
            return Err(Denied::Forged);
        }
        match session.role >= role {
            true => Ok(session),
            false => Err(Denied::Role(role)),
        }
    }

    /// Records what was done or attempted. A failure to write the list is logged and does not stop the action.
    pub async fn audit(&self, who: &str, what: &str, result: &str) {
        self.audit_times(who, what, result, 1).await;
    }

    /// As [`audit`](Self::audit), for what was refused this many times.
    pub async fn audit_times(&self, who: &str, what: &str, result: &str, times: u64) {
        let (who, what, result) = (shortened(who), shortened(what), shortened(result));
        if result == "ok" && self.is_repeated(&who, &what, &result) {
            return;
        }
        tracing::info!(who, what, result, times, "audit");
        let entry = AuditEntry { at: String::new(), who, what, result, times };
        if let Err(error) = self.database.add_audit(&entry).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the audit list cannot be written");
        }
    }

    /// Returns true if the last entry of this process was the same success, less than [`REPEATED_WITHIN`] ago. Every
    /// refusal is counted.
    fn is_repeated(&self, who: &str, what: &str, result: &str) -> bool {
        let now = self.clock.now();
        let Ok(mut last) = self.last_noted.lock() else { return false };
        let entry = [who, what, result].map(str::to_owned);
        let repeated = last.as_ref().is_some_and(|(at, noted)| *noted == entry && now.since(*at) < REPEATED_WITHIN);
        if !repeated {
            *last = Some((now, entry));
        }
        repeated
    }

    /// Returns the last entries, newest first: of each account and token at most 500 that were done and 100 that were refused, and
    /// 20 of each address.
    ///
    /// # Errors
    /// The database's.
    pub async fn audit_list(&self) -> Result<Vec<AuditEntry>, DbError> {
        self.database.audit().await
    }

    /// Polls accounts, the signing key and ended sessions until `stop`. If the database is unavailable, the last state
    /// remains in use.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        poll(POLL, &stop, "accounts", || self.refresh()).await;
    }

    async fn refresh(&self) -> Result<(), DbError> {
        let accounts = Accounts::read(&*self.database).await?;
        let key = SigningKey::read_or_make(&*self.database).await?;
        if let Ok(mut current) = self.accounts.write() {
            *current = accounts;
        }
        self.sessions.replace_key(key);
        self.read_ended().await
    }

    async fn read_ended(&self) -> Result<(), DbError> {
        let names = self.database.kept_names(ENDED).await?;
        let nonces = names.iter().filter_map(|name| name.strip_prefix(ENDED)).map(str::to_owned);
        self.sessions.ended(nonces.collect());
        Ok(())
    }

    /// A poisoned lock holds accounts that were written whole.
    fn accounts(&self) -> Accounts {
        self.accounts.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

/// Replaces control characters and truncates to [`AUDIT_CHARS_MAX`].
fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(AUDIT_CHARS_MAX).collect()
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
