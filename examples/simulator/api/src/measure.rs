//! Rate, errors and duration of requests.

use std::time::Instant;

use axum::extract::MatchedPath;
use axum::http::{Method, StatusCode};
use metrics::{counter, gauge, histogram};
use simulator_model::metrics::{HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS_IN_FLIGHT, HTTP_REQUESTS_TOTAL};

/// Route label of requests that match no route: their paths would create an unbounded number of labels.
const UNMATCHED: &str = "unmatched";

/// A request in progress. It counts as in flight until it is dropped, even if the client has given up.
#[derive(Debug)]
pub(crate) struct Request {
    method: &'static str,
    route: String,
    started: Instant,
}

impl Request {
    /// Counts a request that has arrived; `route` is `None` if it matches no route.
    pub(crate) fn begin(method: &Method, route: Option<&MatchedPath>) -> Self {
        gauge!(HTTP_REQUESTS_IN_FLIGHT).increment(1.0);
        let route = route.map_or(UNMATCHED, MatchedPath::as_str).to_owned();
        Self { method: label(method), route, started: Instant::now() }
    }

    /// Records the response.
    pub(crate) fn answered(self, status: StatusCode) {
        let took = self.started.elapsed().as_secs_f64();
        let labels = [("method", self.method.to_owned()), ("route", self.route.clone())];
        histogram!(HTTP_REQUEST_DURATION_SECONDS, &labels).record(took);
        let [method, route] = labels;
        counter!(HTTP_REQUESTS_TOTAL, &[method, route, ("status", class(status).to_owned())]).increment(1);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        gauge!(HTTP_REQUESTS_IN_FLIGHT).decrement(1.0);
    }
}

fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
