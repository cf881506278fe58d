//! The page and its parts. `/live` answers the parts that move, and the script puts them in place.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

use super::Panel;
use super::live::{Live, USERS_MAX, UserRow, Verdict};
use crate::domain::Mode;
use crate::inspector::EntryState;

#[derive(Deserialize)]
pub(super) struct Note {
    note: Option<String>,
}

/// The whole page.
pub(super) async fn index(State(panel): State<Arc<Panel>>, Query(note): Query<Note>) -> Markup {
    let live = Live::look(&panel).await;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (live.verdict.words()) " · cachefront" }
                link rel="icon" href="/panel.svg";
                link rel="stylesheet" href="/panel.css";
                script src="/panel.js" defer {}
            }
            body {
                header.top {
                    b { "cachefront" }
                    span #connection.muted { "as of the last reload" }
                    form method="post" action="/logout" { button.quiet type="submit" { "Log out" } }
                }
                main {
                    @if let Some(words) = note.note.as_deref().and_then(words_of) {
                        p.banner role="alert" { (words) }
                    }
                    (parts(&live))
                    div.columns {
                        (new_user())
                        (try_it(&panel.hint))
                    }
                    section.card {
                        h2 { "Events" }
                        ol #events.events data-empty="Waiting for the first change" {}
                    }
                }
            }
        }
    }
}

/// Only the parts that move.
pub(super) async fn live(State(panel): State<Arc<Panel>>, _headers: HeaderMap) -> Markup {
    parts(&Live::look(&panel).await)
}

fn words_of(note: &str) -> Option<&'static str> {
    Some(match note {
        "taken" => "This e-mail address is taken.",
        "switched" => "The mode was changed by somebody else in the meantime.",
        "invalid" => "Name and e-mail address take 1 to 255 characters.",
        "gone" => "There is no such user any more.",
        "failed" => "The database is not available.",
        _ => return None,
    })
}

fn parts(live: &Live) -> Markup {
    html! {
        div.strip data-part="strip" { (verdict(live)) (mode(live)) }
        section.card data-part="pipeline" { (pipeline(live)) }
        section.card data-part="users" { (users(live)) }
    }
}

fn verdict(live: &Live) -> Markup {
    let (class, sign) = match live.verdict {
        Verdict::Healthy => ("healthy", "✓"),
        Verdict::Stale(_) => ("stale", "!"),
        Verdict::Empty => ("empty", "○"),
        Verdict::Unknown => ("unknown", "?"),
    };
    let advice = match live.verdict {
        Verdict::Healthy => "Every cached row equals the database.",
        Verdict::Stale(_) => "Cached rows differ from the database.",
        Verdict::Empty => "Read a user below: its row is then cached.",
        Verdict::Unknown => "The database did not answer.",
    };
    html! {
        section.verdict.(class) aria-live="polite" {
            span.sign aria-hidden="true" { (sign) }
            div { h1 data-title { (live.verdict.words()) } p { (advice) } }
        }
    }
}

fn mode(live: &Live) -> Markup {
    let choice = |mode: Mode, name: &str, words: &str| {
        let on = live.mode.mode == mode;
        html! {
            form method="post" action="/mode" {
                input type="hidden" name="mode" value=(mode.as_str());
                input type="hidden" name="version" value=(live.mode.version);
                button.choice type="submit" aria-pressed=(on) disabled[on] { b { (name) } small { (words) } }
            }
        }
    };
    html! {
        section.modes aria-label="Mode" {
            (choice(Mode::Ttl, "TTL", "stale until the entry expires"))
            (choice(Mode::Cdc, "CDC", "every commit invalidates at once"))
        }
    }
}

fn pipeline(live: &Live) -> Markup {
    let view = &live.pipeline;
    let cdc = view.mode == Mode::Cdc;
    let (database, log, store) =
        if view.embedded { ("SQLite", "log table", "memory") } else { ("MySQL", view.source.as_str(), "Redis") };
    let last = if cdc { "invalidates" } else { "not applied" };
    let consumer = if view.running { last } else { "silent for 3 s" };
    html! {
        h2 { "Pipeline" }
        ol.pipe {
            li { b { (database) } small { "where every program writes" } }
            li { b { (log) } small { "every commit, in order" } }
            li.broken[!view.running] { b { "consumer" } small { (consumer) } }
            li.off[!cdc || !view.running] { b { (store) } small { "shared entries" } }
            li.off[!cdc || !view.running] { b { "process" } small { "entries of this one" } }
        }
        dl.numbers {
            div { dt { "handled up to" } dd.mono { (short(view.applied.as_deref())) } }
            div { dt { "known current" } dd { (view.lag_ms.map_or("–".into(), |ms| format!("{ms:.0} ms ago"))) } }
            div { dt { "changes read" } dd { (view.events_total) } }
            div { dt { "keys invalidated" } dd { (view.invalidations_total) } }
        }
    }
}

