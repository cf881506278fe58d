//! The state shared by all handlers.

use std::net::IpAddr;
use std::sync::Arc;

use simulator_access::{Access, Quota};
use simulator_model::backend::StoreAdmin;
use simulator_model::caches::Caches;
use simulator_model::connect::Watchdog;
use simulator_model::domain::Database;
use simulator_model::events::EventHub;
use simulator_model::faults::Faults;
use simulator_model::inspector::Inspector;
use simulator_model::metrics::Metrics;
use simulator_model::mode::Modes;
use simulator_model::pipeline::Pipeline;
use simulator_model::servers::Servers;
use simulator_model::writes::Writes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Maximum number of clients that follow `/events` at once.
pub(crate) const STREAMS_MAX: usize = 256;

/// How many of them may come from one address: half, so that one client shuts out no other, and a proxy that hides many clients
/// behind its address still serves a team.
const STREAMS_OF_ADDRESS_MAX: usize = STREAMS_MAX / 2;

/// The state shared by all handlers.
#[derive(Debug)]
pub struct Api {
    pub database: Arc<dyn Database>,
    pub caches: Caches,
    /// The first one has `caches`.
    pub servers: Servers,
    pub writes: Arc<Writes>,
    pub modes: Arc<Modes>,
    pub pipeline: Pipeline,
    pub events: EventHub,
    pub metrics: Metrics,
    pub access: Arc<Access>,
    pub faults: Arc<Faults>,
    pub inspector: Arc<Inspector>,
    pub store_admin: StoreAdmin,
    /// Watches Debezium's connector, if the changes come through one.
    pub connector: Option<Watchdog>,
    /// Permits for requests in progress.
    pub in_flight: Arc<Semaphore>,
    /// Number of permits in `in_flight` while no request is in progress.
    pub in_flight_max: usize,
    pub streams: Arc<Semaphore>,
    /// The share of each address in `streams`.
    pub streams_by_address: Quota<IpAddr>,
    /// True if the API accepts any `Host` although there are no tokens (`--insecure-open-api`).
    pub any_host: bool,
    /// True if this process runs the pipeline.
    pub consumes: bool,
    /// Ends the event streams on shutdown, which they would otherwise delay.
    pub stop: CancellationToken,
}

/// Returns the permits for clients that follow the events, and the share of each address in them.
pub fn stream_permits() -> (Arc<Semaphore>, Quota<IpAddr>) {
    (Arc::new(Semaphore::new(STREAMS_MAX)), Quota::new(STREAMS_OF_ADDRESS_MAX))
}
