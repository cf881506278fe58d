//! What handlers work with.

use std::sync::Arc;

use simulator_access::Access;
use simulator_model::caches::Caches;
use simulator_model::connect::Watchdog;
use simulator_model::domain::Database;
use simulator_model::events::EventHub;
use simulator_model::faults::Faults;
use simulator_model::inspector::Inspector;
use simulator_model::metrics::Metrics;
use simulator_model::mode::Modes;
use simulator_model::pipeline::Pipeline;
use simulator_model::world::Emptier;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// At most this many clients follow `/events` at once.
pub(crate) const STREAMS_MAX: usize = 256;

/// What handlers work with.
#[derive(Debug)]
pub struct Api {
    pub database: Arc<dyn Database>,
    pub caches: Caches,
    pub modes: Arc<Modes>,
    pub pipeline: Pipeline,
    pub events: EventHub,
    pub metrics: Metrics,
    pub access: Arc<Access>,
    pub faults: Arc<Faults>,
    pub inspector: Arc<Inspector>,
    pub emptier: Emptier,
    /// Debezium's connector, where one carries the changes.
    pub connector: Option<Watchdog>,
    /// How many requests may be answered at once.
    pub in_flight: Arc<Semaphore>,
    /// How many that are when none is being answered.
    pub in_flight_max: usize,
    pub streams: Arc<Semaphore>,
    /// True if whoever reaches the API may use it by any name, though there are no tokens.
    pub any_host: bool,
    /// True if this process is to keep the pipeline running.
    pub consumes: bool,
    /// Ends the event streams, which would otherwise hold up a shutdown.
    pub stop: CancellationToken,
}

/// How many clients may follow the events.
pub fn stream_permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS_MAX))
}
