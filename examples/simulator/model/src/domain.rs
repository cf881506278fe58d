//! The simulator's domain: users, the mode, and the database that holds both.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use cachefront::event::RowImage;
use cachefront::store::InvalidationMode;
use cachefront::{BoxError, Position, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A row of the table `users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Given by the database, or by the program that inserted the row.
    #[schema(minimum = 1, example = 1)]
    pub id: u64,
    #[schema(example = "Ada Lovelace")]
    pub name: String,
    /// Unique, byte for byte.
    #[schema(example = "ada@example.org")]
    pub email: String,
    /// RFC 3339 in UTC, with microseconds.
    #[schema(example = "2026-01-31T12:00:00.000000Z", format = DateTime)]
    pub updated_at: String,
    /// One of `trial`, `active`, `suspended` and `closed`, or what another program has written into the column.
    #[schema(example = "active")]
    #[serde(default = "Status::unsaid")]
    pub status: String,
}

/// The status of a user as clients set it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Trial,
    #[default]
    Active,
    Suspended,
    Closed,
}

impl Status {
    pub const ALL: [Self; 4] = [Self::Trial, Self::Active, Self::Suspended, Self::Closed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trial => "trial",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
        }
    }

    /// The status in values and rows of the time before there was one.
    fn unsaid() -> String {
        Self::default().as_str().to_owned()
    }
}

impl FromStr for Status {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

impl User {
    /// Makes a user from a row of the change log. A row that was logged before there was a status is active.
    ///
    /// # Errors
    /// `Corrupt` if the row lacks another column, or has one of another type.
    pub fn from_row(row: &RowImage) -> cachefront::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            email: row.get("email")?,
            updated_at: rfc3339_of(row.get("updated_at")?),
            status: match row.columns().any(|(name, _)| name == "status") {
                true => row.get("status")?,
                false => Status::unsaid(),
            },
        })
    }
}

/// The largest id that a new user can have, chosen or not: every program that reads JSON holds it exactly.
pub const CHOSEN_ID_MAX: u64 = (1 << 53) - 1;

/// A user as a client sends it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct UserInput {
    pub name: String,
    pub email: String,
    /// `None` leaves it as it is; a new user is active then.
    pub status: Option<Status>,
}

/// How cached entries are kept current.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By age alone: an entry may be stale until it expires.
    Ttl,
    /// By invalidation from the database's change log.
    Cdc,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ttl => "ttl",
            Self::Cdc => "cdc",
        }
    }

    pub fn mode(self) -> InvalidationMode {
        match self {
            Self::Ttl => InvalidationMode::Ttl,
            Self::Cdc => InvalidationMode::Cdc,
        }
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "ttl" => Ok(Self::Ttl),
            "cdc" => Ok(Self::Cdc),
            _ => Err(()),
        }
    }
}

/// The mode as the database keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModeRow {
    pub mode: Mode,
    /// RFC 3339 in UTC, with microseconds.
    pub changed_at: String,
    /// Goes up by one with every change.
    pub version: u64,
}

/// The mode after a start, given the one that is kept and the environment's value now and at the last start.
///
/// The environment wins only if it was edited since: if it differs from the value that was kept with the row.
pub fn mode_at_start(kept: Mode, environment_then: Option<Mode>, environment_now: Option<Mode>) -> Mode {
    match environment_now {
        Some(now) if environment_then != Some(now) => now,
        _ => kept,
    }
}

/// A short text that the database keeps under a name, for every process: at most 255 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub text: String,
    /// Goes up by one with every change; 1 for the first.
    pub version: u64,
}

/// An action that was taken or refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditEntry {
    /// When it happened last. RFC 3339 in UTC, with microseconds.
    pub at: String,
    /// An account, a kind of token, or an address.
    #[schema(example = "admin")]
    pub who: String,
    /// Never with a secret in it.
    #[schema(example = "mode ttl")]
    pub what: String,
    /// `ok`, or why not.
    #[schema(example = "ok")]
    pub result: String,
    /// How often it happened: what was refused for the same reason again is one entry.
    #[schema(example = 1)]
    pub times: u64,
}

impl AuditEntry {
    /// Returns true if nothing was done.
    pub fn is_refusal(&self) -> bool {
        self.result != "ok"
    }

    /// Returns the maximum number of entries next to which this one is kept: those of the same `who` that were refused, or those
    /// that were not.
    pub fn kept_max(&self) -> u32 {
        match (self.who.starts_with(ADDRESS), self.is_refusal()) {
            (true, _) => ADDRESS_ENTRIES_MAX,
            (false, true) => REFUSED_MAX,
            (false, false) => HISTORY_MAX,
        }
    }
}

/// Maximum length of the history of modes, and number of actions of each account or token in the audit list; older entries are
/// deleted. So a client cannot push out the entries of another.
pub const HISTORY_MAX: u32 = 500;

/// Maximum number of refusals of each account or token in the audit list. Fewer than actions, so that those who may do nothing
/// cannot fill the list.
pub const REFUSED_MAX: u32 = 100;

/// How `who` begins for a client that is known by its address alone: one that could not log in.
pub const ADDRESS: &str = "address ";

/// Maximum number of entries of each address in the audit list: such a client chooses the names under which it tries.
pub const ADDRESS_ENTRIES_MAX: u32 = 20;

/// Maximum number of addresses in the audit list; those that were heard of last are kept. Accounts and tokens are few by
/// configuration, addresses are not.
pub const ADDRESSES_MAX: u32 = 32;

/// Maximum number of entries that the audit list shows: more than all addresses and one account can fill.
pub const AUDIT_LISTED_MAX: u32 = 4 * HISTORY_MAX;

/// Formats a time as the API shows it.
pub fn rfc3339(at: Timestamp) -> String {
    let micros = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Converts a time that another program wrote to the API's form; returns the text unchanged if it is not a time.
pub fn rfc3339_of(text: String) -> String {
    let bytes = text.as_bytes();
    if bytes.len() == 27 && bytes.last() == Some(&b'Z') && bytes.get(10) == Some(&b'T') {
        return text;
    }
    let with_zone = text.parse::<jiff::Timestamp>().ok();
    let without = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    match with_zone.or_else(|| without().map(|zoned| zoned.timestamp())) {
        Some(time) => time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        None => text,
    }
}

/// The pattern of `LIKE` that finds `text` anywhere; `!` escapes.
pub fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for sign in text.chars() {
        if matches!(sign, '!' | '%' | '_') {
            pattern.push('!');
        }
        pattern.push(sign);
    }
    pattern.push('%');
    pattern
}

/// Where a page of users begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seek {
    /// The first ids above this one.
    After(u64),
    /// The last ids below this one.
    Before(u64),
}

/// A value together with what the database had committed when it was read.
#[derive(Clone, Debug)]
pub struct Seen<T> {
    pub value: T,
    /// The commits that the value is certain to contain; read before the value, on the same connection.
    pub position: Option<Position>,
    /// The server that was read.
    pub origin: Option<Box<str>>,
}

/// The outcome of a committed write.
#[derive(Clone, Debug)]
pub struct Written<T> {
    pub value: T,
    /// Contains the write's own commit; `None` if the database does not number its commits.
    pub token: Option<Position>,
}

/// Why the database did not do what was requested.
#[derive(Debug)]
pub enum DbError {
    /// Another user has this e-mail address.
    EmailTaken,
    /// Another user has the id that was chosen.
    IdTaken,
    /// A new user would need an id above the largest possible one.
    NoIdLeft,
    /// The version of the mode, or of a note, is not the expected one.
    VersionMismatch,
    /// The database cannot be reached, or is too busy. Trying again later may help.
    Unavailable(BoxError),
    /// Anything else: a defect, or a table that is not what it should be.
    Failed(BoxError),
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmailTaken => f.write_str("the e-mail address is taken"),
            Self::IdTaken => f.write_str("the id is taken"),
            Self::NoIdLeft => f.write_str(
                "there is no id left for a new user: the next one would be above 2^53 - 1; choose a free id",
            ),
            Self::VersionMismatch => f.write_str("it was changed by another client"),
            Self::Unavailable(_) => f.write_str("the database is not available"),
            Self::Failed(_) => f.write_str("the database refused the statement"),
        }
    }
}

impl std::error::Error for DbError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unavailable(source) | Self::Failed(source) => Some(source.as_ref()),
            Self::EmailTaken | Self::IdTaken | Self::NoIdLeft | Self::VersionMismatch => None,
        }
    }
}

/// Connections to the database, by what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    pub in_use: usize,
    pub idle: usize,
    /// Statements that wait for one.
    pub waiting: usize,
}

/// The database: the truth that cached entries are compared with. All writes go to it.
///
/// # Cancel safety
/// Reads are cancel safe. A dropped write may or may not have been committed.
///
/// # Errors
/// See [`DbError`].
#[async_trait]
pub trait Database: fmt::Debug + Send + Sync + 'static {
    /// The name of the table in change events, `database.table`.
    fn users_table(&self) -> String;

    /// Adds a user with this id, at most [`CHOSEN_ID_MAX`], or with the next one if it is `None`. If the next one would be above
    /// that, nothing is added: [`DbError::NoIdLeft`].
    async fn create(&self, id: Option<u64>, input: &UserInput) -> Result<Written<User>, DbError>;

    /// Returns `None` if there is no such user.
    async fn update(&self, id: u64, input: &UserInput) -> Result<Option<Written<User>>, DbError>;

    /// Returns `None` if there is no such user.
    async fn delete(&self, id: u64) -> Result<Option<Written<()>>, DbError>;

    async fn get(&self, id: u64) -> Result<Seen<Option<User>>, DbError>;

    async fn get_by_email(&self, email: &str) -> Result<Seen<Option<User>>, DbError>;

    /// Returns at most `limit` users with ids above `after`, by id.
    async fn list(&self, after: u64, limit: u32) -> Result<Vec<User>, DbError>;

    /// Returns at most `limit` users, by id, whose id is `text` or whose name or address contains it; an empty text
    /// matches all. `seek` says where the page begins.
    async fn find(&self, text: &str, seek: Seek, limit: u32) -> Result<Vec<User>, DbError>;

    /// The mode in force.
    async fn mode(&self) -> Result<ModeRow, DbError>;

    /// Creates the mode's row, or applies the rule of [`mode_at_start`] to it.
    async fn adopt_mode(&self, environment: Option<Mode>) -> Result<ModeRow, DbError>;

    /// Changes the mode if its version is one of `expected`, or whatever its version if that is `None`. Setting the
    /// current mode again changes nothing.
    async fn set_mode(&self, mode: Mode, expected: Option<&[u64]>) -> Result<ModeRow, DbError>;

    /// The modes that were in force, the newest first; at most [`HISTORY_MAX`].
    async fn mode_history(&self) -> Result<Vec<ModeRow>, DbError>;

    /// Returns the note of this name, `None` if there is none.
    async fn note(&self, name: &str) -> Result<Option<Note>, DbError>;

    /// Writes a note if its version is the expected one; 0 means that it must be absent, `None` that any version will
    /// do.
    async fn set_note(&self, name: &str, text: &str, expected: Option<u64>) -> Result<Note, DbError>;

    /// Adds to the audit list; the database sets `at`, whatever the entry has. A refusal that is in the list already is counted
    /// there. Deletes the oldest entries beyond [`AuditEntry::kept_max`], and addresses beyond [`ADDRESSES_MAX`].
    async fn add_audit(&self, entry: &AuditEntry) -> Result<(), DbError>;

    /// The audit list, the newest first.
    async fn audit(&self) -> Result<Vec<AuditEntry>, DbError>;

    /// The connections of this process, now.
    fn connections(&self) -> Connections;

    /// Keeps a text of any length under a name, for every process. With `expires`, in seconds since 1970, only until
    /// then; expired texts are deleted.
    async fn keep(&self, name: &str, text: &str, expires: Option<u64>) -> Result<(), DbError>;

    /// Returns the text that is kept under this name, `None` if there is none or it has expired.
    async fn kept(&self, name: &str) -> Result<Option<String>, DbError>;

    /// Returns the names with this prefix, without those of expired texts.
    async fn kept_names(&self, prefix: &str) -> Result<Vec<String>, DbError>;

    /// Checks that the database can be reached.
    async fn ping(&self) -> Result<(), DbError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_only_when_it_was_edited() {
        use Mode::{Cdc, Ttl};
        assert_eq!(mode_at_start(Ttl, None, None), Ttl);
        assert_eq!(mode_at_start(Ttl, Some(Cdc), Some(Cdc)), Ttl);
        assert_eq!(mode_at_start(Ttl, Some(Ttl), Some(Cdc)), Cdc);
        assert_eq!(mode_at_start(Ttl, None, Some(Cdc)), Cdc);
        assert_eq!(mode_at_start(Ttl, Some(Cdc), None), Ttl);
    }
}