fn users(live: &Live) -> Markup {
    html! {
        h2 { "Users " span.muted { "the first " (USERS_MAX) " by id" } }
        @match &live.users {
            None => p.fail { "The database is not readable." },
            Some(users) if users.is_empty() => p.muted { "No users yet. Add one below." },
            Some(users) => div.scroll {
                table {
                    thead { tr {
                        th { "id" } th { "name in the database" } th { "name in the cache" } th { "state" }
                        th { "time left" } th { "tier" } th { "position" } th { "current within" } th { "" }
                    } }
                    tbody { @for row in users { (user(row)) } }
                }
            },
        }
    }
}

fn user(row: &UserRow) -> Markup {
    let cache = row.cache.as_ref();
    let state = cache.map_or("unknown", |view| match view.state {
        EntryState::Absent => "absent",
        EntryState::Healthy if view.negative => "negative",
        EntryState::Healthy => "healthy",
        EntryState::Stale => "stale",
        EntryState::Unknown => "unknown",
    });
    let database = cache.and_then(|view| view.database.as_ref()).unwrap_or(&row.user);
    let cached = cache.and_then(|view| view.cached.as_ref());
    let differs = state == "stale";
    let id = row.user.id;
    html! {
        tr.(state) {
            td.number data-label="id" { (id) }
            td data-label="database" { (database.name) br; span.muted { (database.email) } }
            td data-label="cache" {
                @match cached {
                    Some(user) => { @if differs { span aria-hidden="true" { "≠ " } } (user.name) br; span.muted { (user.email) } }
                    None => span.muted { "not cached" },
                }
            }
            td data-label="state" { span.chip.(state) { (state) } }
            td.number data-label="time left" { (millis(cache.and_then(|view| view.ttl_ms))) }
            td data-label="tier" { (cache.and_then(|view| view.tier).unwrap_or("–")) }
            td.mono data-label="position" { (short(cache.and_then(|view| view.position.as_deref()))) }
            td.number data-label="current within" { (millis(cache.and_then(|view| view.staleness_bound_ms))) }
            td {
                div.buttons {
                    form method="post" action=(format!("/users/{id}/read")) { button type="submit" { "Read" } }
                    form method="post" action=(format!("/users/{id}/write")) {
                        input type="hidden" name="email" value=(database.email);
                        input name="name" value=(database.name) maxlength="255" required
                            aria-label=(format!("New name of user {id}"));
                        button type="submit" { "Write" }
                    }
                    form method="post" action=(format!("/users/{id}/delete")) {
                        button.danger type="submit" { "Delete" }
                    }
                }
            }
        }
    }
}

fn new_user() -> Markup {
    html! {
        form.card.new method="post" action="/users" {
            h2 { "New user" }
            label { span { "Name" } input name="name" maxlength="255" required; }
            label { span { "E-mail" } input name="email" maxlength="255" required; }
            button.primary type="submit" { "Add" }
        }
    }
}

fn try_it(hint: &str) -> Markup {
    html! {
        section.card {
            h2 { "Try it" }
            ol.steps {
                li { "Add a user and press " b { "Read" } ": its row is cached." }
                li { "Press " b { "Write" } ", or change the row from another program:" pre { code { (hint) } } }
                li { "In TTL mode the entry is now " span.chip.stale { "stale" } " until its time is over; in CDC mode it is gone at once, and the next read is fresh." }
            }
        }
    }
}

fn millis(millis: Option<u64>) -> String {
    match millis {
        None => "–".into(),
        Some(millis) if millis < 1_000 => format!("{millis} ms"),
        Some(millis) => format!("{:.1} s", millis as f64 / 1e3),
    }
}

/// The end of a position: its beginning is a server's UUID.
fn short(position: Option<&str>) -> String {
    match position {
        None => "–".into(),
        Some(text) if text.chars().count() <= 20 => text.into(),
        Some(text) => {
            let skip = text.chars().count() - 18;
            format!("…{}", text.chars().skip(skip).collect::<String>())
        }
    }
}
