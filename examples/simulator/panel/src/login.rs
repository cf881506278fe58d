//! Login and roles. Every user has to log in: viewers may read, operators may change things, the admin may also read
//! the audit list and end all sessions.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, Form, FromRequestParts, Query, Request, State};
use axum::http::request::Parts;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{DOCTYPE, html};
use serde::Deserialize;
use simulator_access::{Denied, Session, is_own_origin};
use simulator_api::read_body;
use simulator_model::credentials::Role;

use super::panel::Panel;
use super::reply::{refused, refused_as};
use super::view::icon;

/// Maximum size of the URL of a page to go on to after the login: a scene, a side and a step are far below.
const NEXT_BYTES_MAX: usize = 200;

/// The session of a request that passed [`require`].
#[derive(Clone)]
pub(super) struct CurrentUser(pub(super) Session);

impl<S: Send + Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Redirect> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Redirect::to("/login"))
    }
}

/// The headers of a request, for a stream that has to end with its session.
pub(super) struct Headers(pub(super) HeaderMap);

impl<S: Send + Sync> FromRequestParts<S> for Headers {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.clone()))
    }
}

/// Returns the role that a `POST` needs. Viewers may read through the cache and log out.
fn role_for(path: &str) -> Role {
    let reads = path.starts_with("/users/") && path.ends_with("/read");
    if path == "/sessions/end" {
        return Role::Admin;
    }
    if reads || path == "/users/read" || path == "/logout" { Role::Viewer } else { Role::Operator }
}

/// Refuses requests without a session, and `POST` requests that were not sent by a page of the session.
pub(super) async fn require(State(panel): State<Arc<Panel>>, mut request: Request, next: Next) -> Response {
    let access = &panel.api.access;
    let path = request.uri().path().to_owned();
    let session = match *request.method() == Method::POST {
        true => access.change(request.headers(), role_for(&path), None),
        false => access.viewer(request.headers()),
    };
    match session {
        Ok(_) if panel.read_only && *request.method() == Method::POST && role_for(&path) > Role::Viewer => {
            let message = "The panel is read-only (CACHEFRONT_UI_READ_ONLY): nothing was changed.";
            refused_as(StatusCode::FORBIDDEN, "read_only", message)
        }
        Ok(session) => {
            request.extensions_mut().insert(CurrentUser(session));
            next.run(request).await
        }
        Err(Denied::NotLoggedIn) if wants_page(request.headers()) => {
            Redirect::to(&login_for(request.uri())).into_response()
        }
        Err(denied) => {
            if let (Denied::Forged | Denied::Role(_), Ok(session)) = (denied, access.viewer(request.headers())) {
                note_refusal(&panel, &session, &path, denied).await;
            }
            refused(denied.status(), denied.words())
        }
    }
}

/// Returns the address of the login page that leads on to a page whose URL can be shared, and to the first page otherwise.
fn login_for(uri: &Uri) -> String {
    let next = uri.path_and_query().map_or("", PathAndQuery::as_str);
    match shared_page(next) {
        Some(next) => format!("/login?next={}", next.replace('?', "%3F").replace('&', "%26").replace('=', "%3D")),
        None => "/login".into(),
    }
}

