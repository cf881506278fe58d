//! The top of every page: the verdict, the mode, and what is wrong.

use maud::{Markup, html};
use simulator_model::domain::Mode;

use super::context::PageContext;
use super::icon::icon;
use super::text::countdown;
use crate::moment::{Slow, Switch};
use crate::verdict::Word;

/// Maximum number of changes of the mode that are shown.
const SWITCHES_SHOWN: usize = 20;

/// Renders what is wrong and what to do about it. Injected faults come first: they explain the rest.
pub(super) fn banner(context: &PageContext<'_>) -> Markup {
    let faults = faults(context);
    let outage = outage(context);
    html! {
        @for (head, advice) in &faults { div.banner.soft { (icon("tri")) span { b { (head) } " " (advice) } } }
        @if let Some((head, advice)) = &outage { div.banner { (icon("sq")) span { b { (head) } " " (advice) } } }
        @if outage.is_none() { (super::connector::elsewhere(context)) }
    }
}

/// Returns the faults that are switched on.
fn faults(context: &PageContext<'_>) -> Vec<(String, &'static str)> {
    let faults = context.moment.faults;
    let words = |head: &str| format!("{head} by a fault switch:");
    let mut on = Vec::new();
    if faults.pause_consumer {
        on.push((
            words("The consumer is paused"),
            "changes wait, and entries grow stale. Lift it and everything heals.",
        ));
    }
    if faults.freeze_stream {
        on.push((
            words("The stream is frozen"),
            "changes wait in the log, and nothing is lost. Lift it and everything heals.",
        ));
    }
    if faults.drop_events {
        on.push((words("Events are dropped"), "what changes now stays stale until it expires. Lift it."));
    }
    if faults.store_cut {
        on.push((words("The shared store is cut off"), "reads go to the database and stay right. Lift it."));
    }
    if faults.store_delay_ms > 0 {
        let head = format!("The shared store is delayed by {} ms", faults.store_delay_ms);
        on.push((words(&head), "from 100 ms on most reads go to the database at once. Lift it."));
    }
    if faults.database_delay_ms > 0 {
        let head = format!("The database is slowed down by {} ms", faults.database_delay_ms);
        on.push((words(&head), "misses and writes take longer. Lift it."));
    }
    on
}

/// Returns what does not respond, unless an injected fault explains it.
fn outage(context: &PageContext<'_>) -> Option<(&'static str, String)> {
    let (moment, faults) = (context.moment, context.moment.faults);
    let embedded = moment.pipeline.embedded;
    if moment.database_away {
        let advice = match embedded {
            true => "Is the file in CACHEFRONT_DATA_DIR readable, and does no other program lock it?",
            false => "Is it up, and does CACHEFRONT_MYSQL_URL name it?",
        };
        return Some(("The database does not answer.", format!("{advice} Reads go on from what the cache can prove.")));
    }
    if moment.store_away && !faults.store_cut && faults.store_delay_ms == 0 {
        let advice = match embedded {
            true => "It is memory of this process: start the program again.",
            false => "Is it up, and does CACHEFRONT_REDIS_URL name it?",
        };
        return Some(("The shared store does not answer.", format!("{advice} Reads go to the database.")));
    }
    if moment.slow == Some(Slow::Store) && faults.store_delay_ms == 0 {
        let advice = "Entries cannot be compared in time. Is its server, or the network to it, too busy?";
        return Some(("The shared store answers too slowly.", advice.into()));
    }
    if let Some(cause) = &moment.api_silent {
        return Some(("What the API holds is not known.", cause.clone()));
    }
    let excused = faults.pause_consumer || faults.store_cut || faults.store_delay_ms > 0;
    (!moment.pipeline.running && !excused).then(|| {
        let advice = "Start a consumer (role consumer, or up). Until then nothing is invalidated: reads that ask for proof \
                      go to the database.";
        ("The change capture is silent.", advice.into())
    })
}

/// Renders the verdict: inconspicuous when healthy, prominent when stale.
pub(super) fn verdict(context: &PageContext<'_>) -> Markup {
    let verdict = &context.moment.verdict;
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
        div.verdict.(format!("is-{}", verdict.word.as_str())) data-verdict=(verdict.word.as_str()) {
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
                title=[context.mode_reason()]
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
