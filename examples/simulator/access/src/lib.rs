//! Who may do what: accounts with a password for the panel, tokens for the API, and a list of what was done.
//!
//! A handler of the panel needs three calls:
//!
//! - [`Access::login`] answers the cookie of a new session, [`Access::logout`] the one that ends it;
//! - [`Access::viewer`] for everything that only shows, [`Access::change`] for everything that changes something: both
//!   answer the [`Session`], or a [`Denied`] that is a response already. A form carries [`Session::csrf`] in a field
//!   `csrf` or in the header `x-csrf-token`;
//! - [`Access::audit`] after a change.
//!
//! Everything that several processes have to agree on is in the database: hashes of passwords, the key that signs
//! cookies, the audit list. So a restart ends no session, and a new key ends them all, everywhere, within a second.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

mod account;
mod denied;
mod limit;
mod session;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use cachefront::Clock;
use simulator_cli::CliError;
use simulator_model::credentials::{ApiToken, Passwords, Role};
use simulator_model::domain::{AuditEntry, Database, DbError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::account::Accounts;
pub use self::account::Printed;
pub use self::denied::Denied;
use self::limit::Attempts;
pub use self::limit::network;
pub use self::session::Session;
use self::session::{Sessions, SigningKey};
pub use self::token::Tokens;

/// Under this and its nonce the database keeps that a session was ended.
const ENDED: &str = "session.ended.";

/// How often accounts and the signing key are read again.
const POLL: Duration = Duration::from_secs(1);

/// So many passwords are checked at once: each takes some 20 MB and a core.
const CHECKS_AT_ONCE: usize = 2;

/// The longest text in the audit list.
const AUDIT_CHARS_MAX: usize = 200;

/// Accounts, sessions, tokens and the audit list.
pub struct Access {
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    accounts: RwLock<Accounts>,
    sessions: Sessions,
    /// Of the API.
    pub tokens: Tokens,
    attempts: Attempts,
    checks: Semaphore,
}

impl Access {
    /// Reads what the database keeps, and makes the signing key if there is none. Cookies are `secure` if the panel stands
    /// behind TLS: browsers then send them over it only.
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
            checks: Semaphore::new(CHECKS_AT_ONCE),
            database,
            clock,
        });
        // A cookie whose session was ended before this start opens nothing from the first request on.
        access.read_ended().await.map_err(failed)?;
        Ok(access)
    }

    /// Gives every account the password that the environment says. The admin's is made up if it is said nowhere and
    /// there is none yet: then it is answered, to be printed this once.
    ///
    /// # Errors
    /// A line that says what cannot be written.
    pub async fn adopt(&self, passwords: &Passwords) -> Result<Option<Printed>, CliError> {
        let failed = |error: DbError| CliError::new(format!("accounts cannot be written: {error}"));
        let printed = account::adopt(&*self.database, passwords).await.map_err(failed)?;
        self.refresh().await.map_err(failed)?;
        Ok(printed)
    }

    /// Checks name and password. Answers the session and the cookie that carries it.
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
            self.audit(name, "login", "wrong name or password").await;
            return Err(Denied::WrongPassword);
        };
        self.audit(name, "login", "ok").await;
        Ok(self.sessions.open(&account, self.clock.now()))
    }

    /// Ends the session of these headers. Answers the cookie that makes the browser forget it.
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

    /// Ends all sessions of everybody: the key that signs them is replaced.
    ///
    /// # Errors
    /// The database's.
    pub async fn logout_everybody(&self) -> Result<(), DbError> {
        self.sessions.replace_key(SigningKey::replace(&*self.database).await?);
        Ok(())
    }

    /// The session that a request's cookie carries; nothing if there is none, it is forged, or over.
    pub fn session_of(&self, headers: &HeaderMap) -> Option<Session> {
        self.sessions.of(headers, &self.accounts(), self.clock.now())
    }

    /// The session of a request that only shows something: any role will do.
    ///
    /// # Errors
    /// [`Denied::NotLoggedIn`].
    pub fn viewer(&self, headers: &HeaderMap) -> Result<Session, Denied> {
        self.session_of(headers).ok_or(Denied::NotLoggedIn)
    }

    /// The session of a request that changes something. `csrf` is the form's field of that name; a request of a script
    /// may carry it in the header `x-csrf-token` instead.
    ///
    /// # Errors
    /// [`Denied::NotLoggedIn`], [`Denied::Role`], or [`Denied::Forged`] if the request does not come from a page of this
    /// session.
    pub fn change(&self, headers: &HeaderMap, role: Role, csrf: Option<&str>) -> Result<Session, Denied> {
        let session = self.viewer(headers)?;
        let header = headers.get("x-csrf-token").and_then(|value| value.to_str().ok());
        let given = csrf.or(header).unwrap_or_default();
        if !session.csrf_matches(given) || !session::is_own_origin(headers) {
            return Err(Denied::Forged);
        }
        match session.role >= role {
            true => Ok(session),
            false => Err(Denied::Role(role)),
        }
    }

    /// Notes what was done, or tried. A list that cannot be written is logged, and stops nobody.
    pub async fn audit(&self, who: &str, what: &str, result: &str) {
        let (who, what, result) = (shortened(who), shortened(what), shortened(result));
        tracing::info!(who, what, result, "audit");
        if let Err(error) = self.database.add_audit(&who, &what, &result).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the audit list cannot be written");
        }
    }

    /// The last 500 entries, the newest first.
    ///
    /// # Errors
    /// The database's.
    pub async fn audit_list(&self) -> Result<Vec<AuditEntry>, DbError> {
        self.database.audit().await
    }

    /// Follows accounts and key until `stop`. A database that is away changes nothing.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            if let Err(error) = self.refresh().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "accounts cannot be read");
            }
        }
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

/// One line without control characters, not longer than the list takes.
fn shortened(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(AUDIT_CHARS_MAX).collect()
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}
