//! Wrappers of request and response bodies that report to the connection limiter when a connection is busy or idle.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::door::Guest;

/// How long the unread rest of a request body is drained after the response. Closing the connection while the client is
/// still sending may reset it before the client has read the response.
const LEFT_OVER_MAX: Duration = Duration::from_secs(10);

/// A request's body. Marks the connection as busy once it has arrived completely.
pub(super) struct Arriving {
    /// `None` once it is handed over to be drained.
    body: Option<Incoming>,
    guest: Arc<Guest>,
    /// True while the client holds the body back until the server asks for it.
    waits: bool,
    ended: bool,
}

impl Arriving {
    /// `waits` is true for a request with `Expect: 100-continue`.
    pub(super) fn new(body: Incoming, guest: Arc<Guest>, waits: bool) -> Self {
        let ended = body.is_end_stream();
        if ended {
            guest.engage();
        }
        Self { body: Some(body), guest, waits, ended }
    }
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.waits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        let ended = body.is_end_stream() || matches!(polled, Poll::Ready(None | Some(Err(_))));
        if ended && !self.ended {
            self.ended = true;
            self.guest.engage();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // A client that waits for `100 Continue` does not send its body after a refusal: there is nothing to drain.
        if self.ended || self.waits {
            return;
        }
        if let Some(body) = self.body.take() {
            tokio::spawn(async move { tokio::time::timeout(LEFT_OVER_MAX, throw_away(body)).await });
        }
    }
}

async fn throw_away(mut body: Incoming) {
    while let Some(Ok(_)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {}
}

/// A response's body. Marks the connection as idle when it is dropped.
pub(super) struct Leaving {
    body: Body,
    guest: Arc<Guest>,
}

impl Leaving {
    pub(super) fn new(body: Body, guest: Arc<Guest>) -> Self {
        Self { body, guest }
    }
}

impl hyper::body::Body for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.guest.rest();
    }
}
