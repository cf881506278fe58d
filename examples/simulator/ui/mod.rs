//! The control panel's first page: the mode, the users with what the cache holds of them, the pipeline, live events.
//!
//! It is rendered here and works without any script; `panel.js` keeps it up to date. Everybody has to log in.

mod actions;
mod live;
mod login;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use login::Logins;

use crate::api::{self, Api, guard};

/// What handlers of the panel work with.
#[derive(Debug)]
struct Panel {
    api: Arc<Api>,
    logins: Logins,
    /// How another program can change a row, for people to copy.
    hint: String,
}

/// The panel, ready to be served.
pub(crate) struct Ui {
    pub(crate) router: Router,
    panel: Arc<Panel>,
}

impl Ui {
    pub(crate) fn new(api: Arc<Api>, hint: String) -> Self {
        let panel = Arc::new(Panel { api: Arc::clone(&api), logins: Logins::new(), hint });
        let pages = Router::new()
            .route("/", get(page::index))
            .route("/live", get(page::live))
            .route("/mode", post(actions::mode))
            .route("/users", post(actions::create))
            .route("/users/{id}/read", post(actions::read))
            .route("/users/{id}/write", post(actions::write))
            .route("/users/{id}/delete", post(actions::delete))
            .route("/logout", post(login::logout))
            .with_state(Arc::clone(&panel))
            .route("/events", get(api::events).with_state(api))
            .layer(middleware::from_fn_with_state(Arc::clone(&panel), login::require));
        let router = Router::new()
            .route("/login", get(login::form).post(login::submit))
            .route("/healthz", get(api::healthz))
            .route(
                "/panel.css",
                get(|| std::future::ready(asset("text/css; charset=utf-8", include_str!("panel.css")))),
            )
            .route(
                "/panel.js",
                get(|| std::future::ready(asset("text/javascript; charset=utf-8", include_str!("panel.js")))),
            )
            .route("/panel.svg", get(|| std::future::ready(asset("image/svg+xml", include_str!("panel.svg")))))
            .with_state(Arc::clone(&panel))
            .merge(pages);
        Self { router: guard::wrap_pages(router), panel }
    }

    /// The address that logs its reader in: printed once, at the start.
    pub(crate) fn link(&self, addr: SocketAddr) -> String {
        format!("http://{addr}/login?key={}", self.panel.logins.key())
    }
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind)], text)
}
