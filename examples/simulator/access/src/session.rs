//! Sessions: a signed cookie with the account and the expiry time.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use cachefront::clock::SystemEntropy;
use cachefront::{Entropy, Timestamp};
use ring::hmac;
use simulator_cli::{ExposeSecret, SecretString, matches};
use simulator_model::credentials::Role;
use simulator_model::domain::{Database, DbError};

use super::account::{Account, Accounts};

const COOKIE: &str = "cachefront_session";

/// Name of the note that holds the signing key.
const NOTE: &str = "session_key";

/// Maximum lifetime of a session.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// How much the clocks of two processes may differ: a session is valid in both.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// Maximum number of remembered sessions that were ended before they expired.
const CLOSED_MAX: usize = 1_024;

/// A logged-in user.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account.
    pub name: String,
    pub role: Role,
    csrf: SecretString,
    pub(super) nonce: String,
    /// Expiry time, in seconds since the Unix epoch.
    pub(super) expires: u64,
}

impl Session {
    /// Returns the CSRF token that every form of this session sends in its field `csrf`.
    pub fn csrf(&self) -> &str {
        self.csrf.expose_secret()
    }

    /// Returns true if the session's role includes `role`.
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }

    pub(super) fn csrf_matches(&self, given: &str) -> bool {
        matches(&self.csrf, given)
    }
}

/// The key that signs cookies.
#[derive(Clone)]
pub(super) struct SigningKey {
    text: SecretString,
    key: hmac::Key,
}

impl SigningKey {
    pub(super) async fn read_or_make(database: &dyn Database) -> Result<Self, DbError> {
        if let Some(note) = database.note(NOTE).await?.filter(|note| !note.text.is_empty()) {
            return Ok(Self::of(&note.text));
        }
        match database.set_note(NOTE, &random_key(), Some(0)).await {
            Ok(note) => Ok(Self::of(&note.text)),
            // Another process was first.
            Err(DbError::VersionMismatch) => match database.note(NOTE).await?.filter(|note| !note.text.is_empty()) {
                Some(note) => Ok(Self::of(&note.text)),
                None => Self::replace(database).await,
            },
            Err(error) => Err(error),
        }
    }

    pub(super) async fn replace(database: &dyn Database) -> Result<Self, DbError> {
        let note = database.set_note(NOTE, &random_key(), None).await?;
        Ok(Self::of(&note.text))
    }

    fn of(text: &str) -> Self {
        Self { text: SecretString::from(text), key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()) }
    }

    fn sign(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            // Length-prefixed, so that no two lists of parts have the same signature.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Returns 256 random bits as hexadecimal digits.
fn random_key() -> String {
    format!("{:032x}{:032x}", SystemEntropy.random_u128(), SystemEntropy.random_u128())
}

/// Opens sessions and verifies their cookies.
pub(super) struct Sessions {
    key: RwLock<Arc<SigningKey>>,
    /// Nonces of sessions that were ended in this process, in case the database was unavailable at the time.
    closed: Mutex<VecDeque<String>>,
    /// Nonces of sessions that were ended in any process. The database keeps them until they would expire; their number
    /// is bounded by the rate limit on logins.
    ended: RwLock<HashSet<String>>,
    /// `; Secure` or empty, appended to every cookie.
    secure: &'static str,
}

impl Sessions {
    pub(super) fn new(key: SigningKey, secure: bool) -> Self {
        let secure = if secure { "; Secure" } else { "" };
        Self { key: RwLock::new(Arc::new(key)), closed: Mutex::default(), ended: RwLock::default(), secure }
    }

    pub(super) fn replace_key(&self, key: SigningKey) {
        if let Ok(mut current) = self.key.write()
            && !matches(&current.text, key.text.expose_secret())
        {
            *current = Arc::new(key);
        }
    }

    pub(super) fn open(&self, account: &Account, now: Timestamp) -> (Session, HeaderValue) {
        let expires = now.after(LIFE).as_millis() / 1_000;
        let nonce = format!("{:032x}", SystemEntropy.random_u128());
        let key = self.key();
        let tag = tag(&key, account, expires, &nonce);
        let value = format!(
            "{COOKIE}={}.{expires}.{nonce}.{tag}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}{}",
            account.role,
            LIFE.as_secs(),
            self.secure
        );
        // Role names, digits and letters are always a valid header value.
        let cookie = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""));
        (session(&key, account, nonce, expires), cookie)
    }

    pub(super) fn of(&self, headers: &HeaderMap, accounts: &Accounts, now: Timestamp) -> Option<Session> {
        let mut parts = cookie(headers)?.split('.');
        let (name, expires) = (parts.next()?, parts.next()?.parse::<u64>().ok()?);
        let (nonce, given) = (parts.next()?, parts.next()?);
        let account = accounts.get(name)?;
        let key = self.key();
        let expected = SecretString::from(tag(&key, &account, expires, nonce));
        let now = now.as_millis() / 1_000;
        // A later end than any session has was not made by this program.
        let is_over = now >= expires || expires - now > (LIFE + CLOCKS_DIFFER).as_secs();
        let is_closed = self.closed.lock().is_ok_and(|closed| closed.iter().any(|closed| closed == nonce));
        let is_closed = is_closed || self.ended.read().is_ok_and(|ended| ended.contains(nonce));
        let good = parts.next().is_none() && matches(&expected, given) && !is_over && !is_closed;
        good.then(|| session(&key, &account, nonce.to_owned(), expires))
    }

    /// Replaces the nonces of ended sessions with those from the database.
    pub(super) fn ended(&self, nonces: HashSet<String>) {
        if let Ok(mut ended) = self.ended.write() {
            *ended = nonces;
        }
    }

    pub(super) fn close(&self, session: &Session) {
        if let Ok(mut closed) = self.closed.lock() {
            if closed.len() >= CLOSED_MAX {
                closed.pop_front();
            }
            closed.push_back(session.nonce.clone());
        }
    }

    /// Returns the cookie that deletes the session in the browser.
    pub(super) fn forgotten(&self) -> HeaderValue {
        let value = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0{}", self.secure);
        HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""))
    }

    /// A poisoned lock holds a key that was written whole.
    fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.key.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Signs a session. The password's hash is part of it: a new password ends the sessions of the old one.
fn tag(key: &SigningKey, account: &Account, expires: u64, nonce: &str) -> String {
    key.sign(&["session", account.role.as_str(), &expires.to_string(), nonce, &account.hash])
}

fn session(key: &SigningKey, account: &Account, nonce: String, expires: u64) -> Session {
    let csrf = SecretString::from(key.sign(&["csrf", &nonce]));
    Session { name: account.role.as_str().to_owned(), role: account.role, csrf, nonce, expires }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Returns true if `Origin` matches `Host`, or if there is no `Origin`: browsers always send it with such requests.
pub fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some() && origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest) == host
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}
