//! What is refused, what failures are reported, and how an inspector ends.

use std::sync::atomic::AtomicU64;

use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::*;

#[tokio::test]
async fn an_inspector_needs_a_cache_with_a_loader() {
    let nothing = Inspector::builder().spawn().expect_err("no cache");
    assert_eq!(nothing.kind(), ErrorKind::Config);
    let cache: Cache<u64, u64> = Cache::builder("row").shared(MemoryStore::new("t")).build().expect("a cache");
    let without = Inspector::builder().watch(&cache).spawn().expect_err("no loader");
    assert!(without.to_string().contains("`row` has no loader"), "{without}");
    let settings = InspectSettings::default().with_grace(Duration::ZERO);
    let zero = Inspector::builder().watch(&cache).settings(settings).spawn().expect_err("a grace of zero");
    assert!(zero.to_string().contains("`grace`"), "{zero}");
}

struct Broken;

impl Loader<u64, u64> for Broken {
    type Error = std::io::Error;

    async fn load(&self, _key: &u64, _cx: &LoadCx) -> std::io::Result<Option<u64>> {
        Err(std::io::Error::other("the database is away"))
    }
}

#[tokio::test]
async fn a_pass_that_failed_is_no_verdict() {
    let world = World::new(false).await;
    world.fill().await;
    let watch = Watch::new(&world.cache).loader(Broken).sample(|_| async { Ok(vec![1]) });
    let inspector = Inspector::builder().watch(watch.clone()).spawn().expect("an inspector");
    let error = inspector.pass().await.expect_err("no rows");
    assert_eq!(error.kind(), ErrorKind::Load);
    assert!(error.chain().contains("the database is away"), "{}", error.chain());
    assert!(inspector.last_pass().is_none() && inspector.report().last_error.is_some());
    assert_eq!(watch.compare(&1).await.expect_err("no row").kind(), ErrorKind::Load);
}

#[tokio::test]
async fn a_comparison_has_both_values() {
    let world = World::new(false).await;
    let watch = Watch::new(&world.cache);
    let absent = watch.compare(&1).await.expect("a comparison");
    assert_eq!((absent.cached.is_some(), absent.loaded, absent.differs()), (false, Some(0), false));
    world.fill().await;
    assert!(!watch.compare(&1).await.expect("a comparison").differs());
    world.faults.hold(true);
    world.table.set(1, 5, None);
    let stale = watch.compare(&1).await.expect("a comparison");
    assert_eq!((stale.cached.as_ref().map(|hit| hit.value), stale.loaded), (Some(Some(0)), Some(5)));
    assert!(stale.differs());
}

/// A mapping is the user's code, and so is a loader: neither ends the inspector's tasks.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_users_code_is_an_error() {
    let world = World::new(false).await;
    let picky: Cache<u64, u64> = Cache::builder("picky")
        .shared(MemoryStore::new("p"))
        .loader(world.table.clone())
        .depends_on("shop.row", |row: &RowImage| {
            let id = row.get::<u64>("id")?;
            assert_ne!(id, 13, "this mapping does not know it");
            Ok(vec![id])
        })
        .build()
        .expect("a cache");
    let watch = Watch::new(&picky).sample(|max| async move {
        assert!(max > 1, "this sample knows no single one");
        Ok(vec![1])
    });
    let settings = InspectSettings::default().with_pass_every(Duration::ZERO).with_sample_max(1);
    let inspector = world.builder().watch(watch).settings(settings).follow(world.table.log.clone());
    let inspector = inspector.spawn().expect("an inspector");
    wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
    world.table.set(13, 1, None);
    let last = world.table.set(7, 1, None);
    wait_until("it goes on", || async { inspector.report().followed.is_some_and(|upto| upto.contains(&last)) }).await;
    let error = inspector.pass().await.expect_err("the sample");
    assert!(error.kind() == ErrorKind::Load && error.to_string().contains("sample"), "{error}");
    let report = inspector.report();
    assert!(report.last_error.is_some_and(|error| error.to_string().contains("panicked")));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_a_database_that_hangs() {
    for pass_every in [Duration::ZERO, Duration::from_secs(1)] {
        let world = World::new(false).await;
        let hangs = |_: u64| std::future::pending::<std::io::Result<Option<u64>>>();
        let inspector = world.inspector_of(crate::loader_fn(hangs), pass_every).await;
        world.fill().await;
        world.faults.hold(true);
        for id in IDS {
            world.table.set(id, 1, None);
        }
        pause(Duration::from_millis(1_010)).await;
        let ended = tokio::time::timeout(Duration::from_secs(1), inspector.clone().shutdown()).await;
        assert!(ended.is_ok(), "passes every {pass_every:?}");
        assert_eq!(inspector.report().convergence[0].undecided, 20, "those that had begun, and those that were late");
    }
}

/// The gauges, by their names.
#[derive(Default)]
struct Gauges(Mutex<HashMap<String, Arc<Bits>>>);

/// A number with a fraction.
#[derive(Default)]
struct Bits(AtomicU64);

impl GaugeFn for Bits {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::SeqCst);
    }
}

impl Gauges {
    fn is_known(&self) -> bool {
        let gauges = self.0.lock().expect("unpoisoned");
        let known = gauges.get("cachefront_inspector_known");
        known.is_some_and(|bits| f64::from_bits(bits.0.load(Ordering::SeqCst)) > 0.0)
    }
}

impl Recorder for Gauges {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut gauges = self.0.lock().expect("unpoisoned");
        Gauge::from_arc(Arc::clone(gauges.entry(key.name().to_owned()).or_default()))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn a_paused_inspector_has_no_verdict() {
    let gauges = Gauges::default();
    let _recorded = metrics::set_default_local_recorder(&gauges);
    let world = World::new(false).await;
    let inspector = world.inspector_of(world.table.clone(), Duration::from_secs(1)).await;
    for _ in 0..2 {
        wait_until("a pass has ended", || async { gauges.is_known() }).await;
        inspector.pause();
        wait_until("it says nothing", || async { !gauges.is_known() }).await;
        inspector.resume();
    }
    wait_until("a pass has ended", || async { gauges.is_known() }).await;
    inspector.shutdown().await;
    assert!(!gauges.is_known());
}
