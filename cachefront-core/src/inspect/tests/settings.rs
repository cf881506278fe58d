//! What is refused, and what failures are reported.

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
