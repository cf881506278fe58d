//! What the library says while it is hurt: its log lines and its metrics, for all tests of this program together.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::fmt::MakeWriter;

/// Log and metrics of this process.
pub(crate) struct Observed {
    log: Lines,
    metrics: PrometheusHandle,
}

#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

/// Begins to observe; to be called before a cache or an invalidator is built.
pub(crate) fn observe() -> &'static Observed {
    static OBSERVED: OnceLock<Observed> = OnceLock::new();
    OBSERVED.get_or_init(|| {
        let log = Lines::default();
        tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).with_env_filter("info").init();
        let metrics = PrometheusBuilder::new().install_recorder().expect("no other recorder is installed");
        Observed { log, metrics }
    })
}

impl Observed {
    /// The log lines so far that hold all of `words`.
    pub(crate) fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let log = String::from_utf8_lossy(&self.log.0.lock().expect("unpoisoned")).into_owned();
        log.lines().filter(|line| words.iter().all(|word| line.contains(word))).map(ToOwned::to_owned).collect()
    }

    /// The sum of all series of the metric `name` whose labels hold `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.metrics.render();
        let series = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("unpoisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
