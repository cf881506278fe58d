//! The control panel: the mode, the users with what the cache holds of them, the pipeline, charts, the guided demo.
//!
//! The server renders and pushes everything: [`refresh`] takes snapshots, [`view`] renders the parts of a page, [`stream`]
//! sends those that changed, and the scripts in `assets/` put them in place. Every user has to log in.

#![expect(missing_docs, reason = "an application's crate: its users are the other crates of the simulator")]

mod actions;
mod activity;
mod archive;
mod assets;
mod charted;
mod delta;
mod export;
mod gauges;
mod history;
mod keeper;
mod kept_runs;
mod keys;
mod limit;
mod limits;
mod listing;
mod live;
mod load;
mod login;
mod look;
mod moment;
mod outcome;
mod page_data;
mod pages;
mod panel;
mod past;
mod peer;
mod processes;
mod query;
mod race;
mod recorder;
mod refresh;
mod refusals;
mod reply;
mod results;
mod rows;
mod runs;
mod scrub;
mod seats;
mod servers;
mod stream;
mod sweep;
mod tab;
mod tour;
mod users;
mod verdict;
mod view;
mod writes;

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Router, middleware};
use loadgen::experiment::ExperimentControl;
use loadgen::sweep::SweepControl;
use simulator_api::{self, Api, guard};
use simulator_model::domain::Database;
use simulator_model::settings::Settings;
use simulator_race::{RaceSettings, Worlds};
use tokio::task::JoinHandle;

use self::archive::Archive;
use self::gauges::Numbers;
use self::limits::Limits;
use self::listing::Listing;
use self::live::Live;
use self::panel::Panel;
use self::peer::Peer;
use self::processes::Processes;
use self::refusals::Refusals;
use self::rows::RowCache;
use self::runs::Runs;
use self::seats::Seats;
use self::servers::ServersSeen;
use self::tour::Tour;

/// The panel, ready to be served.
#[derive(Debug)]
pub struct Ui {
    pub router: Router,
    /// Must be settled before the API ends: it restores the mode.
    pub experiment: ExperimentControl,
    /// As the experiment.
    pub sweep: SweepControl,
    /// Must be awaited after the API's end: it saves what is shown after a restart.
    pub kept: JoinHandle<()>,
}

impl Ui {
    /// Creates the panel and starts its background tasks, which end with the API. `serves` is true if this process
    /// serves the API.
    pub fn new(api: Arc<Api>, database: Arc<dyn Database>, hint: String, settings: &Settings, serves: bool) -> Self {
        // A process that serves the API measures its own reads; a panel alone requests the API's metrics.
        let processes = Arc::<Processes>::default();
        let numbers = if serves { Numbers::Here } else { Numbers::of_api(settings, Arc::clone(&processes)) };
        let runs = Runs::new(settings);
        let metrics = guard::metrics_page(Arc::clone(&api));
        let (experiment, sweep) = (runs.experiment.clone(), runs.sweep.clone());
        let panel = Arc::new(Panel {
            database,
            hint,
            ttl: settings.caches.ttl,
            live: Live::new(&api),
            row_cache: RowCache::default(),
            tour: Tour::default(),
            runs,
            archive: Archive::new(settings.runs.clone()),
            numbers,
            peer: (!serves).then(|| Peer::new(settings, processes)),
            listing: Listing::default(),
            servers_seen: Arc::new(ServersSeen::default()),
            limits: Limits::default(),
            refusals: Refusals::default(),
            seats: Seats::default(),
            races: Worlds::new(RaceSettings::default()),
            read_only: settings.ui_read_only,
            api,
        });
        tokio::spawn(refresh::look_on(Arc::clone(&panel)));
        tokio::spawn(refresh::sample_on(Arc::clone(&panel)));
        tokio::spawn(recorder::write(Arc::clone(&panel)));
        let kept = tokio::spawn(keeper::keep(Arc::clone(&panel)));
        // A run that a killed process has left.
        experiment.take_back();
        sweep.take_back();
        let pages = pages()
            .with_state(Arc::clone(&panel))
            .layer(middleware::from_fn_with_state(Arc::clone(&panel), limit::bound))
            .layer(middleware::from_fn_with_state(Arc::clone(&panel), login::require));
        let router = Router::new()
            .route("/login", get(login::form).post(login::submit))
            .route("/healthz", get(simulator_api::healthz))
            .with_state(Arc::clone(&panel))
            .merge(assets::router())
            .merge(metrics)
            .merge(pages)
            .layer(middleware::from_fn(login::bound));
        Self { router: guard::wrap_pages(router), experiment, sweep, kept }
    }
}

/// The pages and actions that require a login.
fn pages() -> Router<Arc<Panel>> {
    Router::new()
        .route("/", get(pages::home))
        .route("/cache", get(pages::cache))
        .route("/servers", get(pages::servers))
        .route("/writes", get(writes::show))
        .route("/export", get(export::file))
        .route("/past", get(scrub::show))
        .route("/cache/evict", post(keys::evict))
        .route("/runs", get(kept_runs::index))
        .route("/runs/compare", get(kept_runs::comparison))
        .route("/runs/{id}", get(kept_runs::run))
        .route("/runs/{id}/json", get(kept_runs::file))
        .route("/runs/{id}/delete", post(kept_runs::delete))
        .route("/race", get(race::index))
        .route("/race/{scene}", get(race::scene))
        .route("/audit", get(pages::audit))
        .route("/live", get(stream::live))
        .route("/session", get(login::session))
        .route("/mode", post(actions::mode))
        .route("/users", post(actions::create))
        .route("/users/read", post(actions::read_all))
        .route("/users/{id}/read", post(actions::read))
        .route("/users/{id}/write", post(actions::write))
        .route("/users/{id}/delete", post(actions::delete))
        .route("/users/{id}/evict", post(actions::evict))
        .route("/demo/{scenario}", post(actions::demo))
        .route("/pace", post(actions::pace))
        .route("/demo/next", post(actions::next_step))
        .route("/faults", get(pages::faults).post(actions::fault))
        .route("/flush", post(actions::flush))
        .route("/load", post(load::start_load))
        .route("/experiment", post(load::start_experiment))
        .route("/sweep", post(sweep::start))
        .route("/experiment/{kind}", get(load::report))
        .route("/stop/{what}", post(load::stop))
        .route("/connector/{press}", post(actions::connector))
        .route("/connector/tasks/{task}/restart", post(actions::connector_task))
        .route("/sessions/end", post(actions::end_sessions))
        .route("/logout", post(login::logout))
}
