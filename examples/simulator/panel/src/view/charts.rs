//! The card of the charts. The script draws them; it is sent samples, and no markup.

use maud::{Markup, html};

use super::context::PageContext;
use super::explain::explain;

/// Lengths of time that can be shown, in seconds, and their names.
const SPANS: [(u32, &str); 3] = [(60, "60 s"), (300, "5 min"), (600, "10 min")];

/// Says why the charts have gaps although the API responds.
pub(super) fn unmeasured(context: &PageContext<'_>) -> Markup {
    html! { @if let Some(why) = context.panel.numbers.not_measured() { p.pad.warn data-unmeasured { (why) } } }
}

/// `unmeasured` is the part of that name.
pub(super) fn charts(unmeasured: Option<&Markup>) -> Markup {
    html! {
        section.card data-place="4" aria-labelledby="h-charts" {
            div.hd {
                h2 #h-charts { "Charts" }
                span.m.s data-shown {}
                span.grow {}
                div.row role="group" aria-label="Time shown" {
                    @for (seconds, words) in SPANS {
                        button.btn.q type="button" data-span=(seconds) aria-pressed=(seconds == SPANS[0].0) { (words) }
                    }
                    button.btn.q type="button" data-follow hidden { "Reset" }
                }
            }
            p #chart-keys.vh { "Arrow keys look at one sample after another, plus and minus zoom, Escape goes back to the present." }
            div data-part="unmeasured" { @if let Some(markup) = unmeasured { (markup) } }
            div.charts #charts {}
            (explain("charts"))
        }
    }
}
