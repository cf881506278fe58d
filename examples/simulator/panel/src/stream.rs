//! The event stream of a tab: the parts of its page that changed, samples for the charts, and changes as they occur.

use std::collections::VecDeque;
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
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::charted::Charted;
use super::delta::Shown;
use super::login::{CurrentUser, Headers};
use super::moment::{AGE_MAX, Moment};
use super::page_data::PageData;
use super::panel::Panel;
use super::query::QueryParameters;
use super::seats::{Full, Seat};
use super::tab::Tab;
use super::view::{self, PageContext};

/// Interval between two heartbeats: a tab that receives no event for some time treats the connection as lost.
const BEAT_EVERY: Duration = Duration::from_millis(900);

/// Maximum number of changes that are animated between two snapshots: only a sample is shown.
const FLOWING_MAX: usize = 4;

/// The tab that the stream is for; the other parameters are [`QueryParameters`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    tab: Tab,
    /// The time of the newest sample of the charts that the tab has from an earlier stream, in seconds since 1970.
    #[serde(default)]
    since: Option<f64>,
}

type Sent = Result<SseEvent, Infallible>;

/// Streams updates until the tab is closed, its session ends or the API stops.
pub(super) fn live(
    State(panel): State<Arc<Panel>>,
    Headers(headers): Headers,
    CurrentUser(reader): CurrentUser,
    Query(Asked { tab, since }): Query<Asked>,
    Query(wanted): Query<QueryParameters>,
) -> Ready<Result<Sse<impl Stream<Item = Sent>>, Response>> {
    let seat = panel.seats.take(&reader);
    ready(seat.map_err(Full::response).map(|seat| {
        let mut moments = panel.live.follow();
        // The existing snapshot is sent immediately.
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
            shown: Shown::default(),
            seen: None,
            is_outdated: false,
            charted: Charted::since(since),
            flowing: 0,
            waiting: VecDeque::new(),
            _seat: seat,
        };
        Sse::new(stream::unfold(follower, Follower::step))
    }))
}

/// The lookup of the data that only this tab needs. It runs concurrently with the heartbeats.
type Lookup = Pin<Box<dyn Future<Output = PageData> + Send>>;

struct Follower {
    panel: Arc<Panel>,
    headers: HeaderMap,
    reader: Session,
    tab: Tab,
    wanted: QueryParameters,
    moments: watch::Receiver<Arc<Moment>>,
    changes: Receiver<Event>,
    beats: Interval,
    lookup: Option<Lookup>,
    shown: Shown,
    /// The snapshot that the tab shows; `None` before the first one.
    seen: Option<Arc<Moment>>,
    /// True if the last heartbeat said that this snapshot is too old.
    is_outdated: bool,
    charted: Charted,
    flowing: usize,
    /// Events to send, in this order.
    waiting: VecDeque<SseEvent>,
    _seat: Seat,
}

impl Follower {
    async fn step(mut self) -> Option<(Sent, Self)> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some((Ok(event), self));
            }
            let idle = self.lookup.is_none();
            tokio::select! {
                // In this order, so that a steady flow of changes delays neither heartbeats nor snapshots.
                biased;
                () = self.panel.api.stop.cancelled() => return None,
                _ = self.beats.tick() => self.beat(),
                gathered = looked_up(&mut self.lookup) => {
                    self.lookup = None;
                    self.show(gathered);
                }
                changed = self.moments.changed(), if idle => {
                    changed.ok()?;
                    // The end of the session, or a change of its role, ends the stream: the tab checks its session.
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

    /// Sends a heartbeat with the time and the age of the snapshot that the tab shows: what is not sent again was the same in
    /// that snapshot. A snapshot that has become too old is rendered as outdated.
    fn beat(&mut self) {
        if self.moments.borrow().age() > AGE_MAX && self.lookup.is_none() {
            self.look_up();
        }
        let Some(seen) = &self.seen else { return self.send("beat", &json!({})) };
        let (at, age) = (seen.at.as_millis(), seen.age());
        self.is_outdated = age > AGE_MAX;
        self.send("beat", &json!({ "age": age.as_millis() as u64, "at": at }));
    }

    fn look_up(&mut self) {
        let (panel, tab, reader, wanted) =
            (Arc::clone(&self.panel), self.tab, self.reader.clone(), self.wanted.clone());
        self.lookup = Some(Box::pin(async move { PageData::of(&panel, tab, &reader, &wanted).await }));
    }

    fn show(&mut self, gathered: PageData) {
        self.flowing = 0;
        let context = PageContext::of(&self.panel, self.tab, &self.reader, &self.wanted, &gathered);
        let patch = self.shown.update(&gathered.moment.verdict.words, view::parts(&context));
        let moment = gathered.moment;
        match patch {
            Some(mut patch) => {
                patch.insert("at".to_owned(), json!(moment.at.as_millis()));
                patch.insert("age".to_owned(), json!(moment.age().as_millis() as u64));
                self.send("patch", &Value::Object(patch));
                self.seen = Some(moment);
            }
            None => {
                self.seen = Some(moment);
                // A tab that takes what it shows for outdated need not wait for the next heartbeat.
                if self.is_outdated {
                    self.beat();
                }
            }
        }
        // Only this page has charts.
        if self.tab == Tab::Live
            && let Some(data) = self.charted.update(&self.panel.live.gauges)
        {
            self.send("chart", &data);
        }
    }

    fn flow(&mut self, event: Event) {
        if event.name == "change" && self.flowing < FLOWING_MAX {
            self.flowing += 1;
            self.waiting.push_back(SseEvent::default().event("change").data(event.data));
        }
    }
}

/// Completes when the lookup does, never if there is none.
async fn looked_up(lookup: &mut Option<Lookup>) -> PageData {
    match lookup {
        Some(lookup) => lookup.await,
        None => pending().await,
    }
}
