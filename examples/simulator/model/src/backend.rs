//! The components of a role: database, store, change source, and the transport of events and reports.

mod admin;
mod components;
mod embedded;
mod relay;
mod replication;
mod stack;

use std::future::Future;
use std::sync::Arc;

use cachefront::clock::SystemClock;
use cachefront::store::{LayeredStore, Store, StoreMeter};
use cachefront::{CdcHandle, Clock};

pub use self::admin::StoreAdmin;
use simulator_cli::CliError;
use tokio_util::sync::CancellationToken;

use self::components::{SourceFactory, cannot_open};
use self::relay::RelayClient;
use crate::caches::Caches;
use crate::domain::{Database, Mode};
use crate::events::{Announcer, ChangeSink, EventHub};
use crate::faults::{Faults, FaultyDatabase, FaultyStatusStore, StoreFaults};
use crate::inspector::Inspector;
use crate::kafka_report::Notebook;
use crate::mode::Modes;
use crate::pipeline::{Pipeline, StatusStore};
use crate::replica::Replica;
use crate::server_name::ServerName;
use crate::servers::{AppServer, Servers};
use crate::settings::{self, Settings};
use crate::stages::StageMeter;
use crate::writes::Writes;

/// The components, opened and ready.
#[derive(Debug)]
pub struct Backend {
    /// With the faults that are switched on.
    pub database: Arc<dyn Database>,
    /// Without the faults.
    pub true_database: Arc<dyn Database>,
    pub faults: Arc<Faults>,
    pub store: Arc<dyn Store>,
    pub store_admin: StoreAdmin,
    pub clock: Arc<dyn Clock>,
    /// Events of this process, and (on servers) those that a consumer sends.
    pub events: EventHub,
    /// Where to follow the events of a consumer that may run elsewhere.
    pub followed: Option<RelayClient>,
    /// Where a consumer's events go.
    pub sink: Arc<dyn ChangeSink>,
    pub board: Arc<dyn StatusStore>,
    /// A command that changes a row without the cache, to be shown to the user.
    pub hint: String,
    /// Measures the stages of changes, if this process runs the consumer.
    pub stages: Arc<StageMeter>,
    /// Records what happened to each write.
    pub writes: Arc<Writes>,
    /// Without the faults: every app server has its own between itself and the store.
    true_store: Arc<dyn Store>,
    replica: Arc<Replica>,
    sources: Arc<dyn SourceFactory>,
}

