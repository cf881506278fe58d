//! The numbers of the charts: one sample a second, kept here so that a reload and a second tab show the same lines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachefront::Timestamp;
use simulator_api::Api;
use simulator_cli::{ExposeSecret, SecretString};
use simulator_model::caches::BY_EMAIL;
use simulator_model::domain::Mode;
use simulator_model::settings::Settings;

use super::activity::{ActivityLog, percentile};
use super::history::{History, Mark, Sample};
use super::moment::Moment;
use super::processes::{Heard, Processes};
use super::verdict::Word;

/// Maximum number of samples: the ten minutes that the charts show at most, and a few more.
pub(super) const SAMPLES_MAX: usize = 620;

/// Maximum number of marks.
const MARKS_MAX: usize = 64;

/// Time limit of a request for the API's metrics; a slower one leaves a gap in the charts.
const ANSWER_MAX: Duration = Duration::from_millis(800);

/// Number of samples for which the last measured bus latency is shown at its stage.
const BUS_KEPT: usize = 10;

/// Maximum time between two samples from which a rate is computed: over a longer one it would not be current.
const GAP_MAX: Duration = Duration::from_secs(5);

/// Window of the lag percentiles: changes are too rare for a percentile of each sample.
const LAG_WINDOW_US: u64 = 5_000_000;

/// The caches that serve the API's own reads. Those of comparisons are not counted: a sweep would change the charts.
const CACHES: [&str; 2] = ["users", BY_EMAIL];

const READS: &str = "cachefront_reads_total";
const LOADS: &str = "cachefront_loads_total";
const REQUESTS: &str = "simulator_http_request_duration_seconds_bucket";
const BUS: &str = "cachefront_bus_seconds_";

/// Source of the metrics of the process that serves the reads.
#[derive(Debug)]
pub(super) enum Numbers {
    /// This process.
    Here,
    /// Another process, which serves `/metrics`.
    There {
        http: reqwest::Client,
        url: String,
        token: Option<SecretString>,
        /// Those that the metrics came from.
        own: Processes,
        /// Those that all responses came from: a balancer that gives each connection to the next process may give all requests for
        /// metrics to the same one.
        all: Arc<Processes>,
    },
}

impl Numbers {
    /// Reads the metrics of the API that the settings name.
    pub(super) fn of_api(settings: &Settings, all: Arc<Processes>) -> Self {
        // Each request on a connection of its own, so that every process behind the address is heard of.
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).pool_max_idle_per_host(0);
        Self::There {
            http: http.build().unwrap_or_default(),
            url: format!("{}/metrics", settings.api_url),
            token: settings.client_token().cloned(),
            own: Processes::default(),
            all,
        }
    }

    /// Returns the metrics in Prometheus's text format, `None` if the API does not return them in time, or if more than one process
    /// does: each counts its own.
    pub(super) async fn text(&self, api: &Api) -> Option<String> {
        match self {
            Self::Here => Some(api.metrics.render()),
            Self::There { http, url, token, own, all } => {
                let request = http.get(url);
                let request = match token {
                    Some(token) => request.bearer_auth(token.expose_secret()),
                    None => request,
                };
                let response = request.send().await.ok()?.error_for_status().ok()?;
                all.note(response.headers());
                let heard = own.note(response.headers());
                // Counters of another process are not compared with those of the one before.
                response.text().await.ok().filter(|_| heard == Heard::Same && all.several().is_none())
            }
        }
    }
}

impl Numbers {
    /// Returns why nothing is measured although the API responds; `None` if it is.
    pub(super) fn not_measured(&self) -> Option<String> {
        let Self::There { all, .. } = self else { return None };
        let count = all.several()?;
        Some(format!(
            "Not measured: {count} processes respond at the address of the API, and each counts its own requests. Prometheus adds them up."
        ))
    }
}

#[derive(Debug, Default)]
pub(super) struct Gauges {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    samples: VecDeque<Sample>,
    marks: VecDeque<Mark>,
    before: Option<(Timestamp, Counters)>,
}

