//! The rule by which a cache's values are kept correct, and its change while values are read ("Mode switch").

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::mode::InvalidationMode;

const CDC: u8 = 0;
const TTL: u8 = 1;
/// CDC mode, while values of TTL mode may still be in the process-local tier.
const ENTERING_CDC: u8 = 2;

#[derive(Debug)]
pub(super) struct ModeSwitch {
    mode: AtomicU8,
    /// One change at a time.
    changing: Mutex<()>,
}

impl ModeSwitch {
    pub(super) fn new(mode: InvalidationMode) -> Self {
        Self { mode: AtomicU8::new(if mode == InvalidationMode::Cdc { CDC } else { TTL }), changing: Mutex::default() }
    }

    pub(super) fn get(&self) -> InvalidationMode {
        match self.mode.load(Ordering::Acquire) {
            TTL => InvalidationMode::Ttl,
            _ => InvalidationMode::Cdc,
        }
    }

    /// Returns true if everything in the process-local tier is kept correct by the log.
    pub(super) fn is_cdc_throughout(&self) -> bool {
        self.mode.load(Ordering::Acquire) == CDC
    }

    /// Changes the mode. `clear` empties the process-local tier.
    pub(super) fn set(&self, mode: InvalidationMode, clear: impl FnOnce()) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.get() == mode {
            return;
        }
        match mode {
            InvalidationMode::Cdc => {
                self.mode.store(ENTERING_CDC, Ordering::SeqCst);
                clear();
                self.mode.store(CDC, Ordering::SeqCst);
            }
            InvalidationMode::Ttl => {
                self.mode.store(TTL, Ordering::SeqCst);
                clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn until_the_local_tier_is_clear_the_log_proves_nothing() {
        let switch = ModeSwitch::new(InvalidationMode::Ttl);
        let mut cleared = 0;
        switch.set(InvalidationMode::Cdc, || {
            cleared += 1;
            assert_eq!(switch.get(), InvalidationMode::Cdc, "what is stored from now on is kept correct by the log");
            assert!(!switch.is_cdc_throughout());
        });
        assert!(switch.is_cdc_throughout());
        switch.set(InvalidationMode::Ttl, || {
            cleared += 1;
            assert!(!switch.is_cdc_throughout());
        });
        switch.set(InvalidationMode::Ttl, || cleared += 1);
        assert_eq!((switch.get(), cleared), (InvalidationMode::Ttl, 2));
    }
}
