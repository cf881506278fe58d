//! The pages of the panel.

use serde::Deserialize;

/// The pages of the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Tab {
    #[default]
    Live,
    Cache,
    Servers,
    Runs,
    Race,
    Faults,
    Audit,
}

impl Tab {
    pub(super) const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Live, "/", "Live"),
        (Self::Cache, "/cache", "Cache browser"),
        (Self::Servers, "/servers", "Servers"),
        (Self::Runs, "/runs", "Runs"),
        (Self::Race, "/race", "Races"),
        (Self::Faults, "/faults", "Faults"),
        (Self::Audit, "/audit", "Audit"),
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Cache => "cache",
            Self::Servers => "servers",
            Self::Runs => "runs",
            Self::Race => "race",
            Self::Faults => "faults",
            Self::Audit => "audit",
        }
    }
}
