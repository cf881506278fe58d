//! `GET /events`: changes, mode switches and the pipeline's state as server-sent events.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, State};
use axum::response::sse::{Event as SseEvent, Sse};
use futures_util::stream::{self, Stream};
use simulator_access::{Place, network};
use simulator_model::events::{ChangeEvent, Event};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::error::ApiError;
use super::responses::Any;
use super::state::{Api, STREAMS_MAX};

/// Interval of the comments that keep proxies from closing a quiet stream.
const COMMENT_EVERY: Duration = Duration::from_secs(10);

/// Interval of the `pipeline` events.
const PIPELINE_EVERY: Duration = Duration::from_secs(1);

/// Changes, switches of the mode, and the pipeline's state once a second.
#[utoipa::path(
    get, path = "/events", tag = "control",
    responses(
        (status = 200, description = "Server-sent events `change` (the schema here), `mode` and `pipeline`", body = ChangeEvent, content_type = "text/event-stream"),
        Any,
    )
)]
pub(crate) fn events(
    State(api): State<Arc<Api>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
) -> std::future::Ready<Result<Sse<impl Stream<Item = Result<SseEvent, Infallible>>>, ApiError>> {
    let share = api.streams_by_address.take(network(from.ip()));
    let permit = Arc::clone(&api.streams).try_acquire_owned();
    std::future::ready(match (share, permit) {
        (None, _) => Err(ApiError::unavailable("Too many clients of this address follow the events")),
        (_, Err(_)) => Err(ApiError::unavailable("Too many clients follow the events")),
        (Some(share), Ok(permit)) => {
            let follower = Follower {
                events: api.events.subscribe(),
                stop: api.stop.clone(),
                first: Some(Event::new("mode", &api.modes.current())),
                comments: tokio::time::interval(COMMENT_EVERY),
                _share: share,
                _permit: permit,
            };
            Ok(Sse::new(stream::unfold(follower, Follower::step)))
        }
    })
}

struct Follower {
    events: Receiver<Event>,
    stop: CancellationToken,
    /// The current mode, sent first so that a client that has just connected or reconnected knows it.
    first: Option<Event>,
    comments: Interval,
    _share: Place<IpAddr>,
    _permit: OwnedSemaphorePermit,
}

impl Follower {
    async fn step(mut self) -> Option<(Result<SseEvent, Infallible>, Self)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(sent(first)), self));
        }
        let received = tokio::select! {
            () = self.stop.cancelled() => return None,
            _ = self.comments.tick() => return Some((Ok(SseEvent::default().comment("alive")), self)),
            received = self.events.recv() => received,
        };
        match received {
            Ok(event) => Some((Ok(sent(event)), self)),
            Err(RecvError::Lagged(missed)) => {
                Some((Ok(SseEvent::default().comment(format!("{missed} events were missed"))), self))
            }
            Err(RecvError::Closed) => None,
        }
    }
}

fn sent(event: Event) -> SseEvent {
    SseEvent::default().event(event.name).data(event.data)
}

/// Publishes the pipeline's state while clients follow the events. Changes and mode switches are published where they
/// happen.
pub async fn announcements(api: Arc<Api>) {
    let mut ticks = tokio::time::interval(PIPELINE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = api.stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if is_followed(&api) {
            let view = api.pipeline.view().await;
            api.events.publish(Event::new("pipeline", &view));
        }
    }
}

/// Returns true if a client follows `/events`. Counts permits and not subscribers: the program's own subscribers read
/// the pipeline's state themselves.
fn is_followed(api: &Api) -> bool {
    api.streams.available_permits() < STREAMS_MAX
}
