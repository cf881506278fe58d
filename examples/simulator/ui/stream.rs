//! What a tab is sent: the parts of its page that changed, the charts' samples, and changes as they flow by.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as SseEvent, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Panel;
use super::gauges::Sample;
use super::live::Moment;
use super::login::{Headers, Reader};
use super::pages::Gathered;
use super::users::Wanted;
use super::view::{self, Scene, Tab};
use crate::access::Session;
use crate::events::Event;

/// A tab hears something at least so often; one that does not takes the connection for lost.
const BEAT_EVERY: Duration = Duration::from_millis(900);

/// At most so many changes are shown flowing by between two looks: a sample, for the eye.
const FLOWING_MAX: usize = 4;

/// What a tab asks for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    tab: Tab,
    #[serde(flatten)]
    wanted: Wanted,
}

type Sent = Result<SseEvent, Infallible>;

/// Follows everything until the tab is closed.
pub(super) fn live(
    State(panel): State<Arc<Panel>>,
    Headers(headers): Headers,
    Reader(reader): Reader,
    Query(asked): Query<Asked>,
) -> Ready<Result<Sse<impl Stream<Item = Sent>>, StatusCode>> {
    let permit = Arc::clone(&panel.api.streams).try_acquire_owned();
    ready(permit.map_err(|_| StatusCode::SERVICE_UNAVAILABLE).map(|permit| {
        let mut moments = panel.live.follow();
        // The moment that there is already is sent at once.
        moments.mark_changed();
        panel.live.nudge();
        let changes = panel.api.events.subscribe();
        let follower = Follower {
            panel,
            headers,
            reader,
            asked,
            moments,
            changes,
            parts: HashMap::new(),
            sample: None,
            flowing: 0,
            waiting: Vec::new(),
            _permit: permit,
        };
        Sse::new(stream::unfold(follower, Follower::step))
    }))
}

struct Follower {
    panel: Arc<Panel>,
    headers: HeaderMap,
    reader: Session,
    asked: Asked,
    moments: watch::Receiver<Arc<Moment>>,
    changes: Receiver<Event>,
    /// What the tab has.
    parts: HashMap<&'static str, String>,
    sample: Option<Sample>,
    flowing: usize,
    /// Ready to be sent.
    waiting: Vec<SseEvent>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn step(mut self) -> Option<(Sent, Self)> {
        loop {
            if let Some(event) = self.waiting.pop() {
                return Some((Ok(event), self));
            }
            tokio::select! {
                () = self.panel.api.stop.cancelled() => return None,
                changed = self.moments.changed() => {
                    changed.ok()?;
                    // A session that is over, or another role, ends the stream: the tab asks again.
                    self.panel.api.access.session_of(&self.headers)?;
                    self.look().await;
                }
                Ok(event) = self.changes.recv() => self.flow(event),
                () = tokio::time::sleep(BEAT_EVERY) => self.send("beat", &json!({})),
            }
        }
    }

    fn send(&mut self, name: &str, data: &Value) {
        self.waiting.push(SseEvent::default().event(name).data(data.to_string()));
    }

    async fn look(&mut self) {
        self.flowing = 0;
        let moment = Arc::clone(&self.moments.borrow_and_update());
        let Gathered { page, keys, audit } =
            Gathered::of(&self.panel, self.asked.tab, &self.reader, &self.asked.wanted).await;
        let scene = Scene {
            panel: &self.panel,
            tab: self.asked.tab,
            moment: &moment,
            page: &page,
            wanted: &self.asked.wanted,
            keys: &keys,
            audit: &audit,
            reader: &self.reader,
        };
        let mut changed = serde_json::Map::new();
        for (name, markup) in view::parts(&scene) {
            let text = markup.into_string();
            if self.parts.get(name) != Some(&text) {
                changed.insert(name.to_owned(), Value::String(text.clone()));
                self.parts.insert(name, text);
            }
        }
        let title = &moment.verdict.words;
        self.chart();
        self.send("patch", &json!({ "title": title, "at": moment.at.as_millis(), "parts": changed }));
    }

    /// The whole history first, then one sample after the other.
    fn chart(&mut self) {
        let newest = self.panel.live.gauges.newest();
        if newest == self.sample || newest.is_none() {
            return;
        }
        let history = self.panel.live.gauges.history();
        let first = self.sample.is_none();
        self.sample = newest;
        let data = match first {
            true => json!({ "samples": history.samples, "marks": history.marks, "whole": true }),
            false => json!({ "samples": [newest], "marks": history.marks, "whole": false }),
        };
        self.send("chart", &data);
    }

    fn flow(&mut self, event: Event) {
        if event.name == "change" && self.flowing < FLOWING_MAX {
            self.flowing += 1;
            self.waiting.push(SseEvent::default().event("change").data(event.data));
        }
    }
}
