//! Who may use the panel: whoever knows the key that the program printed when it started.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use cachefront::Entropy;
use cachefront::clock::SystemEntropy;
use maud::{DOCTYPE, html};
use serde::Deserialize;

use super::Panel;
use crate::config::Secret;

const COOKIE: &str = "cachefront_panel";

/// More browsers than this at once log the oldest one out.
const SESSIONS_MAX: usize = 64;

/// The key of this start, and the sessions that it opened.
pub(super) struct Logins {
    key: Secret,
    sessions: Mutex<VecDeque<Secret>>,
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logins")
    }
}

impl Logins {
    pub(super) fn new() -> Self {
        Self { key: random(), sessions: Mutex::default() }
    }

    pub(super) fn key(&self) -> &str {
        self.key.expose()
    }

    /// A new session's token, if the key is right.
    fn open(&self, key: &str) -> Option<Secret> {
        if !self.key.matches(key.trim()) {
            return None;
        }
        let token = random();
        let mut sessions = self.sessions.lock().ok()?;
        if sessions.len() >= SESSIONS_MAX {
            sessions.pop_front();
        }
        sessions.push_back(token.clone());
        Some(token)
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = cookie(headers) else { return false };
        self.sessions.lock().is_ok_and(|sessions| sessions.iter().filter(|known| known.matches(token)).count() > 0)
    }

    fn close(&self, headers: &HeaderMap) {
        if let (Some(token), Ok(mut sessions)) = (cookie(headers), self.sessions.lock()) {
            sessions.retain(|known| !known.matches(token));
        }
    }
}

fn random() -> Secret {
    Secret::new(format!("{:032x}", SystemEntropy.random_u128()))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Lets nobody pass who has not logged in, and no form that another site sends.
pub(super) async fn require(State(panel): State<Arc<Panel>>, request: Request, next: Next) -> Response {
    if !panel.logins.knows(request.headers()) {
        return match request.uri().path() {
            "/" => Redirect::to("/login").into_response(),
            _ => (StatusCode::UNAUTHORIZED, "Log in first").into_response(),
        };
    }
    if request.method() == Method::POST && !is_own(request.headers()) {
        return (StatusCode::FORBIDDEN, "This form was sent by another site").into_response();
    }
    next.run(request).await
}

/// A browser says where a form comes from; a program that says nothing is no browser.
fn is_own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()) else { return true };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.split_once("://").map(|(_, origin)| origin) == host
}

#[derive(Default, Deserialize)]
pub(super) struct Key {
    key: Option<String>,
}

/// The form, or the way in for whoever follows the printed link.
pub(super) fn form(State(panel): State<Arc<Panel>>, Query(given): Query<Key>) -> Ready<Response> {
    ready(match given.key {
        Some(key) => enter(&panel, &key),
        None => page(StatusCode::OK, false),
    })
}

pub(super) fn submit(State(panel): State<Arc<Panel>>, Form(given): Form<Key>) -> Ready<Response> {
    ready(enter(&panel, &given.key.unwrap_or_default()))
}

fn enter(panel: &Panel, key: &str) -> Response {
    let Some(token) = panel.logins.open(key) else { return page(StatusCode::UNAUTHORIZED, true) };
    with_cookie(Redirect::to("/"), &format!("{COOKIE}={}; HttpOnly; SameSite=Strict; Path=/", token.expose()))
}

/// Answers whoever is logged in: a tab that has lost its stream asks.
pub(super) fn session() -> Ready<StatusCode> {
    ready(StatusCode::NO_CONTENT)
}

pub(super) fn logout(State(panel): State<Arc<Panel>>, headers: HeaderMap) -> Ready<Response> {
    panel.logins.close(&headers);
    ready(with_cookie(Redirect::to("/login"), &format!("{COOKIE}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")))
}

fn with_cookie(redirect: Redirect, cookie: &str) -> Response {
    let mut response = redirect.into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn page(status: StatusCode, wrong: bool) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { "Log in · cachefront" }
                link rel="icon" href="/panel.svg";
                link rel="stylesheet" href="/panel.css";
            }
            body.narrow {
                main {
                    form.card.login method="post" action="/login" {
                        h1 { "cachefront" }
                        p.muted { "The program printed a link with a key when it started. Follow it, or paste the key here." }
                        @if wrong { p.fail role="alert" { "This key is not the one of this start." } }
                        label { span { "Key" } input type="password" name="key" autocomplete="off" required autofocus; }
                        button.primary type="submit" { "Log in" }
                    }
                }
            }
        }
    };
    (status, page).into_response()
}
