//! What a tab is sent: the parts of its page that changed, the charts' samples, and changes as they flow by.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::{Future, Ready, pending, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event as SseEvent, Sse};
use futures_util::stream::{self, Stream};
use serde::Deserialize;
use serde_json::{Value, json};
use simulator_access::Session;
use simulator_model::events::Event;
use tokio::sync::broadcast::Receiver;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::Panel;
use super::gauges::Sample;
use super::limit::too_many;
use super::live::{AGE_MAX, Moment};
use super::login::{Headers, Reader};
use super::pages::Gathered;
use super::view::{self, Scene, Tab};
use super::wanted::Wanted;

/// A tab hears something at least so often; one that does not takes the connection for lost.
const BEAT_EVERY: Duration = Duration::from_millis(900);

/// At most so many changes are shown flowing by between two looks: a sample, for the eye.
const FLOWING_MAX: usize = 4;

/// What a tab asks for, beside what it wants to see there.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    tab: Tab,
}

type Sent = Result<SseEvent, Infallible>;

/// Follows everything until the tab is closed.
pub(super) fn live(
    State(panel): State<Arc<Panel>>,
    Headers(headers): Headers,
    Reader(reader): Reader,
    Query(Asked { tab }): Query<Asked>,
    Query(wanted): Query<Wanted>,
) -> Ready<Result<Sse<impl Stream<Item = Sent>>, Response>> {
    let permit = Arc::clone(&panel.api.streams).try_acquire_owned();
    ready(permit.map_err(|_| too_many("Too many tabs follow at once: close some.")).map(|permit| {
        let mut moments = panel.live.follow();
        // The moment that there is already is sent at once.
        moments.mark_changed();
        panel.live.nudge();
        let changes = panel.api.events.subscribe();
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let follower = Follower {
            panel,
            headers,
            reader,
            tab,
            wanted,
            moments,
            changes,
            beats,
            lookup: None,
            parts: HashMap::new(),
            sample: None,
            flowing: 0,
            waiting: VecDeque::new(),
            _permit: permit,
        };
        Sse::new(stream::unfold(follower, Follower::step))
    }))
}

/// What one tab needs beside what all are shown is looked up while beats go on.
type Lookup = Pin<Box<dyn Future<Output = Gathered> + Send>>;

struct Follower {
    panel: Arc<Panel>,
    headers: HeaderMap,
    reader: Session,
    tab: Tab,
    wanted: Wanted,
    moments: watch::Receiver<Arc<Moment>>,
    changes: Receiver<Event>,
    beats: Interval,
    lookup: Option<Lookup>,
    /// What the tab has.
    parts: HashMap<&'static str, String>,
    sample: Option<Sample>,
    flowing: usize,
    /// Ready to be sent, in this order.
    waiting: VecDeque<SseEvent>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn step(mut self) -> Option<(Sent, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            let idle = self.lookup.is_none();
            tokio::select! {
                // The first that is ready in this order: a steady flow of changes holds up neither beats nor looks.
                biased;
                () = self.panel.api.stop.cancelled() => return None,
                _ = self.beats.tick() => self.beat(),
                gathered = looked_up(&mut self.lookup) => {
                    self.lookup = None;
                    self.show(gathered);
                }
                changed = self.moments.changed(), if idle => {
                    changed.ok()?;
                    // A session that is over, or another role, ends the stream: the tab asks again.
                    self.panel.api.access.session_of(&self.headers)?;
                    self.look_up();
                }
                Ok(event) = self.changes.recv() => self.flow(event),
            }
        }
    }

    fn send(&mut self, name: &str, data: &Value) {
        self.waiting.push_back(SseEvent::default().event(name).data(data.to_string()));
    }

    /// Says that the process lives, and how old is what it has shown. What has become too old is shown so.
    fn beat(&mut self) {
        let age = self.moments.borrow().age();
        if age > AGE_MAX && self.lookup.is_none() {
            self.look_up();
        }
        self.send("beat", &json!({ "age": age.as_millis() as u64 }));
    }

    fn look_up(&mut self) {
        let (panel, tab, reader, wanted) =
            (Arc::clone(&self.panel), self.tab, self.reader.clone(), self.wanted.clone());
        self.lookup = Some(Box::pin(async move { Gathered::of(&panel, tab, &reader, &wanted).await }));
    }

    fn show(&mut self, gathered: Gathered) {
        self.flowing = 0;
        let scene = Scene::of(&self.panel, self.tab, &self.reader, &self.wanted, &gathered);
        let mut changed = serde_json::Map::new();
        for (name, markup) in view::parts(&scene) {
            let text = markup.into_string();
            if self.parts.get(name) != Some(&text) {
                changed.insert(name.to_owned(), Value::String(text.clone()));
                self.parts.insert(name, text);
            }
        }
        let moment = &gathered.moment;
        let (at, age) = (moment.at.as_millis(), moment.age().as_millis() as u64);
        let patch = json!({ "title": moment.verdict.words, "at": at, "age": age, "parts": changed });
        self.send("patch", &patch);
        self.chart();
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
            self.waiting.push_back(SseEvent::default().event("change").data(event.data));
        }
    }
}

/// Completes when the look-up does, and never if none is under way.
async fn looked_up(lookup: &mut Option<Lookup>) -> Gathered {
    match lookup {
        Some(lookup) => lookup.await,
        None => pending().await,
    }
}
