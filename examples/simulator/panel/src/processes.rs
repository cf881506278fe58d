//! Which processes respond at the address of the API: the figures of different ones are no figures of the API.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use reqwest::header::HeaderMap;
use simulator_api::PROCESS;

/// Number of responses that are remembered: enough that of two processes which respond at random, both are heard of in turn.
const REMEMBERED: usize = 20;

/// The processes that the last responses came from.
#[derive(Debug, Default)]
pub(super) struct Processes(Mutex<VecDeque<Option<String>>>);

/// Where a response came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// From the process that the one before it came from.
    Same,
    /// From another process, for the first time: the API was restarted, or there are several.
    Another,
    /// This number of processes respond in turn.
    Several(usize),
}

impl Processes {
    /// Notes a response.
    pub(super) fn note(&self, headers: &HeaderMap) -> Heard {
        let name = headers.get(PROCESS).and_then(|name| name.to_str().ok()).map(str::to_owned);
        let mut last = self.last();
        last.push_back(name);
        if last.len() > REMEMBERED {
            last.pop_front();
        }
        heard(&last)
    }

    /// Returns the number of processes that respond in turn; `None` if there is one only, as far as is known.
    pub(super) fn several(&self) -> Option<usize> {
        match heard(&self.last()) {
            Heard::Several(count) => Some(count),
            Heard::Same | Heard::Another => None,
        }
    }

    /// No code panics while it holds the lock.
    fn last(&self) -> MutexGuard<'_, VecDeque<Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn heard(last: &VecDeque<Option<String>>) -> Heard {
    let is_new = last.iter().rev().nth(1).is_some_and(|before| last.back() != Some(before));
    // A restart is one change.
    let changes = last.iter().zip(last.iter().skip(1)).filter(|(before, after)| before != after).count();
    match (changes, is_new) {
        (0 | 1, false) => Heard::Same,
        (0 | 1, true) => Heard::Another,
        _ => {
            let mut names: Vec<&Option<String>> = last.iter().collect();
            names.sort_unstable();
            names.dedup();
            Heard::Several(names.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_restart_is_not_taken_for_a_second_process() {
        let processes = Processes::default();
        let note = |name: &'static str| {
            let header = (HeaderName::from_static(PROCESS), HeaderValue::from_static(name));
            processes.note(&HeaderMap::from_iter([header]))
        };
        assert_eq!(
            [note("a"), note("a"), note("b"), note("b")],
            [Heard::Same, Heard::Same, Heard::Another, Heard::Same]
        );
        assert_eq!(processes.several(), None);
        assert_eq!((note("a"), note("c"), processes.several()), (Heard::Several(2), Heard::Several(3), Some(3)));
        for _ in 0..REMEMBERED {
            note("c");
        }
        assert_eq!((note("c"), processes.several()), (Heard::Same, None));
    }
}
