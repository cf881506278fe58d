//! The path of a change, from the database to the caches.

use maud::{Markup, html};
use simulator_model::connect::ConnectorState;
use simulator_model::domain::Mode;
use simulator_model::freshness::FreshnessState;

use super::connector::{self, Halt};
use super::context::PageContext;
use super::freshness;
use super::icon::icon;
use super::text::{grouped, millis, short};
use crate::verdict::Word;

/// The health of a part.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Fine,
    Slow,
    Broken,
    Unknown,
}

struct Node {
    id: &'static str,
    name: &'static str,
    words: String,
    health: Health,
    faults: Vec<Switch>,
}

impl Node {
    fn new(id: &'static str, name: &'static str, words: String, fine: bool, faults: Vec<Switch>) -> Self {
        let health = match (fine, faults.iter().any(|switch| switch.on)) {
            (false, _) => Health::Broken,
            (true, true) => Health::Slow,
            (true, false) => Health::Fine,
        };
        Self { id, name, words, health, faults }
    }
}

/// The switch of a fault, shown at the part that it affects.
struct Switch {
    fault: &'static str,
    words: &'static str,
    on: bool,
    /// The values that switch it on and off.
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

struct Stage {
    lag: String,
    words: &'static str,
    /// True if no changes flow through the stage.
    idle: bool,
    slow: bool,
}

pub(super) fn pipeline(context: &PageContext<'_>) -> Markup {
    let view = &context.moment.pipeline;
    let carrier = connector::state(context);
    let halt = connector::halt(carrier.as_ref());
    let note = match (view.mode, view.running) {
        (_, false) if context.moment.faults.pause_consumer => "the consumer is paused: changes wait".to_owned(),
        (_, false) if is_store_away(context) => {
            "the store is not reachable, so the consumer's state is not known".to_owned()
        }
        (Mode::Cdc, _) if view.freshness.state == FreshnessState::Missed => "changes are applied too late".to_owned(),
        (_, false) => "no sign of life from a consumer".to_owned(),
        (_, true) if context.moment.faults.freeze_stream => "the stream is frozen: changes wait".to_owned(),
        (_, true) if halt == Some(Halt::Paused) => "the connector is paused: changes wait before it".to_owned(),
        (_, true) if halt == Some(Halt::Failed) => "the connector has failed: changes wait before it".to_owned(),
        (_, true) if context.moment.faults.drop_events => {
            "changes are dropped: entries stay stale until they expire".to_owned()
        }
        (Mode::Ttl, true) => {
            format!(
                "TTL mode: changes are read, not applied; entries expire after {}",
                super::text::countdown(context.panel.ttl)
            )
        }
        (Mode::Cdc, true) => "CDC mode: each commit invalidates its keys".to_owned(),
    };
    let nodes = nodes(context, carrier.as_ref());
    let mut stages = stages(context, nodes.len() - 1);
    if halt.is_some() {
        wait_before_the_connector(&mut stages, view.lag_ms);
    }
    html! {
        div.hd {
            h2 #h-pipeline { "Pipeline" } span.m { (note) } span.grow {}
            (end_to_end(context))
        }
        @if let Some(state) = &carrier { (connector::waiting(context, state)) }
        (freshness::line(&view.freshness))
        ol.pipe {
            @for (at, node) in nodes.iter().enumerate() {
                (box_of(context, node))
                @if let Some(stage) = stages.get(at) { (arrow(stage, at)) }
            }
        }
        @if let Some(state) = &carrier { (connector::connector(context, state)) }
    }
}

/// Index of the stage from the database's log to Debezium.
const TO_CONNECTOR: usize = 1;

/// Shows that changes wait in the log and that all later stages are idle.
fn wait_before_the_connector(stages: &mut [Stage], lag_ms: Option<f64>) {
    for (at, stage) in stages.iter_mut().enumerate() {
        if at == TO_CONNECTOR {
            *stage = Stage { lag: lag_ms.map_or_else(String::new, millis), words: "wait", idle: false, slow: true };
        } else if at > TO_CONNECTOR && !stage.idle {
            *stage = Stage { lag: "–".to_owned(), words: "", idle: true, slow: false };
        }
    }
}

fn end_to_end(context: &PageContext<'_>) -> Markup {
    let newest = context.panel.live.gauges.newest();
    let lags = newest.and_then(|sample| Some((sample.lag50?, sample.lag99?)));
    html! {
        span.m.s {
            "commit → applied "
            @match (context.moment.mode.mode, lags) {
                (Mode::Ttl, _) => b { "off" },
                (Mode::Cdc, Some((p50, p99))) => { "p50 " b { (millis(p50)) } " · p99 " b { (millis(p99)) } },
                (Mode::Cdc, None) => b { "idle" },
            }
            @if let (FreshnessState::Missed, Some(age)) = (context.moment.pipeline.freshness.state, context.moment.pipeline.lag_ms) {
                " · watermark " span.warn { (millis(age)) " old" }
            }
            @match context.moment.faults.active().len() {
                0 => " · no fault on",
                1 => { " · " span.warn { "1 fault on" } },
                count => { " · " span.warn { (count) " faults on" } },
            }
        }
    }
}

/// Returns the parts on the path, in order. Between the log and the consumer there may be Debezium and Kafka.
fn nodes(context: &PageContext<'_>, carrier: Option<&ConnectorState>) -> Vec<Node> {
    let (moment, faults) = (context.moment, context.moment.faults);
    let view = &moment.pipeline;
    let (database, log, store) =
        if view.embedded { ("SQLite", "log table", "memory") } else { ("MySQL", "binlog", "Redis") };
    let [database_words, consumer_words, store_words] = words(context);
    // The box is narrow: longer words would be cut.
    let read = match view.events_total {
        1 => "1 change".to_owned(),
        read => format!("{} changes", grouped(read)),
    };
    let database_fine = !moment.database_away;
    let slow = Switch::delay("database_delay_ms", "Slow", faults.database_delay_ms, "500");
    let lag = Switch::delay("replica_lag_ms", "Lag", faults.replica_lag_ms, "2000");
    let freeze = Switch::of("freeze_stream", "Freeze", faults.freeze_stream);
    let pause = Switch::of("pause_consumer", "Pause", faults.pause_consumer);
    let drop = Switch::of("drop_events", "Drop", faults.drop_events);
    let delay = Switch::delay("store_delay_ms", "Delay", faults.store_delay_ms, "200");
    let cut = Switch::of("store_cut", "Cut", faults.store_cut);
    let mut parts = vec![
        Node::new("database", database, database_words, database_fine, vec![slow, lag]),
        Node::new("log", log, read, database_fine, vec![freeze]),
    ];
    if view.source == "kafka" {
        parts.extend(carriers(context, carrier));
    }
    let consumer = Node::new("consumer", "consumer", consumer_words, true, vec![pause, drop]);
    parts.push(judged_by_the_store(context, consumer));
    parts.push(Node::new("store", store, store_words, !moment.store_away || faults.store_cut, vec![delay, cut]));
    parts.push(Node::new("l1", "L1", "this process".to_owned(), true, Vec::new()));
    parts
}

/// Returns the parts that carry changes over Kafka: Debezium's connector, or its embedded replacement, and Kafka.
fn carriers(context: &PageContext<'_>, carrier: Option<&ConnectorState>) -> [Node; 2] {
    let carrier = match carrier {
        Some(state) => {
            let health = match state {
                state if state.is_running() => Health::Fine,
                state if state.has_failed() => Health::Broken,
                state if state.connector.is_none() => Health::Unknown,
                // Paused on purpose, or about to run.
                _ => Health::Slow,
            };
            Node { health, ..Node::new("debezium", "Debezium", connector::words(state), true, Vec::new()) }
        }
        None => {
            judged_by_the_store(context, Node::new("debezium", "feeder", "makes records".to_owned(), true, Vec::new()))
        }
    };
    [carrier, judged_by_the_store(context, Node::new("kafka", "Kafka", "carries them".to_owned(), true, Vec::new()))]
}

/// Returns a part whose health is known only by what the consumer writes to the store: broken if the consumer is silent, unknown
/// if the store cannot be read. A consumer that was paused on purpose is not broken, and does not show whether the parts before
/// it work.
fn judged_by_the_store(context: &PageContext<'_>, node: Node) -> Node {
    let health = match context.moment.pipeline.running || context.moment.faults.pause_consumer {
        true => node.health,
        false if is_store_away(context) => Health::Unknown,
        false => Health::Broken,
    };
    Node { health, ..node }
}

/// Returns true if the store is cut off, or does not respond.
fn is_store_away(context: &PageContext<'_>) -> bool {
    context.moment.store_away || context.moment.faults.store_cut
}

/// Returns the texts of database, consumer and store.
fn words(context: &PageContext<'_>) -> [String; 3] {
    let (moment, faults) = (context.moment, context.moment.faults);
    let view = &moment.pipeline;
    let away = || "does not respond".to_owned();
    let database = match faults.replica_lag_ms {
        _ if moment.database_away => away(),
        0 => "reachable".to_owned(),
        lag => format!(
            "replica {} behind, {}",
            millis(lag as f64),
            if view.built_with.fenced { "fenced" } else { "not fenced" }
        ),
    };
    let consumer = match (view.running, view.mode) {
        (false, _) if faults.pause_consumer => "paused".to_owned(),
        (false, _) if is_store_away(context) => "state unknown".to_owned(),
        (false, _) => "silent".to_owned(),
        (true, Mode::Ttl) => "applies nothing".to_owned(),
        (true, Mode::Cdc) => format!("applied {}", view.applied.as_deref().map_or("–".to_owned(), short)),
    };
    let store = match moment.verdict.compared {
        _ if faults.store_cut => "cut: bypassed".to_owned(),
        _ if moment.store_away => away(),
        0 if moment.verdict.word == Word::Unknown => "entries unknown".to_owned(),
        compared => format!("{} compared", grouped(compared)),
    };
    [database, consumer, store]
}

/// Returns the latency of each stage, as far as it was measured recently, and where changes wait.
fn stages(context: &PageContext<'_>, count: usize) -> Vec<Stage> {
    let view = &context.moment.pipeline;
    // The last two stages lead from the consumer to the store and on to the processes.
    let to_consumer = count - 3;
    let waits = !view.running || context.moment.faults.freeze_stream;
    let ttl = view.mode == Mode::Ttl;
    let measured = |lag: Option<f64>, words: &'static str| Stage {
        lag: lag.map_or_else(String::new, millis),
        words,
        idle: false,
        slow: false,
    };
    let idle = |lag: &str| Stage { lag: lag.to_owned(), words: "", idle: true, slow: false };
    (0..count)
        .map(|at| match at {
            // The log is written within the commit, which is where the times of the other stages start.
            0 => Stage { lag: "0 ms".to_owned(), ..measured(None, "commit") },
            _ if at == to_consumer && waits => Stage { slow: true, ..measured(view.lag_ms, "wait") },
            _ if at == to_consumer => measured(view.stages.read_ms, "read"),
            1 => measured(view.stages.capture_ms, "captured"),
            _ if at < to_consumer => measured(view.stages.queue_ms, "queued"),
            _ if ttl => idle("off"),
            _ if waits => idle("–"),
            // Includes the wait at the visibility gate, which is most of it.
            _ if at == to_consumer + 1 => measured(view.stages.store_ms(), "removal"),
            _ => measured(context.panel.live.gauges.bus_ms(), "push"),
        })
        .collect()
}

