//! The app servers of this process side by side.

use maud::{Markup, html};
use simulator_model::domain::User;
use simulator_model::servers::{ServerRead, ServerView, TierState};

use super::context::PageContext;
use super::icon::icon;
use super::text::{countdown, millis, short};
use crate::servers::{COUNTED, Compared, LastRead, SeenServers};

const TEXT: &str = "Each server is the library's cache with its own memory (local tier) and its own subscription to the bus, over one \
                    store and one invalidator. Cut the bus of one, write the user, and compare: the others go on with hits of the new \
                    value; the one that is cut off notices the silence, clears its memory and reads the store. The page reads the user \
                    through each server once a second. The verdict, the charts and /users are of server A.";

/// Renders the page around the part that is pushed.
pub(super) fn page(context: &PageContext<'_>, part: Option<&Markup>) -> Markup {
    html! {
        section.card aria-labelledby="h-servers" {
            div.hd {
                h2 #h-servers { "App servers" }
                span.m.full { (context.panel.api.servers.count()) " in this process, one store, one invalidator" }
                span.grow {}
                @if context.panel.has_servers() {
                    form.row method="get" action="/servers" {
                        label.row { span.m { "Observed user" }
                            input.short type="number" name="user" min="1" required value=[context.servers.and_then(|seen| seen.user)]; }
                        button.btn type="submit" { "Show" }
                    }
                }
            }
            p.explain data-explains="servers" { (TEXT) }
            div data-part="servers" { @if let Some(markup) = part { (markup) } }
        }
    }
}

pub(super) fn servers(context: &PageContext<'_>) -> Markup {
    if !context.panel.has_servers() {
        return one_server(context);
    }
    let Some(seen) = context.servers else {
        return html! { div.empty data-empty="late" { p { b { "Waiting for the store: it has not said yet what the servers have." } } p.m { "The page shows it as soon as it does." } } };
    };
    html! {
        @if seen.is_late { p.pad.warn data-late { "The store is slow. This is from " (countdown(seen.at.elapsed())) " ago; the page waits for what is newer." } }
        (observed(context, seen))
        div.servers { @for view in &seen.views { (server(context, seen, view)) } }
    }
}

fn one_server(context: &PageContext<'_>) -> Markup {
    html! {
        div.empty data-empty="one" {
            @if context.panel.peer.is_some() {
                p { b { "This panel runs alone: the API's processes are the app servers." } }
                p.m { "Each has its own GET /servers. To see several side by side in one process: simulator up --servers 2" }
            } @else {
                p { b { "This process plays one app server." } }
                p.m { "Start it with --servers 2 (CACHEFRONT_SERVERS=2) to see two side by side." }
            }
        }
    }
}

fn observed(context: &PageContext<'_>, seen: &SeenServers) -> Markup {
    let off = !context.operates();
    html! {
        @match (seen.user, &seen.row) {
            (None, _) => p.pad { "There is no user yet. " button.btn type="button" data-user="new" disabled[off] title=[context.reason()] { "New user" } },
            (Some(id), None) => p.pad data-observed=(id) { "User " (id) ": " span.m { "no row, or the database cannot be read" } },
            (Some(id), Some(user)) => div.pad.row data-observed=(id) {
                span.cut { "User " (id) " in the database: " b { (user.name) } " " span.m.full { (user.email) " · " span.mono { (user.updated_at) } } }
                span.grow {}
                button.btn type="button" data-user=(id) data-name=(user.name) data-email=(user.email) data-status=(user.status) disabled[off] title=[context.reason()] { "Write" }
            },
        }
    }
}

/// The state of a server in a few words, its sign, and the class of its chip.
fn state(view: &ServerView) -> (&'static str, &'static str, &'static str) {
    match (view.local_tier, view.bus_cut) {
        (TierState::On, false) => ("follows the bus", "ok", "healthy"),
        (TierState::On, true) => ("hears nothing", "tri", "wait"),
        (TierState::Off, true) => ("cut off, memory off", "tri", "wait"),
        (TierState::Off, false) => ("memory off", "abs", "absent"),
    }
}

