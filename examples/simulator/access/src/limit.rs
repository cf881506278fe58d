//! Rate limits by key, and those on password attempts.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Attempts per address: a burst of this size, then one per period.
const EACH_AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();
const EACH_PERIOD: Duration = Duration::from_secs(3);

/// Attempts of all addresses together.
const ALL_AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
const ALL_PERIOD: Duration = Duration::from_millis(500);

/// Maximum number of remembered keys. Those that are idle are forgotten first; if none is idle, a new key is refused.
const KEYS_MAX: usize = 1_024;

/// A burst and a rate for each key.
pub struct KeyedLimit<K: Clone + Eq + Hash> {
    limiter: DefaultKeyedRateLimiter<K>,
    period: Duration,
    clock: DefaultClock,
}

impl<K: Clone + Eq + Hash> KeyedLimit<K> {
    /// Allows `at_once` requests, and then one per `period`.
    pub fn new(at_once: NonZeroU32, period: Duration) -> Self {
        Self { limiter: RateLimiter::keyed(quota(at_once, period)), period, clock: DefaultClock::default() }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// The time to wait, if the request exceeds the limit.
    pub fn check(&self, key: &K) -> Result<(), Duration> {
        if self.limiter.len() >= KEYS_MAX {
            self.limiter.retain_recent();
            if self.limiter.len() >= KEYS_MAX {
                return Err(self.period);
            }
        }
        self.limiter.check_key(key).map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for KeyedLimit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedLimit").field("keys", &self.limiter.len()).finish_non_exhaustive()
    }
}

fn quota(at_once: NonZeroU32, period: Duration) -> Quota {
    // `with_period` returns `None` only for a period of zero.
    Quota::with_period(period).unwrap_or(Quota::per_second(at_once)).allow_burst(at_once)
}

/// Counts attempts.
pub(super) struct Attempts {
    each: KeyedLimit<IpAddr>,
    all: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self {
            each: KeyedLimit::new(EACH_AT_ONCE, EACH_PERIOD),
            all: RateLimiter::direct(quota(ALL_AT_ONCE, ALL_PERIOD)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts an attempt. Returns the time to wait as an error if it exceeds a limit.
    pub(super) fn check(&self, from: IpAddr) -> Result<(), Duration> {
        // Checked first: a blocked address does not use up the shared quota.
        self.each.check(&network(from))?;
        self.all.check().map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

/// Truncates an IPv6 address to its /64 network, all of which belongs to one client.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

impl fmt::Debug for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Attempts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_held_back_and_another_is_not() {
        let attempts = Attempts::new();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        for _ in 0..EACH_AT_ONCE.get() {
            attempts.check(one).expect("within the burst");
        }
        let wait = attempts.check(one).expect_err("one too many");
        assert!(wait <= EACH_PERIOD && !wait.is_zero(), "{wait:?}");
        attempts.check(other).expect("another address");
    }

    #[test]
    fn many_addresses_of_a_network_are_held_back_together() {
        let attempts = Attempts::new();
        let held_back =
            (0..u16::MAX).filter(|n| attempts.check(Ipv6Addr::new(1, *n, 0, 0, 0, 0, 0, 1).into()).is_err());
        assert!(held_back.take(10).count() == 10);
        assert_eq!(network("1:2:3:4:5:6:7:8".parse().expect("an address")), network("1:2:3:4::".parse().expect("too")));
    }
}
