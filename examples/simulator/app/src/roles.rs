//! What each role runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use cachefront::{CdcHandle, CdcState, CdcStatus};
use loadgen::experiment::ExperimentControl;
use loadgen::sweep::SweepControl;
use simulator_access::{Access, Printed};
use simulator_api::serve::Listener;
use simulator_api::{Api, announcements};
use simulator_cli::{CliError, ExposeSecret, shutdown_signal};
use simulator_model::backend::Backend;
use simulator_model::caches::Caches;
use simulator_model::connect::{self, Watchdog};
use simulator_model::credentials::is_weak;
use simulator_model::domain::{DbError, Mode};
use simulator_model::events::Event;
use simulator_model::inspector::Inspector;
use simulator_model::metrics::{Metrics, identify, observe_freshness};
use simulator_model::mode::Modes;
use simulator_model::pipeline::{self, Pipeline, Report};
use simulator_model::sample;
use simulator_model::servers::Servers;
use simulator_model::settings::Settings;
use simulator_model::stages::Stages;
use simulator_panel::Ui;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Maximum wait for a running experiment to restore the mode.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// Timeout for the whole shutdown; shorter than the time after which a container is killed (20 s).
const END_MAX: Duration = Duration::from_secs(15);

/// Runs everything in one process.
pub(crate) async fn up(settings: Settings) -> Result<(), CliError> {
    let listener = api_listener(&settings).await?;
    let panel_listener = panel_listener(&settings).await?;
    let mut running = Running::start(&settings, true).await?;
    let printed = running.access.adopt(&settings.passwords).await?;
    let api = running.api(&settings);
    running.announce_events(&api);
    running.observe_freshness(&settings);
    let pages = running.panel(&api, &settings, true);
    let (mode, source, ttl) = (running.modes.current().mode.as_str(), api.pipeline.source, settings.caches.ttl);
    announce(&[
        format!("API      http://{0}  (try it: http://{0}/docs/)", reachable(listener.addr)),
        format!("panel    http://{}", reachable(panel_listener.addr)),
        format!("mode     {mode}, source {source}, ttl {ttl:?}"),
    ]);
    announce(&[login_line(printed.as_ref())]);
    let servers = [
        listener.serve(simulator_api::router(api), running.stop.clone()),
        panel_listener.serve(pages, running.stop.clone()),
    ];
    running.until_shutdown(servers).await
}

/// Runs the API only.
pub(crate) async fn api(settings: Settings) -> Result<(), CliError> {
    let listener = api_listener(&settings).await?;
    let mut running = Running::start(&settings, false).await?;
    let api = running.api(&settings);
    announce(&[format!("API      http://{0}  (try it: http://{0}/docs/)", reachable(listener.addr))]);
    running.announce_events(&api);
    running.observe_freshness(&settings);
    let servers = [listener.serve(simulator_api::router(api), running.stop.clone())];
    running.until_shutdown(servers).await
}

/// Runs the control panel only.
pub(crate) async fn ui(settings: Settings) -> Result<(), CliError> {
    // The API's processes are the app servers.
    let settings = Settings { servers: 1, ..settings };
    let listener = panel_listener(&settings).await?;
    let mut running = Running::start(&settings, false).await?;
    let printed = running.access.adopt(&settings.passwords).await?;
    let api = running.api(&settings);
    running.announce_events(&api);
    let pages = running.panel(&api, &settings, false);
    announce(&[format!("panel    http://{}  (load goes to {})", reachable(listener.addr), settings.api_url)]);
    announce(&[login_line(printed.as_ref())]);
    let servers = [listener.serve(pages, running.stop.clone())];
    running.until_shutdown(servers).await
}

/// Runs the change capture only.
pub(crate) async fn consumer(settings: Settings) -> Result<(), CliError> {
    let settings = Settings { servers: 1, ..settings };
    let listener = match &settings.consumer_addr {
        Some(addr) => Some(Listener::bind("CACHEFRONT_CONSUMER_ADDR", addr).await?),
        None => None,
    };
    let running = Running::start(&settings, true).await?;
    let api = running.api(&settings);
    announce(&[format!("consumer reads {}", api.pipeline.source)]);
    let pages = simulator_api::consumer_router(api);
    let servers = listener.map(|listener| listener.serve(pages, running.stop.clone()));
    running.until_shutdown(servers).await
}

