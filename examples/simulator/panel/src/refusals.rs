//! Limits how often refusals are written to the audit list, for each account.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Maximum number of refusals of an account recorded per window: each is a write to the database. The others are counted and
/// reported with the next recorded one.
const NOTED_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);

/// Counts refusals.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// By account, of which there are three.
    windows: Mutex<BTreeMap<String, Window>>,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    noted: u32,
    left_out: u64,
}

impl Refusals {
    /// Returns the number of the account's refusals left out since the last recorded one, `None` if this one is to be left out, too.
    pub(super) fn admit(&self, account: &str, now: Instant) -> Option<u64> {
        let mut windows = self.windows.lock().ok()?;
        let window = windows.entry(account.to_owned()).or_default();
        if window.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            (window.began, window.noted) = (Some(now), 0);
        }
        if window.noted >= NOTED_MAX {
            window.left_out += 1;
            return None;
        }
        window.noted += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_reported_with_the_next_one() {
        let refusals = Refusals::default();
        let begun = Instant::now();
        let noted = (0..50).filter(|_| refusals.admit("viewer", begun) == Some(0)).count();
        assert_eq!(noted, 20);
        assert_eq!(refusals.admit("operator", begun), Some(0), "another account");
        assert_eq!(refusals.admit("viewer", begun + WINDOW), Some(30));
        assert_eq!(refusals.admit("viewer", begun + WINDOW), Some(0));
    }
}
