//! Rate limits on password attempts: per address, and in total.

use std::fmt;
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

/// Maximum number of remembered addresses, each for at most a minute.
const ADDRESSES_MAX: usize = 1_024;

/// Counts attempts.
pub(super) struct Attempts {
    each: DefaultKeyedRateLimiter<IpAddr>,
    all: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Attempts {
    pub(super) fn new() -> Self {
        // `with_period` returns `None` only for a period of zero.
        let quota = |period, burst| Quota::with_period(period).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
        Self {
            each: RateLimiter::keyed(quota(EACH_PERIOD, EACH_AT_ONCE)),
            all: RateLimiter::direct(quota(ALL_PERIOD, ALL_AT_ONCE)),
            clock: DefaultClock::default(),
        }
    }

    /// Counts an attempt. Returns the time to wait as an error if it exceeds a limit.
    pub(super) fn check(&self, from: IpAddr) -> Result<(), Duration> {
        let wait = |until: governor::NotUntil<_>| until.wait_time_from(self.clock.now());
        if self.each.len() >= ADDRESSES_MAX {
            self.each.retain_recent();
            if self.each.len() >= ADDRESSES_MAX {
                return Err(EACH_PERIOD);
            }
        }
        // Checked first: a blocked address does not use up the shared quota.
        self.each.check_key(&network(from)).map_err(wait)?;
        self.all.check().map_err(wait)
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
    fn many_addresses_are_held_back_together_and_a_network_counts_as_one() {
        let attempts = Attempts::new();
        let held_back =
            (0..u16::MAX).filter(|n| attempts.check(Ipv6Addr::new(1, *n, 0, 0, 0, 0, 0, 1).into()).is_err());
        assert!(held_back.take(10).count() == 10);
        assert_eq!(network("1:2:3:4:5:6:7:8".parse().expect("an address")), network("1:2:3:4::".parse().expect("too")));
    }
}
