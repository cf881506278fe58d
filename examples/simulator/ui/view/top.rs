//! What stands above everything: the verdict, the mode, and what is wrong.

use maud::{Markup, html};

use super::Scene;
use super::icon::icon;
use super::text::countdown;
use crate::domain::Mode;
use crate::ui::verdict::Word;

/// So many changes of the mode are shown.
const SWITCHES_SHOWN: usize = 20;

/// What is wrong and what to do, if anything is.
pub(super) fn banner(scene: &Scene<'_>) -> Markup {
    let moment = scene.moment;
    let (head, advice) = if moment.database_away {
        (
            "The database does not answer.",
            "Is it up, and does CACHEFRONT_MYSQL_URL name it? Reads go on from what the cache can prove.",
        )
    } else if moment.store_away {
        (
            "The shared store does not answer.",
            "Is it up, and does CACHEFRONT_REDIS_URL name it? Reads go to the database.",
        )
    } else if moment.faults.pause_consumer {
        return warning(
            "The consumer is paused",
            "by a fault switch: changes wait, and entries grow stale. Lift it and everything heals.",
        );
    } else if moment.faults.drop_events {
        return warning(
            "Events are dropped",
            "by a fault switch: what changes now stays stale until it expires. Lift it.",
        );
    } else if !moment.pipeline.running {
        (
            "The change capture is silent.",
            "Start a consumer (role consumer, or up). Until then nothing is invalidated: reads that ask for proof go to the database.",
        )
    } else {
        return super::connector::elsewhere(scene);
    };
    html! { div.banner { (icon("sq")) span { b { (head) } " " (advice) } } }
}

fn warning(head: &str, advice: &str) -> Markup {
    html! { div.banner.soft { (icon("tri")) span { b { (head) } " " (advice) } } }
}

/// The verdict: quiet when healthy, loud when stale.
pub(super) fn verdict(scene: &Scene<'_>) -> Markup {
    let verdict = &scene.moment.verdict;
    let counts = &verdict.counts;
    let kept = verdict.compared;
    let sign = match verdict.word {
        Word::Healthy => "ok",
        Word::Stale => "tri",
        Word::Empty => "abs",
        Word::Unknown => "unk",
    };
    let advice = match verdict.word {
        Word::Healthy if kept == 1 => "The one cached entry equals the database.".to_owned(),
        Word::Healthy => format!("All {kept} cached entries equal the database."),
        Word::Stale => {
            let oldest = verdict.oldest.map(|oldest| format!(" · oldest {}", countdown(oldest))).unwrap_or_default();
            let differ = if verdict.stale == 1 { "differs" } else { "differ" };
            format!("{} of {kept} cached entries {differ} from the database{oldest}", verdict.stale)
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

/// The two modes; the other one is asked for before it is switched to.
pub(super) fn mode(scene: &Scene<'_>) -> Markup {
    let row = &scene.moment.mode;
    let ttl = countdown(scene.panel.ttl);
    let choice = |mode: Mode, name: &str, words: &str, warning: &str| {
        let on = row.mode == mode;
        let body = format!("mode={}&version={}", mode.as_str(), row.version);
        html! {
            button.choice type="button" aria-pressed=(on) data-mode=(mode.as_str()) disabled[scene.mode_reason().is_some()]
                title=[scene.mode_reason()]
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
pub(super) fn history(scene: &Scene<'_>) -> Markup {
    let row = &scene.moment.mode;
    html! {
        p { "In force: " b { (row.mode.as_str().to_uppercase()) } ", v" (row.version) " since " span.mono { (row.changed_at) } }
        @if let Some(before) = scene.moment.history.iter().find(|before| before.mode != row.mode) {
            @let name = before.mode.as_str().to_uppercase();
            button.btn type="button" data-ask=(format!("Switch back to {name}?")) data-action="/mode"
                data-text=(format!("{name} was in force before, as v{}. In force here at once, in every role within 1 s.", before.version))
                data-note=(format!("Version {} → {}", row.version, row.version + 1)) data-yes=(format!("Switch back to {name}"))
                data-body=(format!("mode={}&version={}", before.mode.as_str(), row.version))
                disabled[scene.mode_reason().is_some()] title=[scene.mode_reason()] { "Switch back to " (name) }
        }
        ol.history-list {
            @for row in scene.moment.history.iter().take(SWITCHES_SHOWN) {
                li data-key=(row.version) {
                    b { "v" (row.version) } span { (row.mode.as_str().to_uppercase()) } span.mono.m { (row.changed_at) }
                }
            }
        }
    }
}
