//! How fast a demo goes.

use serde::Deserialize;

/// Without pauses, with one before each step, or with one until the next step is requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pace {
    #[default]
    Normal,
    Slow,
    Step,
}

impl Pace {
    pub(crate) const ALL: [(Self, &'static str, &'static str); 3] = [
        (Self::Normal, "normal", "Full speed"),
        (Self::Slow, "slow", "Slow motion"),
        (Self::Step, "step", "Step by step"),
    ];
}
