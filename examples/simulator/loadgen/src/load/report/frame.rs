//! The page around every report, in one file, and the elements that reports share.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::chart::Chart;
use crate::load::tally::Quantiles;
use crate::load::threshold::Judged;
use crate::uplot;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("charts.js");

/// Content security policy of a report, which fetches nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// Appearance of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
    /// Uncertain, for a reason given next to it.
    Warn,
    Plain,
}

/// Renders the whole page.
pub fn frame(title: &str, started_at: &str, body: &Markup, charts: &[Chart]) -> String {
    // Escaped, so that text in the data cannot close the script element.
    let data = serde_json::to_string(charts).unwrap_or_default().replace('<', "\\u003c");
    let moment = started_at.split('.').next().unwrap_or_default().replace('T', " ");
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) " · cachefront" }
                link rel="icon" href="data:,";
                style { (PreEscaped(uplot::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header { b { "cachefront" } span { (title) } span.muted { (moment) " UTC" } }
                    (body)
                    footer { "Charts: uPlot, MIT licence. This file needs no network and sends nothing." }
                }
                script type="application/json" id="charts" { (PreEscaped(data)) }
                (PreEscaped(format!("<script>/*\n{}*/\n{}</script>", uplot::LICENCE, uplot::SCRIPT)))
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// Renders the verdict, the first element of the page.
pub fn verdict(tone: Tone, title: &str, sentence: &str) -> Markup {
    let class = match tone {
        Tone::Good => "met",
        Tone::Bad => "missed",
        Tone::Warn => "warned",
        Tone::Plain => "plain",
    };
    html! {
        section.verdict.(class) {
            (icon(tone))
            div { h1 { (title) } p { (sentence) } }
        }
    }
}

/// Renders goals with their measurements. Text and icons repeat what the colour says.
pub fn goals(goals: &[Judged]) -> Markup {
    html! {
        ul.chips { @for goal in goals {
            li.met[goal.met].missed[!goal.met] {
                (icon(if goal.met { Tone::Good } else { Tone::Bad }))
                span { (goal.threshold) ": " (if goal.met { "met" } else { "missed" }) ", " (goal.shown) }
            }
        } }
    }
}

fn icon(tone: Tone) -> Markup {
    html! {
        svg viewBox="0 0 24 24" aria-hidden="true" {
            circle cx="12" cy="12" r="10" {}
            @match tone {
                Tone::Good => path d="M7.5 12.5l3 3 6-7" {},
                Tone::Bad | Tone::Warn => path d="M12 7v6M12 16.5v.01" {},
                Tone::Plain => path d="M12 8v.01M12 11v5.5" {},
            }
        }
    }
}

/// Renders a table of quantiles, without rows that have no values.
pub fn quantiles(rows: &[(&str, Quantiles)]) -> Markup {
    let ms = |value: f64| span(value);
    html! {
        div.scroll { table.quantiles {
            thead { tr { th {} th { "count" } th { "p50" } th { "p90" } th { "p99" } th { "p99.9" } th { "max" } } }
            tbody { @for (name, of) in rows.iter().filter(|(_, of)| of.count > 0) {
                tr {
                    td { (name) } td { (of.count) } td { (ms(of.p50_ms)) } td { (ms(of.p90_ms)) } td { (ms(of.p99_ms)) }
                    td { (ms(of.p999_ms)) } td { (ms(of.max_ms)) }
                }
            } }
        } }
    }
}

/// Renders names and values.
pub fn facts(facts: &[(&str, String)]) -> Markup {
    html! { dl.facts { @for (name, value) in facts { dt { (name) } dd { (value) } } } }
}

/// Formats a time in ms or s.
pub fn span(ms: f64) -> String {
    match ms {
        ms if ms >= 1_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.1} ms"),
    }
}
