//! The hops of a write as bars on one time axis.

use maud::{Markup, html};
use simulator_model::writes::{Hop, HopName, WRITES_MAX, WriteView};

use super::text::{millis, short};

/// A read that ends beyond this many times the length of the other hops is not drawn to scale: it would hide them.
const READ_TIMES_MAX: f64 = 2.0;

/// The shortest bar, in percent of the axis.
const BAR_MIN: f64 = 0.6;

pub(crate) fn write(write: &WriteView) -> Markup {
    let axis = axis(&write.hops);
    let is_measured = |name| write.hops.iter().any(|hop| hop.hop == name && hop.to_ms.is_some());
    // The push of a write that invalidated nothing never comes.
    let is_complete = is_measured(HopName::FirstRead) && (is_measured(HopName::Push) || !is_measured(HopName::Removal));
    html! {
        div.write data-write-shown data-complete[is_complete] {
            h2 #write-title { "The way of a write" }
            p { b { (write.op) } " " (write.table) ": " span.mono { (write.keys.join(", ")) } }
            p.m.s { "Transaction " span.mono title=(write.position) { (short(&write.position)) }
                @if let Some(at) = &write.began_at { ", first known at " span.mono { (at) } } }
            ol.hops {
                @for hop in &write.hops { (line(hop, axis)) }
            }
            p.m.s { "The axis ends " (millis(axis)) " after that. Each time is by the clock of its part; commit and queue are kept to the millisecond." }
            div.row { span.grow {} button.btn.lg type="button" data-close { "Close" } }
        }
    }
}

pub(crate) fn forgotten() -> Markup {
    html! {
        div.write data-write-shown data-complete {
            h2 #write-title { "The way of a write" }
            p { "What happened to this write is not known here any more: the last " (WRITES_MAX) " are kept, and a restart keeps none." }
            div.row { span.grow {} button.btn.lg type="button" data-close { "Close" } }
        }
    }
}

/// Returns the length of the axis in ms.
fn axis(hops: &[Hop]) -> f64 {
    let end = |read: bool| {
        let ends = hops.iter().filter(|hop| (hop.hop == HopName::FirstRead) == read).filter_map(|hop| hop.to_ms);
        ends.fold(0.0, f64::max)
    };
    let (others, read) = (end(false), end(true));
    let whole = if read <= others * READ_TIMES_MAX || others == 0.0 { read.max(others) } else { others * 1.25 };
    whole.max(0.001)
}

fn name(hop: HopName) -> &'static str {
    match hop {
        HopName::Captured => "captured",
        HopName::Queued => "queued",
        HopName::Read => "read",
        HopName::Gate => "gate",
        HopName::Removal => "removal",
        HopName::Push => "push",
        HopName::FirstRead => "first read after",
    }
}

fn line(hop: &Hop, axis: f64) -> Markup {
    html! {
        li data-hop=(hop.hop.as_str()) data-measured[hop.to_ms.is_some()] {
            span.b { (name(hop.hop)) }
            @match (hop.from_ms, hop.to_ms) {
                (Some(from), Some(to)) => {
                    (bar(from, to, axis))
                    span.at { b { (millis((to - from).max(0.0))) } " " span.m { "until " (millis(to)) @if from > axis { " →" } } }
                }
                _ => {
                    svg.none aria-hidden="true" {}
                    span.m { "not measured: " (hop.not_measured.unwrap_or_default()) }
                }
            }
        }
    }
}

/// Renders a bar. One that begins beyond the axis is an arrow at its end.
fn bar(from: f64, to: f64, axis: f64) -> Markup {
    let percent = |ms: f64| (ms / axis * 100.0).clamp(0.0, 100.0);
    let beyond = from > axis;
    let begin = if beyond { 97.0 } else { percent(from).min(100.0 - BAR_MIN) };
    let width = if beyond { 3.0 } else { (percent(to) - begin).max(BAR_MIN) };
    html! {
        svg aria-hidden="true" data-beyond[beyond] {
            rect.span.beyond[beyond] x=(format!("{begin:.2}%")) width=(format!("{width:.2}%")) height="100%" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(hop: HopName, span: Option<(f64, f64)>) -> Hop {
        let not_measured = span.is_none().then_some("it was not watched");
        Hop { hop, from_ms: span.map(|(from, _)| from), to_ms: span.map(|(_, to)| to), not_measured }
    }

    #[test]
    fn a_late_read_does_not_hide_the_other_hops() {
        let removal = hop(HopName::Removal, Some((2.0, 10.0)));
        let near = hop(HopName::FirstRead, Some((12.0, 15.0)));
        let far = hop(HopName::FirstRead, Some((3_000.0, 3_001.0)));
        assert_eq!(axis(&[removal.clone(), near]), 15.0);
        assert_eq!(axis(&[removal.clone(), far.clone()]), 12.5);
        assert!(line(&far, 12.5).into_string().contains("data-beyond"));
        assert!(line(&removal, 12.5).into_string().contains("x=\"16.00%\" width=\"64.00%\""));
    }

    #[test]
    fn a_hop_that_was_not_measured_has_no_bar() {
        let text = line(&hop(HopName::Push, None), 10.0).into_string();
        assert!(text.contains("not measured: it was not watched") && !text.contains("<rect"), "{text}");
    }
}
