//! Limits of the panel: concurrent requests in total, and rates for each session and each address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use simulator_access::{KeyedLimit, network};
use tokio::sync::Semaphore;

/// Maximum number of concurrent requests of all sessions. Each holds rows and the text of a page in memory, and most of
/// them wait for the same snapshot; a team that opens its tabs together stays far below.
const AT_ONCE: usize = 64;

/// Burst of one session, and the time after which it gets one more request. Typing in the search box causes seven
/// requests a second, and a browser that restores all its tabs sends several dozen at once.
const SESSION_AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
const SESSION_PERIOD: Duration = Duration::from_millis(50);

/// As above for one address, which a whole office may share.
const ADDRESS_AT_ONCE: NonZeroU32 = NonZeroU32::new(500).unwrap();
const ADDRESS_PERIOD: Duration = Duration::from_millis(10);

/// Limits the requests of sessions and addresses.
#[derive(Debug)]
pub(super) struct Limits {
    pub(super) at_once: Semaphore,
    sessions: KeyedLimit<String>,
    addresses: KeyedLimit<IpAddr>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            at_once: Semaphore::new(AT_ONCE),
            sessions: KeyedLimit::new(SESSION_AT_ONCE, SESSION_PERIOD),
            addresses: KeyedLimit::new(ADDRESS_AT_ONCE, ADDRESS_PERIOD),
        }
    }
}

impl Limits {
    /// Counts a request. Returns the time to wait as the error if it exceeds a rate.
    pub(super) fn check(&self, session: &str, from: IpAddr) -> Result<(), Duration> {
        // The session first: a session over its limit uses up nothing of its address's quota.
        self.sessions.check(&session.to_owned())?;
        self.addresses.check(&network(from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_held_back_and_another_at_its_address_is_not() {
        let limits = Limits::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        let passed = (0..1_000).take_while(|_| limits.check("one", address).is_ok()).count();
        assert!((100..120).contains(&passed), "{passed}");
        limits.check("other", address).expect("another session");
    }

    #[test]
    fn an_address_with_many_sessions_is_held_back() {
        let limits = Limits::default();
        let address = IpAddr::from([10, 0, 0, 1]);
        let passed = (0..5_000).take_while(|n| limits.check(&n.to_string(), address).is_ok()).count();
        assert!((500..700).contains(&passed), "{passed}");
        limits.check("one more", IpAddr::from([10, 0, 0, 2])).expect("another address");
    }
}
