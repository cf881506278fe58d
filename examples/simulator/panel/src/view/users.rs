//! The users next to their entries; the comparison opens inside the row.

use cachefront::Timestamp;
use maud::{Markup, html};
use simulator_model::domain::{Mode, User};

use super::context::PageContext;
use super::icon::icon;
use super::text::{at_most, countdown, short};
use crate::rows::{Found, SURVEY_MAX, State, UserRow};
use crate::verdict::Word;

pub(super) fn users(context: &PageContext<'_>) -> Markup {
    let page = context.page;
    html! {
        (as_of(context))
        @if page.rows.is_empty() {
            (no_users(context))
        } @else {
            @if page.failed { (unreachable()) }
            table {
                thead { tr {
                    th.k0 scope="col" { span.vh { "Compare" } } th.k1 scope="col" { "id" } th scope="col" { "name in database" }
                    th scope="col" { "name in cache" } th.k4 scope="col" { "state" } th.k5 scope="col" { "TTL left" }
                    th.k6 scope="col" { "tier" } th.k7 scope="col" { "position" } th.k8 scope="col" { span.vh { "Actions" } }
                } }
                tbody { @for row in &page.rows { (line(context, row)) (comparison(context, row)) } }
            }
        }
        @if page.before || page.after || context.wanted.is_further() { (pager(context)) }
        @if context.wanted.only_stale() && context.moment.survey.more {
            p.m.pad { "There are more than " (SURVEY_MAX) " users: of the others a moving sample is compared." }
        }
    }
}

/// Renders the time of the rows if they come from an earlier survey.
pub(super) fn as_of(context: &PageContext<'_>) -> Markup {
    let Some(at) = context.moment.survey.as_of else { return html! {} };
    html! { p.pad.warn { (icon("unk")) " As of " (at_time(at)) " UTC: how entries stand now is not known." } }
}

/// Formats a time to the second, which is enough: rows that are outdated do not change.
fn at_time(at: Timestamp) -> String {
    super::text::time(at).split('.').next().unwrap_or_default().to_owned()
}

fn unreachable() -> Markup {
    html! { p.pad.warn { "The database could not be asked for further users: these are of the first " (SURVEY_MAX) " only. It is tried again by itself." } }
}

/// Renders the pager. Pages are bounded by ids, so that no row is skipped or shown twice when rows come and go.
fn pager(context: &PageContext<'_>) -> Markup {
    let rows = &context.page.rows;
    html! {
        nav.pager aria-label="Pages of users" {
            @if context.wanted.is_further() { button.btn type="button" data-want="after=&before=" { "First" } }
            @if let Some(first) = rows.first().filter(|_| context.page.before) {
                button.btn type="button" data-want=(format!("after=&before={}", first.id)) { "Previous" }
            }
            @if let Some(last) = rows.last().filter(|_| context.page.after) {
                button.btn type="button" data-want=(format!("after={}&before=", last.id)) { "Next" }
            }
        }
    }
}

fn no_users(context: &PageContext<'_>) -> Markup {
    html! {
        div.empty {
            @if context.moment.database_away {
                p { b { "The database is not readable." } } p.m { "The users appear again once it is reachable." }
            } @else if context.page.failed {
                p { b { "The database could not be asked." } } p.m { "Whether there are such users is not known. It is tried again by itself." }
            } @else if context.wanted.only_stale() && context.moment.verdict.word == Word::Unknown {
                p { b { "Which entries are stale is not known." } } p.m { "They appear as soon as entries can be compared again." }
            } @else if context.wanted.only_stale() {
                p { b { "Nothing is stale." } } p.m { "Every entry that was compared equals the database." }
            } @else if !context.wanted.q.trim().is_empty() {
                p { b { "No user is found." } } p.m { "Search for an id, or for a part of a name or address." }
            } @else {
                p { b { "No users yet" } }
                p.m { "Create one, or let the guided demo do it: it makes a user, reads it into the cache and changes it in the database." }
                button.btn.pri.lg type="button" data-user="new" disabled[!context.operates()] title=[context.reason()] { "New user" }
            }
        }
    }
}

