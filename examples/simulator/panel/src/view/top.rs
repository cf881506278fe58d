//! The top of every page: the verdict, the mode, and what is wrong.

use maud::{Markup, html};
use simulator_model::domain::Mode;
use simulator_model::server_name::ServerName;

use super::context::PageContext;
use super::icon::icon;
use super::text::countdown;
use crate::moment::{Slow, Switch};
use crate::verdict::{Verdict, Word};

/// Maximum number of changes of the mode that are shown.
const SWITCHES_SHOWN: usize = 20;

/// What is wrong, and what to do about it.
struct Banner {
    /// The name of a fault's switch, or of what does not respond: it stays the same when the text changes.
    cause: &'static str,
    head: String,
    advice: String,
}

impl Banner {
    fn new(cause: &'static str, head: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { cause, head: head.into(), advice: advice.into() }
    }
}

/// Renders what is wrong and what to do about it. Injected faults come first: they explain the rest.
pub(super) fn banner(context: &PageContext<'_>) -> Markup {
    let faults = faults(context);
    let outage = outage(context);
    html! {
        @for Banner { cause, head, advice } in &faults {
            div.banner.soft data-cause=(cause) { (icon("tri")) span { b { (head) } " " (advice) } }
        }
        @if let Some(Banner { cause, head, advice }) = &outage {
            div.banner data-cause=(cause) { (icon("sq")) span { b { (head) } " " (advice) } }
        }
        @if outage.is_none() { (super::connector::elsewhere(context)) }
    }
}

/// Returns the faults that are switched on.
fn faults(context: &PageContext<'_>) -> Vec<Banner> {
    let faults = context.moment.faults;
    let (store_ms, database_ms, lag_ms) = (faults.store_delay_ms, faults.database_delay_ms, faults.replica_lag_ms);
    let server = faults.bus_cut.map_or("", ServerName::as_str);
    let all = [
        (
            faults.bus_cut.is_some(),
            "bus_cut",
            format!("Server {server} of every process is cut off from the bus"),
            "after 2 s without a message it serves nothing from its own memory; other servers go on. Lift it.",
        ),
        (
            faults.pause_consumer,
            "pause_consumer",
            "The consumer is paused".to_owned(),
            "changes wait, and entries grow stale. Lift it and everything heals.",
        ),
        (
            faults.freeze_stream,
            "freeze_stream",
            "The stream is frozen".to_owned(),
            "changes wait in the log, and nothing is lost. Lift it and everything heals.",
        ),
        (
            faults.drop_events,
            "drop_events",
            "Events are dropped".to_owned(),
            "what changes now stays stale until it expires. Lift it.",
        ),
        (
            faults.store_cut,
            "store_cut",
            "The shared store is cut off".to_owned(),
            "reads go to the database and stay right. Lift it.",
        ),
        (
            store_ms > 0,
            "store_delay_ms",
            format!("The shared store is delayed by {store_ms} ms"),
            "from 100 ms on most reads go to the database at once. Lift it.",
        ),
        (
            database_ms > 0,
            "database_delay_ms",
            format!("The database is slowed down by {database_ms} ms"),
            "misses and writes take longer. Lift it.",
        ),
        (
            lag_ms > 0,
            "replica_lag_ms",
            format!("Loads read a replica that is {lag_ms} ms behind"),
            match context.moment.pipeline.built_with.fenced {
                true => "the caches are fenced, so what it lacks is returned and not kept. Lift it.",
                false => {
                    "the caches are not fenced, so an older row may be cached after its invalidation and stay stale. Lift it, \
                     or start with CACHEFRONT_FENCED=true."
                }
            },
        ),
    ];
    let banner = |(_, cause, head, advice)| Banner::new(cause, format!("{head} by a fault switch:"), advice);
    all.into_iter().filter(|(is_on, ..)| *is_on).map(banner).collect()
}

/// Returns what does not respond, unless an injected fault explains it.
fn outage(context: &PageContext<'_>) -> Option<Banner> {
    let (moment, faults) = (context.moment, context.moment.faults);
    let embedded = moment.pipeline.embedded;
    if moment.database_away {
        let advice = match embedded {
            true => "Is the file in CACHEFRONT_DATA_DIR readable, and does no other program lock it?",
            false => "Is it up, and does CACHEFRONT_MYSQL_URL name it?",
        };
        let advice = format!("{advice} Reads go on from what the cache can prove.");
        return Some(Banner::new("database_away", "The database does not respond.", advice));
    }
    if moment.store_away && !faults.store_cut && faults.store_delay_ms == 0 {
        let advice = match embedded {
            true => "It is memory of this process: start the program again.",
            false => "Is it up, and does CACHEFRONT_REDIS_URL name it?",
        };
        let advice = format!("{advice} Reads go to the database.");
        return Some(Banner::new("store_away", "The shared store does not respond.", advice));
    }
    if moment.slow == Some(Slow::Store) && faults.store_delay_ms == 0 {
        let advice = "Entries cannot be compared in time. Is its server, or the network to it, too busy?";
        return Some(Banner::new("store_slow", "The shared store responds too slowly.", advice));
    }
    if let Some(cause) = &moment.api_silent {
        return Some(Banner::new("api_silent", "What the API holds is not known.", cause.clone()));
    }
    let excused = faults.pause_consumer || faults.store_cut || faults.store_delay_ms > 0;
    (!moment.pipeline.running && !excused).then(|| {
        let advice = "Start a consumer (role consumer, or up). Until then nothing is invalidated: reads that ask for proof \
                      go to the database.";
        Banner::new("capture_silent", "The change capture is silent.", advice)
    })
}

