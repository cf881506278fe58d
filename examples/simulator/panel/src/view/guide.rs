//! The tour of the live page at the first visit: a step for each card, in the order in which they make sense.
//! The script shows one at a time, next to its card.

use maud::{Markup, html};

/// One step.
struct Step {
    /// Selector of what it points at.
    at: &'static str,
    head: &'static str,
    text: &'static str,
}

/// To read them all takes about a minute.
const STEPS: [Step; 8] = [
    Step {
        at: "[data-part=verdict]",
        head: "Is the cache right?",
        text: "Every cached entry is compared with its database row, over and over. Here is the result: healthy, or how many are stale.",
    },
    Step {
        at: "[data-part=mode]",
        head: "Two ways to keep it right",
        text: "By age (TTL): old values are served until they expire. Or by the database's change log (CDC): each commit removes what it changed.",
    },
    Step {
        at: ".users",
        head: "Rows and entries",
        text: "Each user as the database has it, next to what the cache would serve. Write one, and watch the two differ, or not.",
    },
    Step {
        at: ".demo",
        head: "See it happen",
        text: "Two buttons, two short demos: first a stale read by age, then the same change with the log. Every step is timed.",
    },
    Step {
        at: ".pipe",
        head: "The way of a change",
        text: "From the commit to the memory of this process, with the time that each part took.",
    },
    Step {
        at: ".flt",
        head: "Break something",
        text: "The buttons below each part slow it down, pause it or cut it off. The verdict above stays true meanwhile.",
    },
    Step {
        at: ".charts",
        head: "What it costs",
        text: "Hits, database loads, lag and staleness over time. Point at a chart for its values; start some load to see them move.",
    },
    Step {
        at: ".tabs",
        head: "And there is more",
        text: "Every key of the store, races played step by step, all faults, and who did what. Explain, at the right, shows or hides the texts.",
    },
];

pub(super) fn guide() -> Markup {
    html! {
        div #guide-mark hidden {}
        div #guide role="dialog" aria-labelledby="guide-head" aria-describedby="guide-text" hidden {
            @for (number, step) in STEPS.iter().enumerate() {
                template data-at=(step.at) data-head=(step.head) data-number=(number + 1) { (step.text) }
            }
            div aria-live="polite" {
                p.m.s { "Step " span data-step { "1" } " of " (STEPS.len()) }
                h2 #guide-head {}
                p #guide-text {}
            }
            div.row {
                button.btn.q type="button" data-guide="end" { "Skip the tour" }
                span.grow {}
                button.btn type="button" data-guide="back" { "Back" }
                button.btn.pri type="button" data-guide="next" { "Next" }
            }
        }
    }
}

/// Renders the button that starts the tour again.
pub(super) fn start() -> Markup {
    html! { p.pad { button.btn.q type="button" data-guide="start" { "Tour of this page, one minute" } } }
}
