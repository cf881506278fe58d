//! The event log: a hash of every line, and the last lines themselves. It is off unless a world is examined.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many of the last lines are kept.
const KEPT: usize = 100_000;

#[derive(Debug, Default)]
pub(crate) struct Trace {
    on: AtomicBool,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    hash: u64,
    last: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(on: bool) -> Self {
        Self { on: AtomicBool::new(on), log: Mutex::default() }
    }

    #[inline]
    pub(crate) fn line(&self, text: impl FnOnce() -> String) {
        if self.on.load(Ordering::Relaxed) {
            self.add(text());
        }
    }

    #[cold]
    fn add(&self, text: String) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in text.bytes() {
            log.hash = (log.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
        }
        if log.last.len() == KEPT {
            log.last.pop_front();
        }
        log.last.push_back(text);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).hash
    }

    pub(crate) fn last(&self, lines: usize) -> Vec<String> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.last.iter().skip(log.last.len().saturating_sub(lines)).cloned().collect()
    }
}