pub(super) fn chip(state: State) -> Markup {
    let sign = match state {
        State::Healthy => "ok",
        State::Stale => "tri",
        State::Absent => "abs",
        State::Negative => "neg",
        State::Unknown => "unk",
    };
    html! { span.chip.(state.as_str()) { (icon(sign)) (state.as_str()) } }
}

pub(super) fn tier(tier: Option<&str>) -> &str {
    match tier {
        Some("local") => "L1",
        Some("shared") => "store",
        Some(other) => other,
        None => "–",
    }
}

fn line(context: &PageContext<'_>, row: &UserRow) -> Markup {
    let stale = row.state == State::Stale;
    let (id, off) = (row.id, !context.operates());
    let reason = context.reason();
    html! {
        tr.u.is-stale[stale] data-key=(format!("u{id}")) data-id=(id) data-state=(row.state.as_str()) {
            td.c0 {
                button.exp type="button" data-toggle=(id) aria-expanded="false" aria-controls=(format!("cmp{id}"))
                    aria-label=(format!("Compare user {id} with the database")) { (icon("chev")) }
            }
            td.c1.mono { (id) }
            td.c2 data-l="in database" { span.named { span.cut { (database_name(row)) } (status(row.database.as_ref(), None)) } }
            td.c3 data-l="in cache" { span.named { span.cut { (cached_name(row)) } (status(row.cached.as_ref(), row.database.as_ref())) } }
            td.c4 { (chip(row.state)) }
            td.c5 data-l="TTL left" { (ttl(context, row)) }
            td.c6 data-l="tier" { (tier(row.tier)) }
            td.c7.mono { (row.position.as_deref().map_or("–".to_owned(), short)) }
            td.c8 {
                div.acts {
                    button.btn.q type="button" data-post=(format!("/users/{id}/read")) aria-label=(format!("Read user {id} through the cache")) { "Read" }
                    @if let Some(user) = &row.database {
                        button.btn.q type="button" data-user=(id) data-name=(user.name) data-email=(user.email) data-status=(user.status)
                            disabled[off] title=[reason] aria-label=(format!("Write user {id}")) { "Write" }
                        button.btn.q.danger type="button" data-ask=(format!("Delete user {id}?"))
                            data-text="The row goes from the database only; the cache follows by TTL or CDC."
                            data-yes="Delete" data-action=(format!("/users/{id}/delete")) data-body=""
                            disabled[off] title=[reason] aria-label=(format!("Delete user {id}")) { "Delete" }
                    }
                }
            }
        }
    }
}

/// Renders the status of a user, marked if it differs from that of `other`.
fn status(user: Option<&User>, other: Option<&User>) -> Markup {
    html! {
        @if let Some(user) = user {
            " " span.status.diff[other.is_some_and(|other| other.status != user.status)] { (user.status) }
        }
    }
}

/// Renders the name in the database, or why there is none.
pub(super) fn database_name(row: &UserRow) -> Markup {
    html! {
        @match &row.database {
            Some(user) => (user.name),
            None if row.state == State::Unknown => span.m { "not readable" },
            None => span.m { "no row" },
        }
    }
}

/// Returns true if a cached name is not the row's; a stale entry may differ from its row elsewhere.
fn differs(row: &UserRow, cached: &User) -> bool {
    row.state == State::Stale && row.database.as_ref().is_none_or(|user| user.name != cached.name)
}

/// Renders the name in the cache, or why there is none.
pub(super) fn cached_name(row: &UserRow) -> Markup {
    html! {
        @match &row.cached {
            None if row.other.as_ref().is_some_and(|other| other.elsewhere) => span.diff { "stale in the API" },
            None if row.other.is_some() => span.diff { "stale by address" },
            Some(user) => span.diff[differs(row, user)] { (user.name) },
            None if row.negative => span.m { "known to be missing" },
            None if row.state == State::Unknown => span.m { "unknown" },
            None => span.m { "not cached" },
        }
    }
}

/// Width of the bar of a whole time to live, in pixels, and the number of its steps. It shows roughly what the number next to it
/// says, and each step is sent to every tab.
const BAR_WIDTH: f64 = 56.0;
const BAR_STEPS: f64 = 14.0;

