//! One series for the caches of all lifetimes: clients choose the lifetimes, and a series that exists once is never forgotten.

use std::borrow::Cow;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};

use crate::caches::names::AGED;

/// The label `cache` of all of them.
const CACHE: &str = "users_ttl";

/// Adds up the counters and histograms of the caches of all lifetimes, and drops their gauges: the state of one of them says
/// nothing about the others.
pub(super) struct Merged<R>(pub(super) R);

impl<R: Recorder> Recorder for Merged<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.0.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.0.register_counter(&merged(key), metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        if key.labels().any(is_aged) { Gauge::noop() } else { self.0.register_gauge(key, metadata) }
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        self.0.register_histogram(&merged(key), metadata)
    }
}

fn is_aged(label: &Label) -> bool {
    label.key() == "cache" && label.value().starts_with(AGED)
}

fn merged(key: &Key) -> Cow<'_, Key> {
    if !key.labels().any(is_aged) {
        return Cow::Borrowed(key);
    }
    let one = |label: &Label| if is_aged(label) { Label::new("cache", CACHE) } else { label.clone() };
    Cow::Owned(Key::from_parts(key.name().to_owned(), key.labels().map(one).collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn however_many_lifetimes_there_are_their_series_are_one() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let numbers = recorder.handle();
        ::metrics::with_local_recorder(&Merged(recorder), || {
            for ttl_ms in 0..100_u64 {
                let cache = format!("{AGED}{ttl_ms}ms");
                ::metrics::counter!("reads", "cache" => cache.clone(), "outcome" => "local").increment(1);
                ::metrics::gauge!("up", "cache" => cache).set(1.0);
            }
            ::metrics::counter!("reads", "cache" => "users", "outcome" => "local").increment(7);
            ::metrics::gauge!("up", "cache" => "users").set(1.0);
        });
        let text = numbers.render();
        let series: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(series.len(), 3, "{text}");
        for expected in
            ["reads{cache=\"users_ttl\",outcome=\"local\"} 100", "reads{cache=\"users\",outcome=\"local\"} 7"]
        {
            assert!(series.contains(&expected), "{text}");
        }
    }
}