/// Renders the verdict: inconspicuous when healthy, prominent when stale.
pub(super) fn verdict(context: &PageContext<'_>) -> Markup {
    verdict_of(&context.moment.verdict)
}

/// Renders a verdict of any moment.
pub(super) fn verdict_of(verdict: &Verdict) -> Markup {
    let counts = &verdict.counts;
    let kept = verdict.compared;
    let sign = match verdict.word {
        Word::Healthy => "ok",
        Word::Stale => "tri",
        Word::Empty => "abs",
        Word::Unknown => "unk",
    };
    let advice = match verdict.word {
        Word::Healthy if !verdict.complete => {
            format!("{kept} cached entries were compared, a moving sample: all equal the database.")
        }
        Word::Healthy if kept == 1 => "The one cached entry equals the database.".to_owned(),
        Word::Healthy => format!("All {kept} cached entries equal the database."),
        Word::Stale => {
            let oldest = verdict.oldest.map(|oldest| format!(" · oldest {}", countdown(oldest))).unwrap_or_default();
            let differ = if verdict.stale == 1 { "differs" } else { "differ" };
            let sample = if verdict.complete { "" } else { ", a moving sample," };
            let what = if kept == 1 { "cached entry" } else { "cached entries" };
            format!("{} of {kept} {what}{sample} {differ} from the database{oldest}", verdict.stale)
        }
        Word::Empty => "Nothing is cached. Read a user, or let the guided demo do it.".to_owned(),
        Word::Unknown => verdict.cause.clone().unwrap_or_else(|| "Nothing can be proven.".to_owned()),
    };
    html! {
        div.verdict.(format!("is-{}", verdict.word.as_str())) data-verdict=(verdict.word.as_str())
            data-compared=(kept) data-differing=(verdict.stale) {
            (icon(sign))
            div { h1 { (verdict.words) } p { (advice) }
                @if let (Word::Stale, Some(cause)) = (verdict.word, &verdict.cause) { p.vh { (cause) } }
            }
            @if matches!(verdict.word, Word::Healthy | Word::Stale) {
                dl {
                    div { dt { "healthy" } dd { (counts.healthy) } }
                    div { dt { "stale" } dd { (counts.stale) } }
                    div { dt { "absent" } dd { (counts.absent) } }
                    div { dt { "negative" } dd { (counts.negative) } }
                }
            }
        }
    }
}

/// Renders the two modes. Switching to the other one asks for confirmation.
pub(super) fn mode(context: &PageContext<'_>) -> Markup {
    let row = &context.moment.mode;
    let ttl = countdown(context.panel.ttl);
    let choice = |mode: Mode, name: &str, words: &str, warning: &str| {
        let on = row.mode == mode;
        let body = format!("mode={}&version={}", mode.as_str(), row.version);
        html! {
            button.choice type="button" aria-pressed=(on) data-mode=(mode.as_str()) disabled[context.mode_reason().is_some()]
                title=[context.mode_reason()] data-comparing[context.panel.runs.is_comparing()]
                data-ask=[(!on).then(|| format!("Switch to {name}?"))]
                data-text=[(!on).then_some(warning)]
                data-note=[(!on).then(|| format!("Version {} → {}", row.version, row.version + 1))]
                data-yes=[(!on).then(|| format!("Switch to {name}"))]
                data-action="/mode" data-body=(body) {
                (icon(if on { "now" } else { "empty" }))
                b { (name) }
                small { (words) }
            }
        }
    };
    html! {
        div.mode role="group" aria-label="Cache mode" {
            (choice(Mode::Ttl, "TTL", "stale until the entry expires",
                &format!("Reads will serve old values until their entries expire, up to {ttl} after a write. In force here at once, in every role within 1 s.")))
            (choice(Mode::Cdc, "CDC", "every commit invalidates at once",
                "Each commit will invalidate its keys. Stale entries heal at once. In force here at once, in every role within 1 s."))
            button.btn.q.history type="button" data-open="history" {
                b { "v" (row.version) } "History"
            }
        }
    }
}

/// The changes of the mode, for the dialog.
pub(super) fn history(context: &PageContext<'_>) -> Markup {
    let row = &context.moment.mode;
    html! {
        p { "In force: " b { (row.mode.as_str().to_uppercase()) } ", v" (row.version) " since " span.mono { (row.changed_at) } }
        @if let Some(before) = context.moment.history.iter().find(|before| before.row.mode != row.mode) {
            @let name = before.row.mode.as_str().to_uppercase();
            button.btn type="button" data-ask=(format!("Switch back to {name}?")) data-action="/mode"
                data-text=(format!("{name} was in force before, as v{}. In force here at once, in every role within 1 s.", before.row.version))
                data-note=(format!("Version {} → {}", row.version, row.version + 1)) data-yes=(format!("Switch back to {name}"))
                data-body=(format!("mode={}&version={}", before.row.mode.as_str(), row.version))
                disabled[context.mode_reason().is_some()] title=[context.mode_reason()] { "Switch back to " (name) }
        }
        ol.history-list {
            @for Switch { row, who } in context.moment.history.iter().take(SWITCHES_SHOWN) {
                li data-key=(row.version) {
                    b { "v" (row.version) } span { (row.mode.as_str().to_uppercase()) }
                    span.m { span.mono { (row.changed_at) } @if let Some(who) = who { " by " b { (who) } } }
                }
            }
        }
    }
}
