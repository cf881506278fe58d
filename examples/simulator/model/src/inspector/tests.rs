//! No outcome is claimed that is no longer current, or that is of a store that cannot be read.

use std::sync::atomic::{AtomicU64, Ordering};

use cachefront::clock::Sleep;
use metrics_exporter_prometheus::PrometheusBuilder;
use simulator_cli::Environment;
use tempfile::TempDir;

use super::*;
use crate::backend::Backend;
use crate::domain::UserInput;
use crate::faults::FaultState;
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

fn settings(dir: &TempDir) -> Settings {
    let place = dir.path().to_str().expect("a path");
    let environment = Environment::of(&[("CACHEFRONT_DATA_DIR", place), ("CACHEFRONT_SOURCE", "binlog")]);
    Settings::resolve(false, &Flags::default(), &environment).expect("settings")
}

#[test]
fn a_verdict_of_before_a_pause_is_taken_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(&dir);
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
            let (database, store) = (backend.true_database, backend.store);
            let inspector = Inspector::new(caches, database, store, modes, None, hand, &backend.events);
            let inspector = inspector.expect("an inspector");

            inspector.forget_what_is_outdated();
            assert!(!numbers.render().contains("cachefront_inspector_known "), "no check has run yet");
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

#[tokio::test]
async fn a_store_that_is_cut_off_is_unknown_and_never_empty() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = settings(&dir);
    let backend = Backend::open(&settings).await.expect("a backend");
    let row = backend.database.adopt_mode(None).await.expect("a mode");
    let caches = backend.caches(&settings).expect("caches");
    let modes = Modes::new(Arc::clone(&backend.database), row, |_| {});
    let inspector = backend.inspector(caches, &modes).expect("an inspector");
    assert_eq!(inspector.pass().await.verdict, Verdict::Empty);

    backend.faults.set(FaultState { store_cut: true, ..FaultState::default() }).await.expect("cut off");
    let is_unknown = |said: Consistency| {
        assert_eq!((said.verdict, said.compared), (Verdict::Unknown, 0), "{said:?}");
        assert!(said.cause.as_ref().is_some_and(|cause| cause.contains("store_cut")), "{said:?}");
    };
    is_unknown(inspector.pass().await);
    let input = UserInput { name: "Ada".into(), email: "ada@example.org".into(), status: None };
    backend.database.create(None, &input).await.expect("a user");
    is_unknown(inspector.pass().await);
    let view = inspector.look(1).await;
    assert_eq!((view.state, view.cached), (EntryState::Unknown, None));
    assert!(view.database.is_some() && view.error.is_some_and(|error| error.contains("store_cut")));

    backend.faults.set(FaultState::default()).await.expect("lifted");
    assert_eq!(inspector.pass().await.verdict, Verdict::Empty);
    assert_eq!(inspector.look(1).await.state, EntryState::Absent);
}

#[tokio::test]
async fn callers_that_ask_at_once_share_a_pass() {
    let dir = tempfile::tempdir().expect("a folder");
    let backend = Backend::open(&settings(&dir)).await.expect("a backend");
    let row = backend.database.adopt_mode(None).await.expect("a mode");
    let caches = backend.caches(&settings(&dir)).expect("caches");
    let modes = Modes::new(Arc::clone(&backend.database), row, |_| {});
    let inspector = backend.inspector(caches, &modes).expect("an inspector");
    let busy = inspector.changes.lock().await;
    let passes = futures_util::future::join_all((0..50).map(|_| inspector.pass()));
    // All of them have asked before the first pass begins.
    let (passes, ()) = tokio::join!(passes, async { drop(busy) });
    let mut ends: Vec<&str> = passes.iter().map(|pass| pass.as_of.as_str()).collect();
    ends.dedup();
    assert_eq!(ends.len(), 1, "{ends:?}");
    let input = UserInput { name: "Ada".into(), email: "ada@example.org".into(), status: None };
    backend.database.create(None, &input).await.expect("a user");
    assert_eq!(inspector.pass().await.users, 1, "a pass that ended before is not taken for a new one");
}
