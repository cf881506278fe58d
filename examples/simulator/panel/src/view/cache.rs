//! The cache browser: every key that the store holds, with its value next to the row.

use maud::{Markup, html};

use super::context::PageContext;
use super::icon::icon;
use super::text::{encoded, grouped, left, short};
use super::users::{as_of, chip, fields, tier};
use crate::keys::{KeyRow, Keys};
use crate::listing::{Key, LISTED_MAX};
use crate::rows::{PAGE_MAX, State};
use crate::verdict::Word;

pub(super) fn cache(context: &PageContext<'_>) -> Markup {
    html! {
        (as_of(context))
        @match context.keys {
            None => div.empty data-empty="unlisted" {
                p { b { "The shared store could not be listed." } }
                p.m { "What it holds is not known. Reads go to the database meanwhile; the keys appear again once it is reachable." }
            },
            Some(keys) if keys.rows.is_empty() => (nothing(context)),
            Some(keys) => {
                table {
                    thead { tr {
                        th.k0 scope="col" { span.vh { "Compare" } } th scope="col" { "key" } th.kt scope="col" { "type" } th.k6 scope="col" { "size" }
                        th.kt scope="col" { "TTL" } th.k6 scope="col" { "tier" } th.k7 scope="col" { "position" }
                        th.k4 scope="col" { "state" } th.k7w scope="col" { span.vh { "Actions" } }
                    } }
                    tbody { @for row in &keys.rows { (line(context, row)) (comparison(row)) } }
                }
                (pager(keys))
            },
        }
    }
}

fn nothing(context: &PageContext<'_>) -> Markup {
    let is_search = !context.wanted.only_stale() && !context.wanted.q.trim().is_empty();
    html! {
        div.empty data-empty=(if is_search { "not-found" } else { "none" }) {
            @if context.wanted.only_stale() && context.moment.verdict.word == Word::Unknown {
                p { b { "Which entries are stale is not known." } } p.m { "They appear as soon as entries can be compared again." }
            } @else if context.wanted.only_stale() {
                p { b { "Nothing is stale." } } p.m { "Every entry that was compared equals the database." }
            } @else if is_search {
                p { b { "No key is found." } } p.m { "Search for a part of a key, or for a user's id, name or address." }
            } @else {
                p { b { "Nothing is cached." } } p.m { "Read a user on the first page, or start load." }
            }
        }
    }
}

fn pager(keys: &Keys) -> Markup {
    let (page, last) = (keys.first / PAGE_MAX, keys.first + keys.rows.len());
    html! {
        nav.pager aria-label="Pages of keys" {
            span.m { (grouped(keys.first as u64 + 1)) " to " (grouped(last as u64)) " of " (grouped(keys.total as u64)) " keys"
                @if !keys.whole { ": of the first " (grouped(LISTED_MAX as u64)) " that the store named" } }
            span.grow {}
            @if page > 0 { button.btn type="button" data-want=(format!("page={}", page - 1)) { "Previous" } }
            @if last < keys.total { button.btn type="button" data-want=(format!("page={}", page + 1)) { "Next" } }
        }
    }
}

fn kind(row: &KeyRow) -> &'static str {
    match &row.key {
        _ if row.negative => "negative",
        Key::Id(_) => "user",
        Key::Email(_) => "by e-mail",
    }
}

fn line(context: &PageContext<'_>, row: &KeyRow) -> Markup {
    let stale = row.state == State::Stale;
    let key = row.key.to_string();
    html! {
        tr.u.is-stale[stale] data-key=(key) data-state=(row.state.as_str()) {
            td.c0 {
                button.exp type="button" data-toggle=(key) aria-expanded="false"
                    aria-label=(format!("Compare {key} with the database")) { (icon("chev")) }
            }
            td.c2.mono data-l="key" title=(key) { (key) }
            td.c3 data-l="type" { (kind(row)) }
            td.c5 data-l="size" { (row.bytes.map_or("–".to_owned(), |bytes| format!("{bytes} B"))) }
            td.c6 data-l="TTL" { (row.ttl.map_or("–".to_owned(), left)) }
            td.c5 data-l="tier" { (tier(row.tier)) }
            td.c7.mono { (row.position.as_deref().map_or("–".to_owned(), short)) }
            td.c4 { (chip(row.state)) }
            td.c8 { div.acts {
                button.btn.q.danger type="button" data-ask=(format!("Remove {key}?"))
                    data-text="The entry goes from all tiers of all processes; the row stays. The next read loads."
                    data-yes="Remove" data-action="/cache/evict" data-body=(format!("key={}", encoded(&key)))
                    disabled[!context.operates()] title=[context.reason()] aria-label=(format!("Remove {key}")) { "Remove" }
            } }
        }
    }
}

fn comparison(row: &KeyRow) -> Markup {
    let stale = row.state == State::Stale;
    let json = row.value.as_ref().and_then(|user| serde_json::to_string_pretty(user).ok());
    html! {
        tr.cmp-row data-opens=(row.key) data-key=(format!("c {}", row.key)) hidden {
            td.x colspan="9" {
                div.cmp.even {
                    div.pane {
                        h3 { "Database row" }
                        @match &row.database {
                            Some(user) => (fields(user, None, None)),
                            None => p.m { @match row.state { State::Unknown => "not readable", State::Absent => "not compared", _ => "no such row" } },
                        }
                    }
                    div.pane.d[stale] {
                        h3 { "Cached value" }
                        @match &row.value {
                            Some(user) => (fields(user, row.database.as_ref().filter(|_| stale), row.position.as_deref())),
                            None if row.negative => {
                                p.ne[stale] { "negative entry: no such user" }
                                @if let Some(position) = &row.position { dl.kv { dt { "position" } dd { (position) } } }
                            },
                            None if row.state == State::Unknown => p.m { "not readable" },
                            None => p.m { "The store holds the key, and serves nothing under it: a load is in progress, or the entry is of an earlier generation." },
                        }
                    }
                    div.pane {
                        h3 { "Value as JSON" }
                        pre.json { (json.unwrap_or("null".into())) }
                    }
                }
            }
        }
    }
}