/// Prints the API's description.
pub(crate) fn openapi() -> Result<(), CliError> {
    use std::io::Write;
    std::io::stdout()
        .write_all(simulator_api::openapi_text().as_bytes())
        .map_err(|error| CliError::new(format!("the description cannot be printed: {error}")))
}

/// Binds the API's address. Called before anything else starts: a port in use is the most common mistake.
async fn api_listener(settings: &Settings) -> Result<Listener, CliError> {
    let listener = Listener::bind("CACHEFRONT_API_ADDR", &settings.api_addr).await?;
    let protected = !settings.api_tokens.is_empty() || settings.insecure_open_api;
    if !listener.addr.ip().is_loopback() && !protected {
        return Err(CliError::new(format!(
            "the API would be open to other machines on {}: set CACHEFRONT_API_TOKENS, or say --insecure-open-api",
            listener.addr
        )));
    }
    if !listener.addr.ip().is_loopback() && settings.api_tokens.iter().any(|token| is_weak(&token.token)) {
        tracing::warn!(
            "CACHEFRONT_API_TOKENS has a token that is quickly guessed, and other machines can reach the API: use at least 12 \
             different characters"
        );
    }
    Ok(listener)
}

/// Binds the panel's address.
async fn panel_listener(settings: &Settings) -> Result<Listener, CliError> {
    let listener = Listener::bind("CACHEFRONT_UI_ADDR", &settings.ui_addr).await?;
    let reachable = !listener.addr.ip().is_loopback();
    for (setting, _) in settings.passwords.named().filter(|(_, password)| reachable && is_weak(password)) {
        tracing::warn!(
            "{setting} is quickly guessed, and other machines can reach the panel: use at least 12 different characters"
        );
    }
    Ok(listener)
}

fn announce(lines: &[String]) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for line in lines {
        // Serving continues even if standard output is closed.
        let _ = writeln!(out, "{line}");
    }
    let _ = out.flush();
}

/// Returns an address that a browser on this machine can open: an unspecified one is no destination everywhere.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

fn login_line(printed: Option<&Printed>) -> String {
    match printed {
        Some(Printed { name, password }) => format!(
            "login    {name} / {}  (shown this once; CACHEFRONT_UI_ADMIN_PASSWORD sets another)",
            password.expose_secret()
        ),
        None => "login    with CACHEFRONT_UI_ADMIN_PASSWORD, or the password that the first start printed".to_owned(),
    }
}

