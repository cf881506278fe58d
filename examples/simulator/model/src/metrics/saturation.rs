//! How much is left of what there is a bound of: connections to the database, and requests at once.

use metrics::gauge;

use super::{DATABASE_CONNECTIONS, DATABASE_WAITING, HTTP_PERMITS, HTTP_PERMITS_IN_USE};
use crate::domain::Connections;

/// Looked at when somebody asks for the numbers: what a gauge holds is then what is so.
pub fn observe_saturation(database: Connections, permits: usize, permits_free: usize) {
    gauge!(DATABASE_CONNECTIONS, "state" => "in_use").set(database.in_use as f64);
    gauge!(DATABASE_CONNECTIONS, "state" => "idle").set(database.idle as f64);
    gauge!(DATABASE_WAITING).set(database.waiting as f64);
    gauge!(HTTP_PERMITS).set(permits as f64);
    gauge!(HTTP_PERMITS_IN_USE).set(permits.saturating_sub(permits_free) as f64);
}
