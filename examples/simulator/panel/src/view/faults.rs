//! Every fault with its parameter and its expected effect.

use maud::{Markup, html};

use super::context::PageContext;

struct Fault {
    name: &'static str,
    words: &'static str,
    place: &'static str,
    shows: &'static str,
    /// The current delay, for faults that are delays.
    millis: Option<u64>,
    on: bool,
    default: &'static str,
}

/// Returns all faults as they are now.
fn all(context: &PageContext<'_>) -> [Fault; 7] {
    let state = context.moment.faults;
    let switch = |name, words, place, on, shows| Fault { name, words, place, shows, millis: None, on, default: "true" };
    let delay = |name, words, place, millis: u64, default, shows| Fault {
        name,
        words,
        place,
        shows,
        millis: Some(millis),
        on: millis > 0,
        default,
    };
    [
        switch(
            "pause_consumer",
            "Pause the consumer",
            "consumer",
            state.pause_consumer,
            "Changes wait, entries grow stale; after it goes on everything heals. Reads that ask for proof go to the database.",
        ),
        switch(
            "freeze_stream",
            "Freeze the stream",
            "log",
            state.freeze_stream,
            "The lag grows with the first commit; nothing is lost when it thaws.",
        ),
        switch(
            "drop_events",
            "Drop events",
            "log → consumer",
            state.drop_events,
            "The one fault that leaves entries stale until they expire: only the inspector finds them.",
        ),
        delay(
            "store_delay_ms",
            "Delay the store",
            "store",
            state.store_delay_ms,
            "200",
            "Hits of the shared store take longer; from 100 ms on the circuit breaker sends reads to the database, but for a probe now and then. No stale read.",
        ),
        switch(
            "store_cut",
            "Cut the store",
            "store",
            state.store_cut,
            "Reads go to the database and stay right; the hit ratio falls.",
        ),
        delay(
            "database_delay_ms",
            "Slow database",
            "database",
            state.database_delay_ms,
            "500",
            "Misses and writes take longer; hits do not.",
        ),
        replica_lag(context),
    ]
}

fn replica_lag(context: &PageContext<'_>) -> Fault {
    let millis = context.moment.faults.replica_lag_ms;
    let shows = match context.moment.pipeline.built_with.fenced {
        true => "Loads read a replica. Fenced: what it lacks is returned and not kept, so no entry stays stale.",
        false => {
            "Loads read a replica. Not fenced: an entry that was invalidated is filled with the older row and stays stale, as the \
             inspector shows. CACHEFRONT_FENCED=true prevents it."
        }
    };
    Fault {
        name: "replica_lag_ms",
        words: "Replica lag",
        place: "database → loaders",
        shows,
        millis: Some(millis),
        on: millis > 0,
        default: "2000",
    }
}

pub(super) fn faults(context: &PageContext<'_>) -> Markup {
    let state = context.moment.faults;
    html! {
        div.hd {
            h2 #h-faults { "Faults" }
            span.m.full { "In force here at once, in every role within 1 s; kept over restarts, so lift what you set." }
            span.grow {}
            button.btn type="button" data-post="/faults" data-body="fault=all&value=false"
                disabled[!context.operates() || state.active().is_empty()] title=[context.reason()] { "Lift all" }
        }
        ul.faults {
            @for fault in &all(context) { (line(context, fault)) }
            (bus_cut(context))
        }
    }
}

/// Renders the fault that is of one app server, which is chosen.
fn bus_cut(context: &PageContext<'_>) -> Markup {
    let (cut, off) = (context.moment.faults.bus_cut, !context.operates());
    html! {
        li.is-on[cut.is_some()] data-key="bus_cut" {
            div { b { "Cut the bus of a server" } span.m.s { "bus → app server" } }
            p { "In every process that has this server. Its own memory hears of no invalidation: it turns itself off after 2 s of silence, and reads go to the store. Other servers go on with hits." }
            div.row {
                @if let Some(server) = cut {
                    span.chip.on { "server " (server.as_str()) }
                    button.btn type="button" data-post="/faults" data-body="fault=bus_cut&value=false" disabled[off] title=[context.reason()]
                        aria-label="Lift: Cut the bus of a server" { "Lift" }
                } @else {
                    form.row data-form="/faults" {
                        input type="hidden" name="fault" value="bus_cut";
                        select.short name="value" disabled[off] aria-label="Cut the bus of a server: which one" {
                            @for server in context.panel.api.servers.names() { option value=(server.as_str()) { "server " (server.as_str()) } }
                        }
                        button.btn type="submit" disabled[off] title=[context.reason()] aria-label="Switch on: Cut the bus of a server" { "Switch on" }
                    }
                }
            }
        }
    }
}

fn line(context: &PageContext<'_>, fault: &Fault) -> Markup {
    let off = !context.operates();
    html! {
        li.is-on[fault.on] data-key=(fault.name) {
            div { b { (fault.words) } span.m.s { (fault.place) } }
            p { (fault.shows) }
            div.row {
                @if fault.on {
                    span.chip.on { @match fault.millis { Some(millis) => { (millis) " ms" }, None => "on" } }
                    button.btn type="button" data-post="/faults" disabled[off] title=[context.reason()] aria-label=(format!("Lift: {}", fault.words))
                        data-body=(format!("fault={}&value={}", fault.name, if fault.millis.is_some() { "0" } else { "false" })) { "Lift" }
                } @else {
                    form.row data-form="/faults" {
                        input type="hidden" name="fault" value=(fault.name);
                        @if fault.millis.is_some() {
                            input.short type="number" name="value" value=(fault.default) min="1" max="10000" required disabled[off] aria-label=(format!("{}: ms", fault.words));
                            span.m { "ms" }
                        } @else {
                            input type="hidden" name="value" value=(fault.default);
                        }
                        button.btn type="submit" disabled[off] title=[context.reason()] aria-label=(format!("Switch on: {}", fault.words)) { "Switch on" }
                    }
                }
            }
        }
    }
}