impl Inner {
    /// Adds a sample, after a gap if there was none for some time.
    fn add(&mut self, sample: Sample) {
        if let Some(last) = self.samples.back().filter(|last| sample.t - last.t > GAP_MAX.as_secs_f64()) {
            self.samples.push_back(Sample { t: last.t + 1.0, ..Sample::default() });
        }
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }
}

/// Counters of the process at one moment.
#[derive(Clone, Debug, Default)]
struct Counters {
    hits: f64,
    reads: f64,
    loads: f64,
    /// Cumulative number of requests by the upper bound of their bucket, in µs.
    requests: BTreeMap<u64, f64>,
    /// Sum in seconds, and count.
    bus: (f64, f64),
}

fn seconds(at: Timestamp) -> f64 {
    at.as_micros() as f64 / 1e6
}

impl Gauges {
    /// Takes a sample from metrics in Prometheus's text format. Without them, the sample is a gap.
    pub(super) fn sample(&self, text: Option<&str>, now: Timestamp, moment: &Moment, chronicle: &ActivityLog) {
        let mut sample = self.rates(text.map(Counters::read), now);
        sample.stale = staleness(moment);
        if text.is_some() && moment.mode.mode == Mode::Cdc {
            let since = now.as_micros().saturating_sub(LAG_WINDOW_US);
            let lags = chronicle.lags_since(Timestamp::from_micros(since));
            (sample.lag50, sample.lag99) = (percentile(&lags, 50), percentile(&lags, 99));
        }
        let Ok(mut inner) = self.inner.lock() else { return };
        inner.add(sample);
    }

    /// Returns the rates since the last sample. All are unknown in a gap and in the first sample after one.
    fn rates(&self, counters: Option<Counters>, now: Timestamp) -> Sample {
        let unknown = Sample { t: seconds(now), ..Sample::default() };
        let Ok(mut inner) = self.inner.lock() else { return unknown };
        let before = inner.before.take();
        let Some(counters) = counters else { return unknown };
        inner.before = Some((now, counters.clone()));
        match before.filter(|(at, _)| now.since(*at) <= GAP_MAX) {
            Some((at, before)) => {
                let passed = now.since(at).as_secs_f64().max(0.001);
                Sample { t: unknown.t, ..counters.since(&before, passed) }
            }
            None => unknown,
        }
    }

    /// Adds a mark to all charts.
    pub(super) fn mark(&self, at: Timestamp, what: String) {
        let Ok(mut inner) = self.inner.lock() else { return };
        inner.marks.push_back(Mark { t: seconds(at), what });
        if inner.marks.len() > MARKS_MAX {
            inner.marks.pop_front();
        }
    }

    /// Returns the samples that were taken after this time, in seconds since 1970, oldest first.
    pub(super) fn since(&self, t: f64) -> Vec<Sample> {
        let Ok(inner) = self.inner.lock() else { return Vec::new() };
        // A tab knows times to the hundredth of a second.
        let newer = inner.samples.iter().rev().take_while(|sample| sample.t > t + 0.01);
        let mut newer: Vec<Sample> = newer.copied().collect();
        newer.reverse();
        newer
    }

