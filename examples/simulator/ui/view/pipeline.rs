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
    Broken,
    Off,
}

struct Node {
    id: &'static str,
    name: &'static str,
    words: String,
    health: Health,
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
        (_, false) => "no sign of life from a consumer".to_owned(),
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
                (box_of(node))
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
        }
    }
}

fn nodes(scene: &Scene<'_>) -> Vec<Node> {
    let moment = scene.moment;
    let view = &moment.pipeline;
    let good = |fine: bool| if fine { Health::Fine } else { Health::Broken };
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
    vec![
        Node { id: "database", name: database, words: database_words, health: good(!moment.database_away) },
        Node {
            id: "log",
            name: log,
            words: format!("{} changes read", grouped(view.events_total)),
            health: good(!moment.database_away),
        },
        Node { id: "consumer", name: "consumer", words: consumer, health: good(view.running) },
        Node { id: "store", name: store, words: store_words, health: good(!moment.store_away) },
        Node {
            id: "l1",
            name: "L1",
            words: "this process".to_owned(),
            health: if moment.store_away { Health::Off } else { Health::Fine },
        },
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
            1 if !view.running => {
                Hop { lag: view.lag_ms.map_or("waits".into(), millis), words: "waits".into(), idle: false, slow: true }
            }
            1 => Hop { lag: lag.map_or("".into(), millis), words: "changes".into(), idle: false, slow: false },
            _ if ttl => Hop { lag: "off".into(), words: "".into(), idle: true, slow: false },
            _ if !view.running => Hop { lag: "–".into(), words: "".into(), idle: true, slow: false },
            2 => Hop { lag: "".into(), words: "invalidations".into(), idle: false, slow: false },
            _ => Hop { lag: "".into(), words: "pushes".into(), idle: false, slow: false },
        })
        .collect()
}

fn box_of(node: &Node) -> Markup {
    let (class, sign) = match node.health {
        Health::Fine => ("", "ok"),
        Health::Broken => ("x", "sq"),
        Health::Off => ("off", "empty"),
    };
    html! {
        li.node.(class) data-key=(node.id) data-node=(node.id) {
            div.box { div.row { (icon(sign)) b { (node.name) } } span.s { (node.words) } }
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
