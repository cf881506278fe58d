//! The oracle of time: how long a value lives, how old a plain read's value may be, and what may be served in its place.

use cachefront_core::Tier;

use crate::clock::{Moment, millis};
use crate::keys::kind_of;
use crate::oracle::{Asked, Judgement};

impl Judgement<'_> {
    /// What clocks may differ by.
    fn slack(&self) -> Moment {
        4 * self.world.config.skew_micros as Moment
    }

    /// True if the value's last load, in any process, began before this time.
    fn was_loaded_before(&self, moment: Moment) -> bool {
        let last = self.state.last_loads[self.begun.line].get(&self.answer.value);
        // A row image gives an older entry a value that may never have been loaded, or by a load that took long.
        let is_loaded = self.world.config.features.row_images_of(kind_of(self.begun.line)).is_none();
        !self.world.config.wild_clocks && is_loaded && last.is_none_or(|last| *last < moment)
    }

    /// True if the value was served from a tier after the end of its time to live.
    pub(crate) fn lived_too_long(&self) -> bool {
        let from_store = match self.answer.tier {
            Some(Tier::Shared) => true,
            Some(Tier::Local) => false,
            _ => return false,
        };
        let longest = self.world.config.lives.longest(self.answer.value.is_none(), from_store);
        self.was_loaded_before(self.begun.at.saturating_sub(longest.as_micros() as Moment + self.slack()))
    }

    /// True if a plain read was served a value that is older than the objective allows ("Freshness objective").
    pub(crate) fn is_outdated(&self, asked: &Asked) -> bool {
        let (config, is_plain) = (&self.world.config, asked.at_least.is_none() && asked.max_staleness.is_none());
        let silence = match self.answer.tier {
            Some(Tier::Local) => config.silence(),
            Some(Tier::Shared) => millis(0),
            _ => return false,
        };
        let oldest = config.lives.oldest(silence).filter(|_| is_plain);
        oldest.is_some_and(|oldest| self.is_older(oldest + millis(5), self.begun.at))
    }

    /// Judges a value that may have been invalidated ("Stale if error"); `None` if it may be served.
    pub(crate) fn stale(&self, asked: &Asked) -> Option<&'static str> {
        let lives = &self.world.config.lives;
        if asked.at_least.is_some() || asked.max_staleness.is_some() || asked.bypass {
            return Some("a stale value was returned to a read that asks for more");
        }
        if self.answer.position.is_some() || self.answer.bound.is_some() {
            return Some("a stale value claims to prove something");
        }
        let oldest = lives.stale * 1_000 + self.slack();
        if lives.stale == 0 || self.was_loaded_before(self.begun.at.saturating_sub(oldest)) {
            return Some("a stale value is older than allowed");
        }
        (!self.is_excused()).then_some("a stale value was returned, and no load failed or was slow")
    }

    /// True if a load of the cache has failed in this process not long ago, or this read waited for one.
    fn is_excused(&self) -> bool {
        let config = &self.world.config;
        // A load that waits for its turn may fail without having begun.
        if config.loads_max < 64 {
            return true;
        }
        let waited = self.now - self.begun.at;
        let soft_timeout = config.lives.soft_timeout * 1_000;
        // A failed load returns its lease before it returns, which may take as long as a store that is slow.
        let since = self.begun.at.saturating_sub(config.lives.throttle * 1_000 + self.slack() + 5_000_000);
        let failed =
            self.state.actors[self.begun.actor].failed[kind_of(self.begun.line) as usize].is_some_and(|at| at >= since);
        failed || (soft_timeout > 0 && waited >= soft_timeout) || waited >= 3_000_000
    }
}