/// Returns the text if it is the URL of a race or of kept runs, `None` if it is anything else: the login leads to no other page than ours.
fn shared_page(next: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-/?&=.".contains(c);
    let is_shared = ["/race", "/runs"]
        .iter()
        .any(|page| next.strip_prefix(page).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    (is_shared && !next.contains("..") && next.len() <= NEXT_BYTES_MAX && next.chars().all(plain)).then_some(next)
}

/// Records in the audit list that a request of a logged-in user was refused.
async fn note_refusal(panel: &Panel, session: &Session, path: &str, denied: Denied) {
    let Some(left_out) = panel.refusals.admit(&session.name, Instant::now()) else { return };
    let access = &panel.api.access;
    if left_out > 0 {
        access.audit_times(&session.name, "POST, too often to be noted one by one", "refused", left_out).await;
    }
    access.audit(&session.name, &format!("POST {path}"), &format!("refused: {}", denied.words())).await;
}

/// Reads the whole body, within its limits, before a request is handled.
pub(super) async fn bound(request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match read_body(&parts.headers, body).await {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(fault) => fault.into_response(),
    }
}

fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

/// The fields of the form.
#[derive(Default, Deserialize)]
pub(super) struct Credentials {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    /// The page to go on to.
    #[serde(default)]
    next: String,
}

/// The page to go on to after the login.
#[derive(Default, Deserialize)]
pub(super) struct Then {
    #[serde(default)]
    next: String,
}

pub(super) fn form(State(panel): State<Arc<Panel>>, Query(then): Query<Then>, headers: HeaderMap) -> Ready<Response> {
    let next = shared_page(&then.next);
    ready(match panel.api.access.viewer(&headers) {
        Ok(_) => Redirect::to(next.unwrap_or("/")).into_response(),
        Err(_) => page(StatusCode::OK, "", next),
    })
}

pub(super) async fn submit(
    State(panel): State<Arc<Panel>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Response {
    // Else another site could log its visitors in to an account of its choice.
    if !is_own_origin(&headers) {
        return page(StatusCode::FORBIDDEN, &Denied::Forged.words(), None);
    }
    match panel.api.access.login(given.name.trim(), &given.password, from.ip()).await {
        Ok((_, cookie)) => {
            let mut response = Redirect::to(shared_page(&given.next).unwrap_or("/")).into_response();
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            response
        }
        Err(denied) => {
            let mut response = page(denied.status(), &denied.words(), shared_page(&given.next));
            if let Some(wait) = denied.into_response().headers().get(header::RETRY_AFTER) {
                response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
            }
            response
        }
    }
}

/// Succeeds for a logged-in user: a tab that has lost its stream checks here whether its session is still valid.
pub(super) fn session() -> Ready<StatusCode> {
    ready(StatusCode::NO_CONTENT)
}

pub(super) async fn logout(State(panel): State<Arc<Panel>>, headers: HeaderMap) -> Response {
    let cookie = panel.api.access.logout(&headers).await;
    let mut response = axum::Json(serde_json::json!({ "ok": true, "message": "" })).into_response();
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

fn page(status: StatusCode, wrong: &str, next: Option<&str>) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "Log in · cachefront" }
                link rel="icon" href="/panel.svg";
                link rel="stylesheet" href="/panel.css";
                script src="/theme.js" {}
                @if next.is_some() { script src="/login.js" type="module" {} }
            }
            body.narrow {
                (icon::sprite())
                main {
                    form.card.login method="post" action="/login" {
                        h1.brand { (icon::icon("logo")) "cachefront" }
                        p.m { "The account " b { "admin" } " has the password that the program printed at its first start, or the one in CACHEFRONT_UI_ADMIN_PASSWORD." }
                        @if !wrong.is_empty() { p.error role="alert" { (wrong) } }
                        @if let Some(next) = next { input type="hidden" name="next" value=(next); }
                        label.f { span { "Name" } input name="name" value="admin" autocomplete="username" required; }
                        label.f { span { "Password" } input type="password" name="password" autocomplete="current-password" required autofocus; }
                        button.btn.lg.pri type="submit" { "Log in" }
                    }
                }
            }
        }
    };
    (status, page).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_leads_to_a_race_or_a_run_and_to_no_other_place() {
        let login = |uri: &str| login_for(&uri.parse().expect("a URI"));
        assert_eq!(login("/race/overtaken?side=naive&step=3"), "/login?next=/race/overtaken%3Fside%3Dnaive%26step%3D3");
        assert_eq!((login("/race"), login("/")), ("/login?next=/race".into(), "/login".into()));
        let compared = "/runs/compare?a=1795997412236-load.0&b=1795997412236-load.0";
        assert_eq!(shared_page(compared), Some(compared));
        for other in [
            "/runs/../logout",
            "//example.org/race",
            "/racer",
            "/race/\\example.org",
            "/race/x#y",
            "/race/%0d",
            "/cache",
            "",
        ] {
            assert_eq!(shared_page(other), None, "{other}");
        }
    }
}