/// The components that run next to the servers.
struct Running {
    backend: Backend,
    caches: Caches,
    /// The first one has `caches`.
    servers: Servers,
    modes: Arc<Modes>,
    access: Arc<Access>,
    inspector: Arc<Inspector>,
    metrics: Metrics,
    consumer: Option<Arc<Consumer>>,
    /// Watches Debezium's connector, if the changes come through one.
    connector: Option<Watchdog>,
    /// The panel's experiment, if this process serves the panel.
    experiment: Option<ExperimentControl>,
    /// The panel's sweep, as the experiment.
    sweep: Option<SweepControl>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Running {
    async fn start(settings: &Settings, consumes: bool) -> Result<Self, CliError> {
        let metrics = Metrics::install()?;
        let backend = Backend::open(settings).await?;
        let row = backend.database.adopt_mode(settings.mode).await.map_err(|error| database_failed(&error))?;
        if settings.sample_users {
            sample::add_users(&*backend.database).await.map_err(|error| database_failed(&error))?;
        }
        let caches = backend.caches(settings)?;
        let servers = backend.servers(&caches, settings)?;
        let consumer = match consumes {
            true => Some(Arc::new(Consumer::new(backend.consumer(&caches, row.mode).await?))),
            false => None,
        };
        let (reads, writes, events) = (servers.clone(), consumer.clone(), backend.events.clone());
        let modes = Modes::new(Arc::clone(&backend.database), row, move |row| {
            reads.set_mode(row.mode);
            if let Some(consumer) = &writes {
                consumer.set_mode(row.mode);
            }
            events.publish(Event::new("mode", row));
        });
        let (database, clock) = (Arc::clone(&backend.true_database), Arc::clone(&backend.clock));
        let access = Access::open(database, clock, settings.api_tokens.clone(), settings.ui_secure).await?;
        identify(backend.pipeline(&modes, settings).source);
        let inspector = backend.inspector(caches.clone(), &modes)?;
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let connector = connect::follow(settings, consumes, &stop)?.map(|(watchdog, following)| {
            tasks.spawn(async move { following.await.unwrap_or_default() });
            watchdog
        });
        // Keeps showing the records that an earlier consumer could not decode.
        if let (Some(notebook), Ok(Some(Report { carried: Some(earlier), .. }))) =
            (backend.notebook(), backend.board.read().await)
        {
            notebook.adopt(&earlier.gaps);
        }
        let (experiment, sweep) = (None, None);
        let mut running = Self {
            backend,
            caches,
            servers,
            modes,
            access,
            inspector,
            metrics,
            consumer,
            connector,
            experiment,
            sweep,
            tasks,
            stop,
        };
        running.spawn_tasks();
        running.wait_for_consumer(settings).await?;
        Ok(running)
    }

    fn spawn_tasks(&mut self) {
        let stop = &self.stop;
        self.tasks.spawn(Arc::clone(&self.modes).run(stop.clone()));
        self.tasks.spawn(self.metrics.clone().run(stop.clone()));
        self.tasks.spawn(Arc::clone(&self.backend.faults).run(stop.clone()));
        self.tasks.spawn(Arc::clone(&self.access).run(stop.clone()));
        if let Some(consumer) = &self.consumer {
            let (board, clock) = (Arc::clone(&self.backend.board), Arc::clone(&self.backend.clock));
            let (notebook, connector) = (self.backend.notebook(), self.connector.clone());
            let carried = move || {
                let restarts = connector.as_ref().map_or(0, |watchdog| watchdog.watch().borrow().restarts);
                notebook.as_ref().map(|notebook| notebook.report(restarts))
            };
            let (statuses, stages) = (consumer.statuses.clone(), Arc::clone(&self.backend.stages));
            self.tasks.spawn(pipeline::report(statuses, stages, carried, board, clock, stop.clone()));
        }
    }

    /// Publishes the events of `/events`: the pipeline's state, and changes even if the consumer runs in another
    /// process. Also starts the inspector, and the simulated replica that loads may read.
    fn announce_events(&mut self, api: &Arc<Api>) {
        self.tasks.spawn(announcements(Arc::clone(api)));
        self.tasks.spawn(Arc::clone(&self.inspector).run(self.stop.clone()));
        self.tasks.spawn(self.backend.replicate(&self.caches, self.stop.clone()));
        let (writes, events) = (Arc::clone(&self.backend.writes), self.backend.events.clone());
        self.tasks.spawn(writes.run(events, Arc::clone(&self.backend.store), self.stop.clone()));
        if let Some(relay) = self.backend.followed.clone() {
            self.tasks.spawn(relay.follow(self.backend.events.clone(), self.stop.clone()));
        }
    }

    /// Measures how far behind the database reads of this process can be.
    fn observe_freshness(&mut self, settings: &Settings) {
        self.tasks.spawn(observe_freshness(
            self.pipeline(settings),
            settings.caches.ttl,
            self.inspector.interest().clone(),
            self.stop.clone(),
        ));
    }

    /// Waits until the consumer runs or stands by. Fails if it cannot, or if its servers do not respond before the
    /// startup deadline.
    async fn wait_for_consumer(&self, settings: &Settings) -> Result<(), CliError> {
        let Some(consumer) = &self.consumer else { return Ok(()) };
        let mut statuses = consumer.statuses.clone();
        let settled = statuses
            .wait_for(|status| matches!(status.state, CdcState::Running | CdcState::Standby | CdcState::Failed));
        let report = match tokio::time::timeout_at(settings.startup_deadline, settled).await {
            Ok(Ok(status)) if status.state != CdcState::Failed => {
                let carried = self.backend.notebook().map(|notebook| notebook.report(0));
                Report::new(&status, Stages::default(), carried, self.backend.clock.now())
            }
            _ => return Err(consumer.why_not_ready(settings)),
        };
        // Published here so that a client sees it running right after the start. A standby does not report.
        match report.running {
            true => Ok(self.backend.board.post(&report).await.map_err(CliError::from_error)?),
            false => Ok(()),
        }
    }

    fn pipeline(&self, settings: &Settings) -> Pipeline {
        self.backend.pipeline(&self.modes, settings)
    }

    fn api(&self, settings: &Settings) -> Arc<Api> {
        let (streams, streams_by_address) = simulator_api::stream_permits();
        Arc::new(Api {
            database: Arc::clone(&self.backend.database),
            caches: self.caches.clone(),
            servers: self.servers.clone(),
            writes: Arc::clone(&self.backend.writes),
            modes: Arc::clone(&self.modes),
            pipeline: self.pipeline(settings),
            events: self.backend.events.clone(),
            metrics: self.metrics.clone(),
            access: Arc::clone(&self.access),
            faults: Arc::clone(&self.backend.faults),
            inspector: Arc::clone(&self.inspector),
            store_admin: self.backend.store_admin.clone(),
            connector: self.connector.clone(),
            in_flight: Arc::new(Semaphore::new(settings.api_in_flight)),
            in_flight_max: settings.api_in_flight,
            streams,
            streams_by_address,
            any_host: settings.insecure_open_api,
            consumes: self.consumer.is_some(),
            stop: self.stop.clone(),
        })
    }

    /// Returns the control panel's pages. `serves` is true if this process also serves the API.
    fn panel(&mut self, api: &Arc<Api>, settings: &Settings, serves: bool) -> Router {
        let (database, hint) = (Arc::clone(&self.backend.true_database), self.backend.hint.clone());
        let Ui { router, experiment, sweep, kept } = Ui::new(Arc::clone(api), database, hint, settings, serves);
        (self.experiment, self.sweep) = (Some(experiment), Some(sweep));
        self.tasks.spawn(async move { kept.await.unwrap_or_default() });
        router
    }

    /// Serves until the shutdown signal, then stops everything in order.
    async fn until_shutdown(
        mut self,
        servers: impl IntoIterator<Item = tokio::task::JoinHandle<()>>,
    ) -> Result<(), CliError> {
        let servers: Vec<_> = servers.into_iter().collect();
        shutdown_signal().await;
        tracing::info!("shutting down");
        if tokio::time::timeout(END_MAX, self.end(servers)).await.is_err() {
            tracing::warn!("not everything came to its end within {END_MAX:?}");
        }
        Ok(())
    }

    async fn end(&mut self, servers: Vec<tokio::task::JoinHandle<()>>) {
        if let Some(experiment) = &self.experiment
            && !experiment.settle(SETTLE_MAX).await
        {
            tracing::warn!("the experiment did not put the mode back in time");
        }
        if let Some(sweep) = &self.sweep
            && !sweep.settle(SETTLE_MAX).await
        {
            tracing::warn!("the sweep did not put the mode back in time");
        }
        self.stop.cancel();
        for server in servers {
            if let Err(error) = server.await {
                tracing::warn!(%error, "a server ended with an error");
            }
        }
        if let Some(consumer) = &self.consumer {
            consumer.shutdown().await;
        }
        while self.tasks.join_next().await.is_some() {}
    }
}

/// The invalidator of this process. It follows the mode and is taken out at shutdown.
struct Consumer {
    handle: Mutex<Option<CdcHandle>>,
    statuses: watch::Receiver<CdcStatus>,
}

impl Consumer {
    fn new(handle: CdcHandle) -> Self {
        let statuses = handle.watch();
        Self { handle: Mutex::new(Some(handle)), statuses }
    }

    fn why_not_ready(&self, settings: &Settings) -> CliError {
        match &self.statuses.borrow().last_error {
            Some(error) => CliError::from_error(error),
            None => CliError::new(format!(
                "changes cannot be read within {:?} (CACHEFRONT_STARTUP_TIMEOUT)",
                settings.startup_timeout
            )),
        }
    }

    fn set_mode(&self, mode: Mode) {
        if let Ok(handle) = self.handle.lock()
            && let Some(handle) = &*handle
        {
            handle.set_mode(mode.mode());
        }
    }

    async fn shutdown(&self) {
        let handle = self.handle.lock().ok().and_then(|mut handle| handle.take());
        if let Some(handle) = handle {
            handle.shutdown().await;
        }
    }
}

fn database_failed(error: &DbError) -> CliError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    CliError::new(format!("{error}{cause}"))
}
