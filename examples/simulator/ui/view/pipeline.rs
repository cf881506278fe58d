//! The way of a change, from the database to the caches.

use maud::{Markup, html};

use super::Scene;
use super::icon::icon;
use super::text::{grouped, millis, short};
use crate::domain::Mode;

/// How a part is doing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Fine,
    Slow,
    Broken,
}

struct Node {
    id: &'static str,
    name: &'static str,
    words: String,
    health: Health,
    faults: Vec<Switch>,
}

/// A fault that can be switched at the part that it breaks.
struct Switch {
    fault: &'static str,
    words: &'static str,
    on: bool,
    /// What switches it on, and off.
    values: [&'static str; 2],
}

impl Switch {
    fn of(fault: &'static str, words: &'static str, on: bool) -> Self {
        Self { fault, words, on, values: ["true", "false"] }
    }

    fn delay(fault: &'static str, words: &'static str, millis: u64, default: &'static str) -> Self {
        Self { fault, words, on: millis > 0, values: [default, "0"] }
    }
}

struct Hop {
    lag: String,
    words: String,
    /// Nothing flows.
    idle: bool,
    slow: bool,
}

pub(super) fn pipeline(scene: &Scene<'_>) -> Markup {
    let view = &scene.moment.pipeline;
    let note = match (view.mode, view.running) {
        (_, false) if scene.moment.faults.pause_consumer => "the consumer is paused: changes wait".to_owned(),
        (_, false) => "no sign of life from a consumer".to_owned(),
        (_, true) if scene.moment.faults.freeze_stream => "the stream is frozen: changes wait".to_owned(),
        (_, true) if scene.moment.faults.drop_events => "changes are dropped: entries stay stale for good".to_owned(),
        (Mode::Ttl, true) => {
            format!(
                "TTL mode: changes are read, not applied; entries expire after {}",
                super::text::countdown(scene.panel.ttl)
            )
        }
        (Mode::Cdc, true) => "CDC mode: each commit invalidates its keys".to_owned(),
    };
    let nodes = nodes(scene);
    let hops = hops(scene, nodes.len() - 1);
    html! {
        div.hd {
            h2 #h-pipeline { "Pipeline" } span.m { (note) } span.grow {}
            (end_to_end(scene))
        }
        ol.pipe {
            @for (at, node) in nodes.iter().enumerate() {
                (box_of(scene, node))
                @if let Some(hop) = hops.get(at) { (arrow(hop, at)) }
            }
        }
    }
}

fn end_to_end(scene: &Scene<'_>) -> Markup {
    let newest = scene.panel.live.gauges.newest();
    let lags = newest.and_then(|sample| Some((sample.lag50?, sample.lag99?)));
    html! {
        span.m.s {
            "commit → applied "
            @match (scene.moment.mode.mode, lags) {
                (Mode::Ttl, _) => b { "off" },
                (Mode::Cdc, Some((p50, p99))) => { "p50 " b { (millis(p50)) } " · p99 " b { (millis(p99)) } },
                (Mode::Cdc, None) => b { "idle" },
            }
            @match scene.moment.faults.active().len() {
                0 => " · no fault on",
                1 => { " · " span.warn { "1 fault on" } },
                count => { " · " span.warn { (count) " faults on" } },
            }
        }
    }
}

fn nodes(scene: &Scene<'_>) -> Vec<Node> {
    let moment = scene.moment;
    let view = &moment.pipeline;
    let kept = moment.verdict.counts;
    let kept = kept.healthy + kept.stale + kept.negative;
    let (database, log, store) =
        if view.embedded { ("SQLite", "log table", "memory store") } else { ("MySQL", "binlog", "Redis") };
    let applied = view.applied.as_deref().map_or("–".to_owned(), short);
    let consumer = match (view.running, view.mode) {
        (false, _) => "silent".to_owned(),
        (true, Mode::Ttl) => "applies nothing".to_owned(),
        (true, Mode::Cdc) => format!("applied {applied}"),
    };
    let store_words = if moment.store_away {
        "does not answer".to_owned()
    } else {
        match kept {
            1 => "1 entry".to_owned(),
            kept => format!("{kept} entries"),
        }
    };
    let database_words = if moment.database_away { "does not answer".to_owned() } else { "answers".to_owned() };
    let faults = moment.faults;
    let part = |id, name, words: String, fine: bool, faults: Vec<Switch>| {
        let slow = faults.iter().any(|switch| switch.on);
        let health = match (fine, slow) {
            (false, _) => Health::Broken,
            (true, true) => Health::Slow,
            (true, false) => Health::Fine,
        };
        Node { id, name, words, health, faults }
    };
    vec![
        part(
            "database",
            database,
            database_words,
            !moment.database_away,
            vec![Switch::delay("database_delay_ms", "Slow", faults.database_delay_ms, "500")],
        ),
        part(
            "log",
            log,
            format!("{} changes read", grouped(view.events_total)),
            !moment.database_away,
            vec![Switch::of("freeze_stream", "Freeze", faults.freeze_stream)],
        ),
        part(
            "consumer",
            "consumer",
            consumer,
            view.running,
            vec![
                Switch::of("pause_consumer", "Pause", faults.pause_consumer),
                Switch::of("drop_events", "Drop", faults.drop_events),
            ],
        ),
        part(
            "store",
            store,
            store_words,
            !moment.store_away,
            vec![
                Switch::delay("store_delay_ms", "Delay", faults.store_delay_ms, "200"),
                Switch::of("store_cut", "Cut", faults.store_cut),
            ],
        ),
        part("l1", "L1", "this process".to_owned(), !moment.store_away, Vec::new()),
    ]
}

fn hops(scene: &Scene<'_>, count: usize) -> Vec<Hop> {
    let view = &scene.moment.pipeline;
    let newest = scene.panel.live.gauges.newest();
    let lag = newest.and_then(|sample| sample.lag50);
    let ttl = view.mode == Mode::Ttl;
    (0..count)
        .map(|at| match at {
            0 => Hop { lag: "".into(), words: "commit".into(), idle: false, slow: false },
            1 if !view.running || scene.moment.faults.freeze_stream => {
                Hop { lag: view.lag_ms.map_or("waits".into(), millis), words: "waits".into(), idle: false, slow: true }
            }
            1 => Hop { lag: lag.map_or("".into(), millis), words: "changes".into(), idle: false, slow: false },
            _ if ttl => Hop { lag: "off".into(), words: "".into(), idle: true, slow: false },
            _ if !view.running || scene.moment.faults.freeze_stream => {
                Hop { lag: "–".into(), words: "".into(), idle: true, slow: false }
            }
            2 => Hop { lag: "".into(), words: "invalidations".into(), idle: false, slow: false },
            _ => Hop { lag: "".into(), words: "pushes".into(), idle: false, slow: false },
        })
        .collect()
}

fn box_of(scene: &Scene<'_>, node: &Node) -> Markup {
    let (class, sign) = match node.health {
        Health::Fine => ("", "ok"),
        Health::Broken => ("x", "sq"),
        Health::Slow => ("w", "tri"),
    };
    html! {
        li.node.(class) data-key=(node.id) data-node=(node.id) {
            div.box { div.row { (icon(sign)) b { (node.name) } } span.s title=(node.words) { (node.words) } }
            div.flt role="group" aria-label=(format!("Faults of {}", node.name)) {
                @for switch in &node.faults { (button(scene, node, switch)) }
                @if node.id == "store" { (flush(scene)) }
            }
        }
    }
}

fn arrow(hop: &Hop, at: usize) -> Markup {
    html! {
        li.hop.idle[hop.idle].w[hop.slow] data-key=(format!("hop{at}")) data-hop=(at) {
            b { (hop.lag) } i.wire data-keep {} span { (hop.words) }
        }
    }
}

fn button(scene: &Scene<'_>, node: &Node, switch: &Switch) -> Markup {
    let [on, off] = switch.values;
    let value = if switch.on { off } else { on };
    html! {
        button.btn type="button" aria-pressed=(switch.on) data-fault=(switch.fault) data-post="/faults"
            data-body=(format!("fault={}&value={value}", switch.fault)) disabled[!scene.operates()] title=[scene.reason()]
            aria-label=(format!("Fault: {} {}", switch.words, node.name)) { (switch.words) }
    }
}

fn flush(scene: &Scene<'_>) -> Markup {
    html! {
        button.btn type="button" data-ask="Flush the store?"
            data-text="Everything that is cached goes. In CDC mode nothing is kept until the consumer has begun a new generation, seconds later."
            data-yes="Flush" data-action="/flush" data-body="" disabled[!scene.operates()] title=[scene.reason()] { "Flush" }
    }
}
