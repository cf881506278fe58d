//! What ends a measurement.

/// Any error: it is printed, and the program ends.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
