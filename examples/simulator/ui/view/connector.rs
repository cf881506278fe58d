//! Debezium's connector: how it and its tasks are doing, and the buttons that press it. It shows no setting, so no secret.

use maud::{Markup, html};

use super::Scene;
use super::icon::icon;
use crate::connect::ConnectorState;

/// What is known of the connector now; nothing if none carries the changes.
pub(super) fn state(scene: &Scene<'_>) -> Option<ConnectorState> {
    scene.panel.api.connector.as_ref().map(|watchdog| watchdog.watch().borrow().clone())
}

pub(super) fn connector(scene: &Scene<'_>) -> Markup {
    let Some(state) = state(scene) else { return html! {} };
    let paused = state.connector.as_deref() == Some("PAUSED");
    let (class, sign) = match (&state.connector, state.is_running()) {
        (_, true) => ("pass", "ok"),
        (None, _) => ("unknown", "unk"),
        _ => ("miss", "sq"),
    };
    let off = !scene.operates() || state.connector.is_none();
    let press = |path: &'static str, words: &'static str| {
        html! {
            button.btn type="button" data-post=(format!("/connector/{path}")) disabled[off] title=[scene.reason()] { (words) }
        }
    };
    html! {
        div.connector {
            h3 { "Connector" }
            span.chip.(class) { (icon(sign)) (state.connector.as_deref().unwrap_or("does not answer")) }
            @for (number, task) in state.tasks.iter().enumerate() {
                span.chip.(if task == "RUNNING" { "pass" } else { "miss" }) { "task " (number) ": " (task) }
            }
            span.m.s { @if !state.worker.is_empty() { "on " (state.worker) " · " } (state.restarts) " restarts" }
            @if let Some(trouble) = &state.trouble { span.fail.cut title=(trouble) { (trouble) } }
            span.grow {}
            @if paused { (press("resume", "Resume")) } @else { (press("pause", "Pause connector")) }
            (press("restart", "Restart"))
        }
    }
}
