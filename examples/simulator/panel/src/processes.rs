//! Which processes respond at the address of the API: the figures of different ones are no figures of the API.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;
use simulator_api::PROCESS;

/// Number of responses that are remembered: enough that of two processes which respond in turn, or at random, both are
/// among them but once in 2^19 times. At one a second, a restart of the API leaves a gap of this many seconds.
const REMEMBERED: usize = 20;

/// The processes that the last responses came from.
#[derive(Debug, Default)]
pub(super) struct Processes(Mutex<VecDeque<Option<String>>>);

impl Processes {
    /// Notes a response. Returns the number of different processes that the last responses came from.
    pub(super) fn note(&self, headers: &HeaderMap) -> usize {
        let name = headers.get(PROCESS).and_then(|name| name.to_str().ok()).map(str::to_owned);
        // No code panics while it holds the lock.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.push_back(name);
        if last.len() > REMEMBERED {
            last.pop_front();
        }
        count(&last)
    }

    /// Returns the number of different processes that the last responses came from.
    pub(super) fn count(&self) -> usize {
        count(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn count(last: &VecDeque<Option<String>>) -> usize {
    let mut names: Vec<&Option<String>> = last.iter().collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_several_until_the_others_have_been_silent() {
        let processes = Processes::default();
        let note = |name: &'static str| {
            let name = reqwest::header::HeaderValue::from_static(name);
            processes.note(&HeaderMap::from_iter([(reqwest::header::HeaderName::from_static(PROCESS), name)]))
        };
        assert_eq!((note("a"), note("a"), note("b"), note("a")), (1, 1, 2, 2));
        for _ in 0..REMEMBERED {
            note("b");
        }
        assert_eq!(processes.count(), 1);
    }
}
