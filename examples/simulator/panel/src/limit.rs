//! Refuses requests over a limit of the panel before any work is done for them.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::login::CurrentUser;
use super::panel::Panel;
use super::reply::{later, too_many};

/// Refuses requests over a limit before any work is done for them. A stream counts only when it is opened.
pub(super) async fn bound(
    State(panel): State<Arc<Panel>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    CurrentUser(reader): CurrentUser,
    request: Request,
    next: Next,
) -> Response {
    let limits = &panel.limits;
    if let Err(wait) = limits.check(reader.csrf(), from.ip()) {
        return later(StatusCode::TOO_MANY_REQUESTS, "Too many requests: wait a moment.", wait);
    }
    match limits.at_once.try_acquire() {
        Ok(_permit) => next.run(request).await,
        Err(_) => too_many("Too many requests at once: wait a moment."),
    }
}