fn box_of(context: &PageContext<'_>, node: &Node) -> Markup {
    let (class, sign) = match node.health {
        Health::Fine => ("", "ok"),
        Health::Broken => ("x", "sq"),
        Health::Slow => ("w", "tri"),
        Health::Unknown => ("off", "unk"),
    };
    html! {
        li.node.(class) data-key=(node.id) data-node=(node.id) {
            div.box { div.row { (icon(sign)) b { (node.name) } } span.s title=(node.words) { (node.words) } }
            div.flt role="group" aria-label=(format!("Faults of {}", node.name)) {
                @for switch in &node.faults { (button(context, node, switch)) }
                @if node.id == "store" { (flush(context)) }
            }
        }
    }
}

fn arrow(stage: &Stage, at: usize) -> Markup {
    html! {
        li.stage.idle[stage.idle].w[stage.slow] data-key=(format!("stage{at}")) data-stage=(at) {
            b { (stage.lag) } i.wire data-keep {} span { (stage.words) }
        }
    }
}

fn button(context: &PageContext<'_>, node: &Node, switch: &Switch) -> Markup {
    let [on, off] = switch.values;
    let value = if switch.on { off } else { on };
    html! {
        button.btn type="button" aria-pressed=(switch.on) data-fault=(switch.fault) data-post="/faults"
            data-body=(format!("fault={}&value={value}", switch.fault)) disabled[!context.operates()] title=[context.reason()]
            aria-label=(format!("Fault: {} {}", switch.words, node.name)) { (switch.words) }
    }
}

fn flush(context: &PageContext<'_>) -> Markup {
    html! {
        button.btn type="button" data-ask="Flush the store?"
            data-text="Everything that is cached goes. In CDC mode nothing is kept until the consumer has begun a new generation, seconds later."
            data-yes="Flush" data-action="/flush" data-body="" disabled[!context.operates()] title=[context.reason()] { "Flush" }
    }
}
