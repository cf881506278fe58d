//! The names of the metrics.
//!
//! The library's own are listed in [`cachefront::metrics`], the inspector's among them; the simulator's are:
//!
//! | metric | kind | labels | meaning |
//! |---|---|---|---|
//! | `simulator_http_requests_total` | counter | `method`, `route`, `status` | completed requests, by class (`2xx`) |
//! | `simulator_http_request_duration_seconds` | histogram | `method`, `route` | from arrival to response |
//! | `simulator_http_requests_in_flight` | gauge | | requests in progress |
//! | `simulator_http_permits` | gauge | | maximum number of concurrent requests (`CACHEFRONT_API_IN_FLIGHT`) |
//! | `simulator_http_permits_in_use` | gauge | | how many of them are in use |
//! | `simulator_database_connections` | gauge | `state` | connections of this process: `in_use`, `idle` |
//! | `simulator_database_waiting` | gauge | | statements that wait for a connection |
//! | `simulator_staleness_bound_seconds` | histogram | | maximum staleness of a cached read, measured every 250 ms |
//! | `simulator_pipeline_running` | gauge | | 1 while the change capture gives signs of life, wherever it runs |
//! | `simulator_pipeline_lag_seconds` | gauge | | time since everything committed was known to be handled |
//! | `simulator_mode` | gauge | `mode` | 1 for the mode in force, 0 for the other |
//! | `simulator_fault_active` | gauge | `fault` | 1 while this fault is switched on, 0 after it was |
//! | `simulator_fault_dropped_changes_total` | counter | | changes dropped by the fault switch `drop_events` |
//! | `simulator_build_info` | gauge | `version`, `source` | always 1 |

pub const HTTP_REQUESTS_TOTAL: &str = "simulator_http_requests_total";
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "simulator_http_request_duration_seconds";
pub const HTTP_REQUESTS_IN_FLIGHT: &str = "simulator_http_requests_in_flight";
pub(super) const HTTP_PERMITS: &str = "simulator_http_permits";
pub(super) const HTTP_PERMITS_IN_USE: &str = "simulator_http_permits_in_use";
pub(super) const DATABASE_CONNECTIONS: &str = "simulator_database_connections";
pub(super) const DATABASE_WAITING: &str = "simulator_database_waiting";
/// Set by the fault switches.
pub const FAULT_ACTIVE: &str = "simulator_fault_active";
/// Counted by `SourceFaults`.
pub const FAULT_DROPPED_CHANGES_TOTAL: &str = "simulator_fault_dropped_changes_total";
pub(super) const STALENESS_BOUND_SECONDS: &str = "simulator_staleness_bound_seconds";
pub(super) const PIPELINE_RUNNING: &str = "simulator_pipeline_running";
pub(super) const PIPELINE_LAG_SECONDS: &str = "simulator_pipeline_lag_seconds";
pub(super) const MODE: &str = "simulator_mode";
pub(super) const BUILD_INFO: &str = "simulator_build_info";
