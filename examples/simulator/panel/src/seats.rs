//! Who may follow the panel: a number of streams for each session and each account.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use simulator_access::{Place, Quota, Session};

use super::reply::{later, too_many};

/// Maximum number of streams of one session. Each tab has one, and browsers open at most six connections to a host over HTTP/1.1,
/// so only a program asks for more.
const SESSION_MAX: usize = 16;

/// Maximum number of streams of one account, in as many sessions as it has: who may log in to one account shuts out no one who
/// has another. There are three accounts, so this bounds all streams.
const ACCOUNT_MAX: usize = 128;

/// The streams that are open.
#[derive(Debug)]
pub(super) struct Seats {
    sessions: Quota<String>,
    accounts: Quota<String>,
}

/// The right to one stream, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    _session: Place<String>,
    _account: Place<String>,
}

impl Default for Seats {
    fn default() -> Self {
        Self { sessions: Quota::new(SESSION_MAX), accounts: Quota::new(ACCOUNT_MAX) }
    }
}

impl Seats {
    /// Takes a seat of a session and of its account.
    ///
    /// # Errors
    /// Which maximum is reached.
    pub(super) fn take(&self, reader: &Session) -> Result<Seat, Full> {
        self.take_for(reader.csrf(), &reader.name)
    }

    fn take_for(&self, session: &str, account: &str) -> Result<Seat, Full> {
        let session = self.sessions.take(session.to_owned()).ok_or(Full::Session)?;
        let account = self.accounts.take(account.to_owned()).ok_or(Full::Account)?;
        Ok(Seat { _session: session, _account: account })
    }
}

/// Which maximum is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Session,
    Account,
}

impl Full {
    /// Says what to do.
    pub(super) fn response(self) -> Response {
        match self {
            Self::Session => {
                let why = format!("This login follows in {SESSION_MAX} tabs already: close some of them.");
                later(StatusCode::TOO_MANY_REQUESTS, &why, Duration::ZERO)
            }
            Self::Account => {
                too_many(&format!("This account follows in {ACCOUNT_MAX} tabs already: close some of them."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_session_nor_an_account_shuts_out_another() {
        let seats = Seats::default();
        let mut taken = Vec::new();
        for number in 0..ACCOUNT_MAX {
            let session = format!("viewer {}", number / SESSION_MAX);
            taken.push(seats.take_for(&session, "viewer").expect("a seat"));
        }
        assert_eq!(seats.take_for("viewer 0", "viewer").err(), Some(Full::Session));
        assert_eq!(seats.take_for("a new login", "viewer").err(), Some(Full::Account));
        seats.take_for("admin", "admin").expect("another account");
        taken.clear();
        seats.take_for("viewer 0", "viewer").expect("all have left");
    }
}