    pub(super) fn marks(&self) -> Vec<Mark> {
        self.inner.lock().map(|inner| inner.marks.iter().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn history(&self) -> History {
        let Ok(inner) = self.inner.lock() else { return History::default() };
        History { samples: inner.samples.iter().copied().collect(), marks: inner.marks.iter().cloned().collect() }
    }

    /// Prepends the history of an earlier process, with a gap in between. Ignores a history that is not older than all
    /// samples of this one.
    pub(super) fn restore(&self, earlier: History) {
        let Ok(mut inner) = self.inner.lock() else { return };
        let Some(last) = earlier.samples.last().map(|sample| sample.t) else { return };
        if inner.samples.front().is_some_and(|first| first.t <= last) {
            return;
        }
        inner.samples.push_front(Sample { t: last + 1.0, ..Sample::default() });
        earlier.samples.into_iter().rev().for_each(|sample| inner.samples.push_front(sample));
        earlier.marks.into_iter().rev().for_each(|mark| inner.marks.push_front(mark));
        while inner.samples.len() > SAMPLES_MAX {
            inner.samples.pop_front();
        }
        while inner.marks.len() > MARKS_MAX {
            inner.marks.pop_front();
        }
    }

    /// Returns the last measured latency from the store to the tier of the process that reads, in ms.
    pub(super) fn bus_ms(&self) -> Option<f64> {
        let inner = self.inner.lock().ok()?;
        inner.samples.iter().rev().take(BUS_KEPT).find_map(|sample| sample.bus_mean)
    }

    pub(super) fn newest(&self) -> Option<Sample> {
        self.inner.lock().ok()?.samples.back().copied()
    }
}

fn staleness(moment: &Moment) -> Option<f64> {
    (moment.verdict.word != Word::Unknown).then(|| moment.verdict.oldest.unwrap_or_default().as_secs_f64())
}

impl Counters {
    fn read(text: &str) -> Self {
        let mut counters = Self::default();
        for line in text.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if label(series, "cache").is_some_and(|cache| !CACHES.contains(&cache)) {
                continue;
            }
            if series.starts_with(READS) {
                counters.reads += value;
                if ["local", "shared"].iter().any(|tier| label(series, "outcome") == Some(*tier)) {
                    counters.hits += value;
                }
            } else if series.starts_with(LOADS) {
                counters.loads += value;
            } else if let Some(part) = series.strip_prefix(BUS) {
                add(&mut counters.bus, part, value);
            } else if series.starts_with(REQUESTS) && is_read_of_a_user(series) {
                let bound = label(series, "le").and_then(|bound| bound.parse::<f64>().ok());
                // The last bucket has no upper bound: quantiles in it are reported as the last finite bound.
                let micros = bound.filter(|bound| bound.is_finite()).map_or(u64::MAX, |bound| (bound * 1e6) as u64);
                *counters.requests.entry(micros).or_default() += value;
            }
        }
        counters
    }

    fn since(&self, before: &Self, passed: f64) -> Sample {
        let (reads, hits) = (self.reads - before.reads, self.hits - before.hits);
        Sample {
            hit: (reads > 0.0).then(|| hits / reads * 100.0),
            loads: Some((self.loads - before.loads).max(0.0) / passed),
            reads: Some(reads.max(0.0) / passed),
            p50: self.quantile(before, 0.5),
            p99: self.quantile(before, 0.99),
            bus_mean: mean(self.bus, before.bus),
            ..Sample::default()
        }
    }

    /// Estimates a quantile by linear interpolation within its bucket.
    fn quantile(&self, before: &Self, share: f64) -> Option<f64> {
        let new = |bound: &u64| self.requests.get(bound).unwrap_or(&0.0) - before.requests.get(bound).unwrap_or(&0.0);
        let total = new(&u64::MAX);
        if total <= 0.0 {
            return None;
        }
        let (mut below_bound, mut below_count) = (0_u64, 0.0);
        for bound in self.requests.keys() {
            let count = new(bound);
            if count >= total * share {
                let top = if *bound == u64::MAX { below_bound } else { *bound };
                let within = (total * share - below_count) / (count - below_count).max(1.0);
                return Some((below_bound as f64 + (top - below_bound) as f64 * within) / 1e3);
            }
            (below_bound, below_count) = (*bound, count);
        }
        None
    }
}

/// Returns true for reads of users. Scrapes, health checks and peeks into the cache do not count.
fn is_read_of_a_user(series: &str) -> bool {
    label(series, "method") == Some("GET") && label(series, "route").is_some_and(|route| route.starts_with("/users"))
}

fn add(total: &mut (f64, f64), part: &str, value: f64) {
    match part.split('{').next() {
        Some("sum") => total.0 += value,
        Some("count") => total.1 += value,
        _ => {}
    }
}

/// Returns the mean since `before`, in ms.
fn mean(now: (f64, f64), before: (f64, f64)) -> Option<f64> {
    let count = now.1 - before.1;
    (count > 0.0).then(|| (now.0 - before.0) / count * 1e3)
}

/// The value of a label in a line of Prometheus's text format.
fn label<'a>(series: &'a str, name: &str) -> Option<&'a str> {
    let (_, labels) = series.split_once('{')?;
    let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
    labels.get(start..)?.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_from_prometheus_text() {
        let text = "# TYPE x counter\ncachefront_reads_total{cache=\"users\",outcome=\"local\"} 6\n\
                    cachefront_reads_total{cache=\"users\",outcome=\"miss\"} 2\n\
                    cachefront_loads_total{cache=\"users\",outcome=\"value\"} 2\n";
        let sample = Counters::read(text).since(&Counters::default(), 2.0);
        assert_eq!((sample.hit, sample.loads, sample.reads), (Some(75.0), Some(1.0), Some(4.0)));
        assert_eq!((sample.p50, sample.lag99), (None, None));
    }

    #[test]
    fn the_caches_of_a_sweep_are_not_the_apis_own() {
        let line = |cache: &str, outcome: &str, count: u64| {
            format!(
                "cachefront_reads_total{{cache=\"{cache}\",outcome=\"{outcome}\"}} {count}\ncachefront_loads_total{{cache=\"{cache}\",outcome=\"value\"}} {count}\n"
            )
        };
        let own = line("users", "local", 6) + &line("users_by_email", "miss", 2);
        let others = line("users_ttl", "local", 900) + &line("users_revalidating", "miss", 900);
        let sample = Counters::read(&(own + &others)).since(&Counters::default(), 1.0);
        assert_eq!((sample.hit, sample.loads, sample.reads), (Some(75.0), Some(8.0), Some(8.0)));
    }

    #[test]
    fn what_follows_an_outage_is_not_compared_with_what_was_before() {
        let gauges = Gauges::default();
        let counters = |reads| Some(Counters { reads, ..Counters::default() });
        let at = |second: u64| Timestamp::from_micros(second * 1_000_000);
        let rates = [
            gauges.rates(counters(10.0), at(1)),
            gauges.rates(counters(30.0), at(2)),
            gauges.rates(None, at(3)),
            gauges.rates(counters(90.0), at(4)),
            gauges.rates(counters(95.0), at(5)),
            gauges.rates(counters(99.0), at(60)),
        ];
        assert_eq!(rates.map(|sample| sample.reads), [None, Some(20.0), None, None, Some(5.0), None]);
        assert_eq!(rates[2], Sample { t: 3.0, ..Sample::default() });
    }

    #[test]
    fn a_restart_shows_what_was_there_with_a_gap_after_it() {
        let gauges = Gauges::default();
        let sample = |t: f64| Sample { t, reads: Some(1.0), ..Sample::default() };
        gauges.restore(History { samples: (0..900).map(|t| sample(f64::from(t))).collect(), marks: Vec::new() });
        let history = gauges.history();
        assert_eq!(history.samples.len(), SAMPLES_MAX);
        let [before, gap] = history.samples.last_chunk::<2>().expect("samples");
        assert_eq!((before.t, before.reads, gap.t, gap.reads), (899.0, Some(1.0), 900.0, None));
        // A second restore changes nothing.
        gauges.restore(history.clone());
        assert_eq!(gauges.history().samples, history.samples);
    }

    #[test]
    fn a_time_without_samples_is_a_gap() {
        let mut inner = Inner::default();
        for t in [10.0, 11.0, 60.0] {
            inner.add(Sample { t, stale: Some(0.0), ..Sample::default() });
        }
        let points: Vec<_> = inner.samples.iter().map(|sample| (sample.t, sample.stale)).collect();
        assert_eq!(points, [(10.0, Some(0.0)), (11.0, Some(0.0)), (12.0, None), (60.0, Some(0.0))]);
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let line = |le: &str, count: u64| {
            format!(
                "simulator_http_request_duration_seconds_bucket{{method=\"GET\",route=\"/users/{{id}}\",le=\"{le}\"}} {count}\n"
            )
        };
        let scrape =
            "simulator_http_request_duration_seconds_bucket{method=\"GET\",route=\"/metrics\",le=\"+Inf\"} 900\n";
        let text = line("0.001", 90) + &line("0.01", 100) + &line("+Inf", 100) + scrape;
        let sample = Counters::read(&text).since(&Counters::default(), 1.0);
        let (p50, p99) = (sample.p50.expect("requests"), sample.p99.expect("requests"));
        assert!(p50 < 1.0 && (1.0..=10.0).contains(&p99), "{p50} {p99}");
    }
}
