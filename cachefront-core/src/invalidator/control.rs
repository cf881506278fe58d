//! What the owner of an invalidator requests.

use crate::mode::InvalidationMode;

/// The state that the owner of an invalidator requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DesiredState {
    pub(crate) mode: InvalidationMode,
    pub(crate) shutdown: bool,
}