impl Backend {
    /// Opens the backend that the settings name.
    ///
    /// # Errors
    /// A line that says what is missing.
    pub async fn open(settings: &Settings) -> Result<Self, CliError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let parts = match &settings.backend {
            settings::Backend::Embedded { data_dir, source } => embedded::open(data_dir, *source, &clock).await?,
            settings::Backend::Stack(servers) => stack::open(servers, settings, &clock).await?,
        };
        let faults = Faults::new(Arc::clone(&parts.database));
        // A fault that was on before a restart is on from the first moment.
        faults.refresh().await.map_err(|error| cannot_open("the table cachefront_settings", &error))?;
        let faulty = StoreFaults::around(Arc::clone(&parts.store), &faults, ServerName::A);
        let store: Arc<dyn Store> = Arc::new(LayeredStore::around(faulty, StoreMeter::new()));
        let database: Arc<dyn Database> =
            Arc::new(FaultyDatabase { database: Arc::clone(&parts.database), faults: Arc::clone(&faults) });
        Ok(Self {
            replica: Replica::new(Arc::clone(&database), Arc::clone(&faults)),
            database,
            true_database: parts.database,
            store_admin: StoreAdmin { store: Arc::clone(&store), keys: parts.keys },
            store,
            true_store: parts.store,
            writes: Writes::new(Arc::clone(&clock)),
            clock,
            events: parts.events,
            followed: parts.followed,
            sink: parts.sink,
            board: Arc::new(FaultyStatusStore { board: parts.board, faults: Arc::clone(&faults) }),
            hint: parts.hint,
            stages: Arc::default(),
            sources: parts.sources.into(),
            faults,
        })
    }

    /// Builds the caches of this process. The caller keeps them in the mode in force.
    ///
    /// # Errors
    /// A line that says what is wrong.
    pub fn caches(&self, settings: &Settings) -> Result<Caches, CliError> {
        let table = self.database.users_table();
        Caches::build(&table, &self.replica, &self.store, &settings.caches).map_err(CliError::from_error)
    }

    /// Builds the app servers of this process: `first` has these caches, each further one has caches, process-local tiers and a
    /// subscription to the bus of its own, over the same store and the same loaders. Metrics are those of the first server.
    ///
    /// # Errors
    /// A line that says what is wrong.
    pub fn servers(&self, first: &Caches, settings: &Settings) -> Result<Servers, CliError> {
        let table = self.database.users_table();
        let first = AppServer { name: ServerName::A, caches: first.clone(), writes: Arc::clone(&self.writes) };
        let further = ServerName::ALL.into_iter().take(settings.servers).skip(1).map(|name| {
            let store: Arc<dyn Store> = Arc::new(StoreFaults::around(Arc::clone(&self.true_store), &self.faults, name));
            // A cache resolves its metrics when it is built: two servers must not set the same gauges.
            let caches = ::metrics::with_local_recorder(&::metrics::NoopRecorder, || {
                Caches::build(&table, &self.replica, &store, &settings.caches)
            });
            Ok(AppServer { name, caches: caches.map_err(CliError::from_error)?, writes: Arc::clone(&self.writes) })
        });
        let all: Result<Vec<AppServer>, CliError> = std::iter::once(Ok(first)).chain(further).collect();
        Ok(Servers::new(all?, Arc::clone(&self.faults)))
    }

    /// Lets the simulated replica follow the log while the fault switch is on, until `stop`: in every process that loads.
    pub fn replicate(&self, caches: &Caches, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let (replica, sources) = (Arc::clone(&self.replica), Arc::clone(&self.sources));
        let filter = caches.users.key_map().table_filter();
        async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = replication::run(&replica, &*sources, &filter) => {}
            }
        }
    }

    /// Starts the invalidator in `mode`.
    ///
    /// # Errors
    /// A line that says what is wrong with the set-up.
    pub async fn consumer(&self, caches: &Caches, mode: Mode) -> Result<CdcHandle, CliError> {
        let cdc = self.sources.cdc(&self.faults).await?.bind(&caches.users).bind(&caches.by_email);
        let observer = Announcer { sink: Arc::clone(&self.sink), stages: Arc::clone(&self.stages) };
        cdc.observer(Arc::new(observer))
            .mode(mode.mode())
            .clock(Arc::clone(&self.clock))
            .spawn()
            .map_err(CliError::from_error)
    }

    /// Starts the inspector of this process.
    ///
    /// # Errors
    /// A line that says what is wrong.
    pub fn inspector(&self, caches: Caches, modes: &Arc<Modes>) -> Result<Arc<Inspector>, CliError> {
        let (database, clock) = (Arc::clone(&self.true_database), Arc::clone(&self.clock));
        let (store, source) = (Arc::clone(&self.store), self.sources.inspected()?);
        Inspector::new(caches, database, store, Arc::clone(modes), source, clock, &self.events)
            .map_err(CliError::from_error)
    }

    /// Returns the progress and gaps of this process's source; `None` unless it reads the servers' Kafka.
    pub fn notebook(&self) -> Option<Arc<Notebook>> {
        self.sources.notebook()
    }

    /// Returns the pipeline as this process sees it.
    pub fn pipeline(&self, modes: &Arc<Modes>, settings: &Settings) -> Pipeline {
        Pipeline {
            store: Arc::clone(&self.store),
            board: Arc::clone(&self.board),
            modes: Arc::clone(modes),
            clock: Arc::clone(&self.clock),
            source: self.sources.name(),
            embedded: settings.embedded(),
            freshness: settings.caches.freshness,
            built_with: settings.caches.built_with(),
        }
    }
}