fn server(context: &PageContext<'_>, seen: &SeenServers, view: &ServerView) -> Markup {
    let name = view.server.as_str();
    let (words, sign, class) = state(view);
    let off = !context.operates();
    let tier = match (view.local_tier, view.bus_cut) {
        (TierState::On, false) => "on: every invalidation reaches it",
        (TierState::On, true) => "still on: the silence is shorter than 2 s, and what it proves grows older",
        (TierState::Off, true) => "off and cleared: invalidations may be missing",
        (TierState::Off, false) => "off until a heartbeat of the invalidator arrives",
    };
    html! {
        section.server data-key=(name) data-server=(name) data-tier=(view.local_tier.as_str()) data-cut[view.bus_cut] aria-label=(format!("Server {name}")) {
            div.row {
                h3 { "Server " (name) }
                span.chip.(class) { (icon(sign)) (words) }
                span.grow {}
                @if view.bus_cut {
                    button.btn type="button" aria-pressed="true" data-post="/faults" data-body="fault=bus_cut&value=false"
                        disabled[off] title=[context.reason()] { "Restore the bus of " (name) }
                } @else {
                    button.btn type="button" data-post="/faults" data-body=(format!("fault=bus_cut&value={name}"))
                        disabled[off] title=[context.reason()] { "Cut the bus of " (name) }
                }
            }
            dl {
                dt { "own memory" } dd { (tier) }
                dt { "handled up to" } dd.mono { (view.handled.as_deref().map_or("not known".to_owned(), short)) }
                dt { "memory has" } dd {
                    @match &view.local {
                        Some(local) => (value(local.value.as_ref())),
                        None => span.m { "nothing that it may serve" },
                    }
                }
                @if view.serving_mode != "normal" { dt { "serving mode" } dd { (view.serving_mode) } }
                @if let Some(read) = seen.read_of(view.server) { (last_read(read, seen.row.as_ref())) }
            }
        }
    }
}

/// Renders the last read, next to the row as it is now: a read may be up to a second older than the row.
fn last_read(last: &LastRead, row: Option<&User>) -> Markup {
    html! {
        @match &last.outcome {
            Err(why) => { dt { "last read" } dd.fail data-read="failed" { (why) } },
            Ok(read) => {
                dt { "last read" }
                dd data-read=(read.tier) {
                    (value(read.value.as_ref())) " " span.m { "from " (place(read.tier)) ", " (took(read.took_ms)) }
                }
                dt { "proven" } dd { (bound(read)) }
                dt { "database" }
                dd data-compared=(compared(last.compared)) {
                    @match last.compared {
                        Compared::Equal if read.value.as_ref() == row => span.ok { (icon("ok")) " the same" },
                        Compared::Equal => span.m { "was the same when it was read" },
                        Compared::Older => span.bad { (icon("tri")) " the row was newer before the read began" },
                        Compared::Unknown => span.m { "could not be compared" },
                    }
                }
            },
        }
        dt { "last " (COUNTED) " reads" } dd data-counts { (counts(last)) }
    }
}

/// Formats how long a read took: one from memory takes microseconds.
fn took(ms: f64) -> String {
    if ms < 0.1 { "below 0.1 ms".into() } else { millis(ms) }
}

fn compared(compared: Compared) -> &'static str {
    match compared {
        Compared::Equal => "equal",
        Compared::Older => "older",
        Compared::Unknown => "unknown",
    }
}

fn value(user: Option<&User>) -> Markup {
    html! { @match user { Some(user) => b { (user.name) }, None => span.m { "known to be missing" } } }
}

fn place(tier: &str) -> &str {
    match tier {
        "local" => "its own memory",
        "shared" => "the store",
        tier => tier,
    }
}

fn bound(read: &ServerRead) -> Markup {
    html! {
        @match read.staleness_bound_ms {
            _ if read.stale => span.bad { "nothing: the last value, as its load failed or is slow" },
            Some(bound) => { "at most " (millis(bound as f64)) " old" },
            None => span.m { "no bound on its age" },
        }
    }
}

fn counts(last: &LastRead) -> String {
    let count = |tier: &str| last.tiers.iter().filter(|seen| **seen == tier).count();
    format!("{} own memory · {} store · {} database", count("local"), count("shared"), count("database"))
}
