//! What a card shows, in a sentence or two of plain English: terms are defined on hover and focus, and a link leads to the page
//! that says more. One button hides all of it.

use maud::{Markup, html};

const DOCS: &str = "https://github.com/cachefront/cachefront/blob/main/docs/";

/// The text of a card. A word in braces is one of [`TERMS`].
struct Text {
    card: &'static str,
    text: &'static str,
    /// The page that says more, and what about.
    more: (&'static str, &'static str),
}

const TEXTS: [Text; 15] = [
    Text {
        card: "verdict",
        text: "Every cached entry is compared with its row. Stale means that a reader is served an old value.",
        more: ("guarantees.md", "guarantees"),
    },
    Text {
        card: "mode",
        text: "TTL serves an entry until its time is over, whatever was committed. CDC removes it when its row changes.",
        more: ("simulator.md", "modes"),
    },
    Text {
        card: "pipeline",
        text: "Each commit is in the database's own log. The consumer reads it there, waits at the {gate}, removes what the commit \
               has made old from the store, and tells every process over the {bus}. So a writer need not know of the cache.",
        more: ("simulator.md", "the pipeline"),
    },
    Text {
        card: "charts",
        text: "Reads without a load, loads of the database, the time from a commit to its removal, the age of the oldest wrong \
               value, and the time of a request. Comparisons and sweeps \
               read through caches of their own, which are not counted here. Point at a chart for its values, drag to zoom in.",
        more: ("observability.md", "metrics"),
    },
    Text {
        card: "users",
        text: "The rows of the database next to what the cache would serve. The {position} says which commits a value is known \
               to contain.",
        more: ("guarantees.md", "what a value proves"),
    },
    Text {
        card: "demo",
        text: "Each demo changes one row and reads it again. In TTL mode the old value is served until it expires; in CDC mode \
               the commit itself removes it.",
        more: ("simulator.md", "the demos"),
    },
    Text {
        card: "load",
        text: "Requests at a fixed rate, which do not wait for slow responses: so a stall is measured, and not hidden.",
        more: ("simulator.md", "load"),
    },
    Text {
        card: "experiment",
        text: "The same requests for each way to keep a cache: by age, by age with a reload in the background, and by the log. \
               Compare the stale reads and the loads.",
        more: ("simulator.md", "the experiment"),
    },
    Text {
        card: "events",
        text: "The changes that the consumer has read, newest first, each with the time from its commit to its removal.",
        more: ("simulator.md", "events"),
    },
    Text {
        card: "cache",
        text: "Every key of the store, shown without a load. An entry says in which {generation} it is valid, who holds its {lease}, \
               and with its {position} what the value contains.",
        more: ("protocol.md", "entries"),
    },
    Text {
        card: "faults",
        text: "Each switch breaks one part on purpose. Watch the verdict and the {watermark}: proofs end before a proof is wrong.",
        more: ("simulator.md", "faults"),
    },
    Text {
        card: "sweep",
        text: "The same seeded requests for each TTL (lifetime of entries), and in CDC mode: a longer TTL saves database reads, and \
               serves older values. A TTL above the length of one measurement never expires in it, and the result says so.",
        more: ("simulator.md", "the sweep"),
    },
    Text {
        card: "kept",
        text: "Every load, A/B run and sweep that has ended, with its key figures. Choose a measurement as A and one as B to see \
               their differences; the address of the comparison can be shared.",
        more: ("simulator.md", "kept runs"),
    },
    Text {
        card: "compare",
        text: "Each figure of both measurements, how much B differs from A, and their curves over the same seconds. Only if the \
               loads and the seeds are the same is a difference one of the cache. Two shares differ by percentage points.",
        more: ("simulator.md", "kept runs"),
    },
    Text {
        card: "audit",
        text: "Who changed what, when and from where, and what was refused.",
        more: ("simulator.md", "accounts"),
    },
];

/// Terms that the texts use, as in `docs/glossary.md`.
const TERMS: [(&str, &str); 6] = [
    ("bus", "The stream that tells every process what was invalidated, with a sequence so that losses are noticed."),
    (
        "gate",
        "The wait until a commit is visible on every server that loaders read: else the old value could be loaded again.",
    ),
    (
        "generation",
        "A random number that stands for everything since the last flush: a new one makes all entries misses.",
    ),
    (
        "lease",
        "The right to fill one key. An invalidation revokes it, so a load that began before cannot store an old value.",
    ),
    ("position", "The set of transactions that are contained, by their identifiers."),
    ("watermark", "The newest moment at which everything that was committed is known to be applied."),
];

/// Renders the text of a card; empty for a card without one.
pub(super) fn explain(card: &str) -> Markup {
    let found = TEXTS.iter().find(|text| text.card == card);
    html! {
        @if let Some(Text { text, more: (page, about), .. }) = found {
            p.explain data-explains=(card) {
                @for (at, part) in text.split(['{', '}']).enumerate() {
                    @if at % 2 == 0 { (part) } @else { (term(part)) }
                }
                " "
                a href=(format!("{DOCS}{page}")) target="_blank" rel="noreferrer" { "More on " (about) }
            }
        }
    }
}

fn term(word: &str) -> Markup {
    let meaning = TERMS.iter().find(|(term, _)| *term == word).map(|(_, meaning)| *meaning);
    html! { abbr.term tabindex="0" title=[meaning] { (word) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_term_is_defined_and_used() {
        let used: Vec<&str> = TEXTS.iter().flat_map(|text| text.text.split(['{', '}']).skip(1).step_by(2)).collect();
        for term in &used {
            assert!(TERMS.iter().any(|(name, _)| name == term), "`{term}` has no definition");
        }
        for (name, _) in TERMS {
            assert!(used.contains(&name), "`{name}` is in no text");
        }
    }

    #[test]
    fn a_text_has_its_terms_and_a_link() {
        let pipeline = explain("pipeline").into_string();
        assert!(pipeline.contains("<abbr class=\"term\" tabindex=\"0\" title=\"The wait until"), "{pipeline}");
        assert!(pipeline.contains("docs/simulator.md\"") && !pipeline.contains('{'), "{pipeline}");
        assert!(explain("banner").into_string().is_empty());
    }
}
