//! Bodies on their way in and out, and what they tell of their connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

use super::door::Guest;

/// What is left of a body that nobody reads is read on and thrown away for so long: a client that is still sending when
/// its connection ends never sees the answer. Meanwhile it has the answer already.
const LEFT_OVER_MAX: Duration = Duration::from_secs(10);

/// A request's body. The request is whole at its end.
pub(super) struct Arriving {
    /// None once it is handed over to be thrown away.
    body: Option<Incoming>,
    guest: Arc<Guest>,
    /// The client waits with the body until it is asked for.
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
        // A client that has not been asked for its body does not send it once it is refused.
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

/// An answer's body. The request is answered when it is dropped.
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
