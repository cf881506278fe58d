//! What the owner of an invalidator requests.

use crate::mode::InvalidationMode;

/// The state that the owner of an invalidator requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DesiredState {
    /// The mode to work in.
    pub(crate) mode: InvalidationMode,
    /// True once a shutdown is requested. It is never revoked.
    pub(crate) shutdown: bool,
}
