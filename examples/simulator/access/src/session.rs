//! Sessions: a signed cookie, which says who it is and until when.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use cachefront::clock::SystemEntropy;
use cachefront::{Entropy, Timestamp};
use ring::hmac;
use simulator_cli::Secret;
use simulator_model::credentials::Role;
use simulator_model::domain::{Database, DbError};

use super::account::{Account, Accounts};

const COOKIE: &str = "cachefront_session";

/// The note that keeps the signing key.
const NOTE: &str = "session_key";

/// Nobody stays logged in for longer.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// So many sessions that were ended before their time are remembered.
const CLOSED_MAX: usize = 1_024;

/// Somebody who is logged in.
#[derive(Clone, Debug)]
pub struct Session {
    /// The account.
    pub name: String,
    pub role: Role,
    csrf: Secret,
    pub(super) nonce: String,
    /// When it is over by itself, in seconds since 1970.
    pub(super) expires: u64,
}

impl Session {
    /// What every form of this session carries in its field `csrf`.
    pub fn csrf(&self) -> &str {
        self.csrf.expose()
    }

    /// True if this role's doings are allowed.
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }

    pub(super) fn csrf_matches(&self, given: &str) -> bool {
        self.csrf.matches(given)
    }
}

/// The key that signs cookies.
#[derive(Clone)]
pub(super) struct SigningKey {
    text: Secret,
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
        Self { text: Secret::new(text), key: hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes()) }
    }

    fn sign(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            // With its length, so that no two lists of parts are signed alike.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// 256 random bits.
fn random_key() -> String {
    format!("{:032x}{:032x}", SystemEntropy.random_u128(), SystemEntropy.random_u128())
}

/// Opens sessions and knows them again.
pub(super) struct Sessions {
    key: RwLock<Arc<SigningKey>>,
    /// Nonces of sessions that somebody ended in this process: the database may have been away then.
    closed: Mutex<VecDeque<String>>,
    /// Nonces of sessions that somebody ended in any process, as the database keeps them until they would be over. How
    /// many there can be is bounded by how often somebody may log in.
    ended: RwLock<HashSet<String>>,
    /// What follows the cookies' other attributes.
    secure: &'static str,
}

impl Sessions {
    pub(super) fn new(key: SigningKey, secure: bool) -> Self {
        let secure = if secure { "; Secure" } else { "" };
        Self { key: RwLock::new(Arc::new(key)), closed: Mutex::default(), ended: RwLock::default(), secure }
    }

    pub(super) fn replace_key(&self, key: SigningKey) {
        if let Ok(mut current) = self.key.write()
            && !current.text.matches(key.text.expose())
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
        // Names, digits and letters: always a header.
        let cookie = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""));
        (session(&key, account, nonce, expires), cookie)
    }

    pub(super) fn of(&self, headers: &HeaderMap, accounts: &Accounts, now: Timestamp) -> Option<Session> {
        let mut parts = cookie(headers)?.split('.');
        let (name, expires) = (parts.next()?, parts.next()?.parse::<u64>().ok()?);
        let (nonce, given) = (parts.next()?, parts.next()?);
        let account = accounts.get(name)?;
        let key = self.key();
        let expected = Secret::new(tag(&key, &account, expires, nonce));
        let is_over = now.as_millis() / 1_000 >= expires;
        let is_closed = self.closed.lock().is_ok_and(|closed| closed.iter().any(|closed| closed == nonce));
        let is_closed = is_closed || self.ended.read().is_ok_and(|ended| ended.contains(nonce));
        let good = parts.next().is_none() && expected.matches(given) && !is_over && !is_closed;
        good.then(|| session(&key, &account, nonce.to_owned(), expires))
    }

    /// What the database keeps of sessions that were ended.
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

    /// The cookie that makes a browser forget its session.
    pub(super) fn forgotten(&self) -> HeaderValue {
        let value = format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0{}", self.secure);
        HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""))
    }

    /// A poisoned lock holds a key that was written whole.
    fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.key.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// Over the hash of the password as well: a new password ends the sessions of the old one.
fn tag(key: &SigningKey, account: &Account, expires: u64, nonce: &str) -> String {
    key.sign(&["session", account.role.as_str(), &expires.to_string(), nonce, &account.hash])
}

fn session(key: &SigningKey, account: &Account, nonce: String, expires: u64) -> Session {
    let csrf = Secret::new(key.sign(&["csrf", &nonce]));
    Session { name: account.role.as_str().to_owned(), role: account.role, csrf, nonce, expires }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// A browser says where a request comes from; a program that says nothing is no browser.
pub(super) fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some() && origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest) == host
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}
