//! How much of the bounded resources is in use: database connections and concurrent requests.

use metrics::gauge;

use super::names::{DATABASE_CONNECTIONS, DATABASE_WAITING, HTTP_PERMITS, HTTP_PERMITS_IN_USE};
use crate::domain::Connections;

/// Sets the gauges. Called right before they are rendered, so that they show the current state.
pub fn observe_saturation(database: Connections, permits: usize, permits_free: usize) {
    gauge!(DATABASE_CONNECTIONS, "state" => "in_use").set(database.in_use as f64);
    gauge!(DATABASE_CONNECTIONS, "state" => "idle").set(database.idle as f64);
    gauge!(DATABASE_WAITING).set(database.waiting as f64);
    gauge!(HTTP_PERMITS).set(permits as f64);
    gauge!(HTTP_PERMITS_IN_USE).set(permits.saturating_sub(permits_free) as f64);
}
