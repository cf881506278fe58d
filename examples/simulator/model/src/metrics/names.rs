//! The names of the metrics.

pub const HTTP_REQUESTS_TOTAL: &str = "simulator_http_requests_total";
pub const HTTP_REQUEST_DURATION_SECONDS: &str = "simulator_http_request_duration_seconds";
pub const HTTP_REQUESTS_IN_FLIGHT: &str = "simulator_http_requests_in_flight";
pub(super) const HTTP_PERMITS: &str = "simulator_http_permits";
pub(super) const HTTP_PERMITS_IN_USE: &str = "simulator_http_permits_in_use";
pub(super) const DATABASE_CONNECTIONS: &str = "simulator_database_connections";
pub(super) const DATABASE_WAITING: &str = "simulator_database_waiting";
pub(super) const STORE_OPERATION_DURATION_SECONDS: &str = "simulator_store_operation_duration_seconds";
/// Set by the fault switches.
pub const FAULT_ACTIVE: &str = "simulator_fault_active";
/// Counted by `FaultySource`.
pub const FAULT_DROPPED_CHANGES_TOTAL: &str = "simulator_fault_dropped_changes_total";
pub(super) const STALENESS_BOUND_SECONDS: &str = "simulator_staleness_bound_seconds";
pub(super) const PIPELINE_RUNNING: &str = "simulator_pipeline_running";
pub(super) const PIPELINE_LAG_SECONDS: &str = "simulator_pipeline_lag_seconds";
pub(super) const MODE: &str = "simulator_mode";
pub(super) const BUILD_INFO: &str = "simulator_build_info";
