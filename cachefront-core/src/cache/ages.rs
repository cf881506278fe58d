//! What the methods of the builder have set about the age of values. It takes precedence over the settings, in any order of the
//! calls.

use std::time::Duration;

use crate::settings::{CacheSettings, OnLag};

/// The settings that the builder has methods for; `None` where a method was not called.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ages {
    pub(super) objective: Option<(Duration, OnLag)>,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) early_refresh: Option<f64>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) load_soft_timeout: Option<Duration>,
}

impl Ages {
    /// Returns the settings with what these methods have set.
    pub(super) fn over(&self, settings: CacheSettings) -> CacheSettings {
        let (freshness_objective, on_lag) = self.objective.unwrap_or((settings.freshness_objective, settings.on_lag));
        CacheSettings {
            freshness_objective,
            on_lag,
            stale_while_revalidate: self.stale_while_revalidate.unwrap_or(settings.stale_while_revalidate),
            early_refresh: self.early_refresh.unwrap_or(settings.early_refresh),
            stale_if_error: self.stale_if_error.unwrap_or(settings.stale_if_error),
            load_soft_timeout: self.load_soft_timeout.unwrap_or(settings.load_soft_timeout),
            ..settings
        }
    }
}