fn ttl(context: &PageContext<'_>, row: &UserRow) -> Markup {
    let Some(left) = row.ttl else { return html! { span.m { "–" } } };
    let share = left.as_secs_f64() / context.panel.ttl.as_secs_f64().max(0.001);
    let width = (share * BAR_STEPS).ceil().clamp(0.0, BAR_STEPS) / BAR_STEPS * BAR_WIDTH;
    html! {
        span.ttl {
            svg.low[left.as_secs() < 5] aria-hidden="true" { rect width=(width) {} }
            (super::text::left(left))
        }
    }
}

fn comparison(context: &PageContext<'_>, row: &UserRow) -> Markup {
    let id = row.id;
    let stale = row.state == State::Stale;
    html! {
        tr.cmp-row #(format!("cmp{id}")) data-opens=(id) data-key=(format!("c{id}")) hidden {
            td.x colspan="9" {
                div.cmp {
                    div.pane {
                        h3 { "Database row" }
                        @match &row.database {
                            Some(user) => (fields(user, None, None)),
                            None => p.m { @if row.state == State::Unknown { "not readable" } @else { "no such row" } },
                        }
                    }
                    div.pane.d[stale] {
                        h3 { "Cached value " span.mono { "users:" (id) } }
                        @match &row.cached {
                            Some(user) => (fields(user, row.database.as_ref().filter(|_| stale), row.position.as_deref())),
                            None if row.negative => p.ne[stale] { "negative entry: no such user" },
                            None => p.m { "nothing is cached: the next read loads" },
                        }
                    }
                    (bound(context, row))
                    @if let Some(found) = &row.other { (other(found)) }
                }
            }
        }
    }
}

/// Renders a stale entry of the user other than the one under its id in this process.
fn other(found: &Found) -> Markup {
    let entry = &found.entry;
    html! {
        div.pane.d {
            h3 data-elsewhere[found.elsewhere] { "Stale entry " span.mono { (entry.key) } @if found.elsewhere { ", in the memory of the API's process" } }
            @match &entry.cached {
                Some(user) => (fields(user, entry.database.as_ref(), None)),
                None => p.ne { "negative entry: no such user" },
            }
        }
    }
}

/// Renders the fields of a user; those that differ from `other` carry a sign.
pub(super) fn fields(user: &User, other: Option<&User>, position: Option<&str>) -> Markup {
    let pairs = [
        ("name", &user.name, other.map(|other| &other.name)),
        ("email", &user.email, other.map(|other| &other.email)),
        ("status", &user.status, other.map(|other| &other.status)),
        ("updated", &user.updated_at, other.map(|other| &other.updated_at)),
    ];
    html! {
        dl.kv {
            @for (name, value, other) in pairs {
                dt { (name) }
                dd.ne[other.is_some_and(|other| other != value)] { (value) }
            }
            @if let Some(position) = position { dt { "position" } dd { (position) } }
        }
    }
}

fn bound(context: &PageContext<'_>, row: &UserRow) -> Markup {
    let stale = row.state == State::Stale;
    let kept = row.cached.is_some() || row.negative;
    let words = match (context.moment.mode.mode, row.bound) {
        _ if !kept => "Nothing is served without loading.".to_owned(),
        (Mode::Ttl, _) => "The age of the entry: TTL proves no more.".to_owned(),
        (Mode::Cdc, Some(_)) => format!(
            "Proven by the change log: applied up to {}.",
            context.moment.pipeline.applied.as_deref().map_or("–".to_owned(), short)
        ),
        (Mode::Cdc, None) => "Not known: reads that ask for a bound go to the database.".to_owned(),
    };
    html! {
        div.why {
            h3 { "Staleness bound" }
            b.bad[stale] {
                @match row.bound.filter(|_| kept) {
                    Some(bound) => { "≤ " (at_most(bound)) },
                    None => { @if kept { "unknown" } @else { "–" } },
                }
            }
            p.m {
                (words)
                @if let Some(since) = row.stale_for {
                    " Differs for " (countdown(since))
                    @if let Some(left) = row.ttl { ", heals in " (super::text::left(left)) " at the latest" } "."
                }
            }
        }
    }
}
