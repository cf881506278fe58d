//! The gauges never show an outcome that is no longer current.

use std::sync::atomic::{AtomicU64, Ordering};

use cachefront::clock::Sleep;
use metrics_exporter_prometheus::PrometheusBuilder;
use simulator_cli::Environment;

use super::*;
use crate::backend::Backend;
use crate::settings::{Flags, Settings};

/// A clock that the test moves by hand.
#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _duration: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

impl Hand {
    fn turn(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).expect("a short time"), Ordering::Relaxed);
    }
}

#[test]
fn a_verdict_of_before_a_pause_is_taken_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let place = dir.path().to_str().expect("a path");
    let environment = Environment::of(&[("CACHEFRONT_DATA_DIR", place), ("CACHEFRONT_SOURCE", "binlog")]);
    let settings = Settings::resolve(false, &Flags::default(), &environment).expect("settings");
    let clock = Arc::new(Hand(AtomicU64::new(1_000_000)));
    let recorder = PrometheusBuilder::new().build_recorder();
    let numbers = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // One thread, so that everything that is measured reaches this recorder.
    ::metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let backend = Backend::open(&settings).await.expect("a backend");
            let row = backend.database.adopt_mode(None).await.expect("a mode");
            let caches = backend.caches(&settings).expect("caches");
            let modes = Modes::new(Arc::clone(&backend.database), row, |_| {});
            let hand: Arc<dyn Clock> = Arc::<Hand>::clone(&clock);
            let inspector = Inspector::new(caches, backend.true_database, modes, None, hand, &backend.events)
                .expect("an inspector");

            inspector.forget_what_is_outdated();
            assert!(!numbers.render().contains("cachefront_inspector_known "), "nobody has looked yet");
            inspector.pass().await;
            clock.turn(CURRENT_FOR);
            inspector.forget_what_is_outdated();
            assert!(numbers.render().contains("cachefront_inspector_known 1"), "{}", numbers.render());
            clock.turn(Duration::from_millis(1));
            inspector.forget_what_is_outdated();
            let said = numbers.render();
            assert!(said.contains("cachefront_inspector_known 0"), "{said}");
            assert!(said.contains("cachefront_consistency_healthy NaN"), "{said}");
        });
    });
}
