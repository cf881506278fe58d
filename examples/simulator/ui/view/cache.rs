//! The cache browser: every key of the users on this page, with its value beside the row.

use maud::{Markup, html};

use super::Scene;
use super::icon::icon;
use super::text::{countdown, short};
use super::users::{chip, fields, tier};
use crate::ui::keys::KeyRow;
use crate::ui::users::State;

pub(super) fn cache(scene: &Scene<'_>) -> Markup {
    html! {
        @if scene.moment.store_away {
            div.empty { p { b { "The shared store does not answer." } } p.m { "Reads go to the database meanwhile. The keys appear again as soon as it answers." } }
        } @else if scene.keys.is_empty() {
            div.empty {
                p { b { "Nothing is cached here" } }
                p.m { "Read a user on the first page, start load, or search for another id, name or address." }
            }
        } @else {
            table {
                thead { tr {
                    th.k0 scope="col" { span.vh { "Compare" } } th scope="col" { "key" } th.k6 scope="col" { "type" } th.k6 scope="col" { "size" }
                    th.kt scope="col" { "TTL" } th.k6 scope="col" { "tier" } th.k7 scope="col" { "position" }
                    th.k4 scope="col" { "state" } th.k7w scope="col" { span.vh { "Actions" } }
                } }
                tbody { @for row in scene.keys { (line(scene, row)) (comparison(row)) } }
            }
        }
    }
}

fn line(scene: &Scene<'_>, row: &KeyRow) -> Markup {
    let stale = row.state == State::Stale;
    html! {
        tr.u.is-stale[stale] data-key=(row.key) data-state=(row.state.as_str()) {
            td.c0 {
                button.exp type="button" data-toggle=(row.key) aria-expanded="false"
                    aria-label=(format!("Compare {} with the database", row.key)) { (icon("chev")) }
            }
            td.c2.mono data-l="key" title=(row.key) { (row.key) }
            td.c3 data-l="type" { @if row.value.is_some() { "user" } @else { "absence" } }
            td.c5 data-l="size" { (row.bytes.map_or("–".to_owned(), |bytes| format!("{bytes} B"))) }
            td.c6 data-l="TTL" { (row.ttl.map_or("–".to_owned(), countdown)) }
            td.c5 data-l="tier" { (tier(row.tier)) }
            td.c7.mono { (row.position.as_deref().map_or("–".to_owned(), short)) }
            td.c4 { (chip(row.state)) }
            td.c8 { div.acts {
                button.btn.q.danger type="button" data-ask=(format!("Remove the entries of user {}?", row.id))
                    data-text="They go from all tiers of all processes; the row stays. The next read loads."
                    data-yes="Remove" data-action=(format!("/users/{}/evict", row.id)) data-body=""
                    disabled[!scene.operates()] title=[scene.reason()] aria-label=(format!("Remove {}", row.key)) { "Remove" }
            } }
        }
    }
}

fn comparison(row: &KeyRow) -> Markup {
    let stale = row.state == State::Stale;
    html! {
        tr.cmp-row data-opens=(row.key) data-key=(format!("c {}", row.key)) hidden {
            td.x colspan="9" {
                div.cmp.even {
                    div.pane {
                        h3 { "Database row" }
                        @match &row.database {
                            Some(user) => (fields(user, None, None)),
                            None => p.m { "no such row" },
                        }
                    }
                    div.pane.d[stale] {
                        h3 { "Cached value" }
                        @match &row.value {
                            Some(user) => (fields(user, row.database.as_ref().filter(|_| stale), row.position.as_deref())),
                            None => p.ne[stale] { "negative entry: no such user" },
                        }
                    }
                    div.pane {
                        h3 { "Value as JSON" }
                        pre.json { (row.value.as_ref().and_then(|user| serde_json::to_string_pretty(user).ok()).unwrap_or("null".into())) }
                    }
                }
            }
        }
    }
}
