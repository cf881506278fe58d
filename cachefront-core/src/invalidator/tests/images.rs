//! Row images in place: which values a batch replaces, and what a reader sees of it ("Row image in place").

use super::*;
use crate::event::{Batch, Transaction, TransitTimes};
use crate::invalidator::batch::plan;
use crate::invalidator::mapped::Caches;
use crate::position::Gtid;
use crate::store::RowImageValue;
use crate::{CacheBuilder, Timestamp};

/// The table, with what its server has executed; `None` if the loader does not say.
struct Positioned(Table, Option<ScriptedSource>, Mutex<u64>);

impl Loader<u64, u64> for Arc<Positioned> {
    type Error = std::io::Error;

    async fn load(&self, key: &u64, cx: &LoadCx) -> Result<Option<u64>, std::io::Error> {
        *self.2.lock().expect("unpoisoned") += 1;
        if let Some(source) = &self.1 {
            cx.position(source.executed());
        }
        self.0.load(key, cx).await
    }
}

fn builder() -> CacheBuilder<u64, u64> {
    Cache::builder("row")
        .depends_on_columns("shop.row", &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
        .refresh_in_place("shop.row", |row| row.get("value"))
}

fn image(id: u64, value: u64) -> RowImage {
    RowImage::from_pairs([("id", Value::UInt(id)), ("value", Value::UInt(value))])
}

fn change(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Change {
    let operation = match (before, after) {
        (None, _) => Operation::Insert,
        (_, None) => Operation::Delete,
        _ => Operation::Update,
    };
    let (before, after) = (before.map(|(id, value)| image(id, value)), after.map(|(id, value)| image(id, value)));
    Change::Row(RowChange { table: "shop.row".into(), operation, before, after })
}

fn set(id: u64, value: u64) -> Change {
    change(Some((id, value - 1)), Some((id, value)))
}

#[tokio::test]
async fn a_key_that_is_written_often_stays_a_hit() {
    for reports in [true, false] {
        let (mut world, loads) = (World::new(), Mutex::new(0));
        let source = reports.then(|| world.source.clone());
        let loader = Arc::new(Positioned(world.table.clone(), source, loads));
        world.cache = builder().shared(Arc::clone(&world.store)).loader(Arc::clone(&loader)).build().expect("a cache");
        world.table.set(1, 10);
        // A server that has executed nothing has no position.
        world.source.commit([]);
        let cdc = world.run().await;
        assert_eq!(world.read(1).await, (Some(10), Tier::Database));
        for value in 11..=30 {
            world.table.set(1, value);
            world.source.commit([set(1, value), set(2, value)]);
            world.caught_up().await;
            assert_eq!(world.read(1).await.0, Some(value));
        }
        let loads = *loader.2.lock().expect("unpoisoned");
        assert_eq!(loads, if reports { 1 } else { 21 }, "only a value of known position is replaced");
        assert_eq!(world.read(2).await.1, Tier::Database, "what was not cached is not cached by a change");
        world.table.set(1, 0);
        world.table.0.lock().expect("unpoisoned").remove(&1);
        world.source.commit([change(Some((1, 30)), None)]);
        world.caught_up().await;
        assert_eq!(world.read(1).await, (None, Tier::Database));
        cdc.shutdown().await;
    }
}

#[tokio::test]
async fn a_process_with_a_local_tier_sees_the_replaced_value() {
    let mut world = World::new();
    let loader = Arc::new(Positioned(world.table.clone(), Some(world.source.clone()), Mutex::new(0)));
    let local = crate::cache::Local::max_weight(1 << 20);
    world.cache =
        builder().shared(Arc::clone(&world.store)).local(local).loader(Arc::clone(&loader)).build().expect("a cache");
    world.table.set(1, 10);
    world.source.commit([]);
    let cdc = world.run().await;
    wait_until("the value is served by this process", async || world.read(1).await.1 == Tier::Local).await;
    let loads = *loader.2.lock().expect("unpoisoned");
    world.table.set(1, 11);
    world.source.commit([set(1, 11)]);
    wait_until("the new value is read", async || world.read(1).await.0 == Some(11)).await;
    wait_until("it is served by this process", async || world.read(1).await.1 == Tier::Local).await;
    assert_eq!(*loader.2.lock().expect("unpoisoned"), loads);
    cdc.shutdown().await;
}

fn gtid(number: u64) -> Gtid {
    Gtid { origin: "a".into(), number }
}

fn transaction(number: u64, complete: bool, changes: Vec<Change>) -> Transaction {
    let (committed_at, transit) = (Timestamp::UNKNOWN, TransitTimes::default());
    Transaction { gtid: gtid(number), committed_at, transit, changes, complete }
}

/// The values of a batch up to the position `after`, as text, after everything up to 5 was applied; and the keys that are removed.
fn split(after: &str, transactions: Vec<Transaction>) -> (Vec<String>, Vec<String>) {
    let cache = builder().build().expect("a cache");
    let caches = Caches::new(vec![cache.key_map()], true).expect("caches");
    let plan = plan(&Batch { transactions, ..Batch::default() }, &caches, false);
    let position = |text: &str| -> Position { text.parse().expect("a position") };
    let Some((values, others)) = plan.split(&position("a:1-5"), &position(after), 2) else {
        return (Vec::new(), plan.keys.iter().map(ToString::to_string).collect());
    };
    let show =
        |value: &RowImageValue| format!("{} {} {}", value.key, String::from_utf8_lossy(&value.payload), value.contains);
    (values.iter().map(show).collect(), others.iter().map(|change| change.key.to_string()).collect())
}

#[tokio::test]
async fn the_last_image_of_a_key_contains_its_whole_batch() {
    // The commits 7 and 10 changed other tables: they are in the position, and not in the batch.
    let (values, removed) = split(
        "a:1-10",
        vec![
            transaction(6, true, vec![set(1, 2), set(1, 3), set(2, 8)]),
            transaction(8, true, vec![set(1, 4)]),
            transaction(9, true, vec![]),
        ],
    );
    assert_eq!(values, ["row:1 4 a:1-10", "row:2 8 a:1-10"]);
    assert!(removed.is_empty());
}

#[tokio::test]
async fn every_other_change_removes_the_entry() {
    let all = |changes: Vec<Change>| split("a:1-6", vec![transaction(6, true, changes)]);
    // Deleted after its image; inserted after a delete.
    assert_eq!(all(vec![set(1, 2), change(Some((1, 2)), None)]), (vec![], vec!["row:1".into()]));
    let replaced = all(vec![change(Some((1, 2)), None), change(None, Some((1, 5)))]);
    assert_eq!(replaced, (vec!["row:1 5 a:1-6".into()], vec![]));
    // A row that moves to another key: the old key has no row.
    let moved = all(vec![change(Some((1, 2)), Some((2, 2)))]);
    assert_eq!(moved, (vec!["row:2 2 a:1-6".into()], vec!["row:1".into()]));
    // A part of a transaction; one that is incomplete is not contained in what follows.
    let parts = split("a:1-5:7", vec![transaction(6, false, vec![set(1, 2)]), transaction(7, true, vec![set(2, 3)])]);
    assert_eq!(parts, (vec!["row:2 3 a:1-5:7".into()], vec!["row:1".into()]));
    // A source that repeats what was applied.
    let repeated = split("a:1-6", vec![transaction(4, true, vec![set(1, 2)]), transaction(6, true, vec![set(2, 3)])]);
    assert_eq!(repeated, (vec!["row:2 3 a:1-6".into()], vec!["row:1".into()]));
    // A change of the whole table, or one whose key is not known, may be one of the same row.
    let table = Change::Tables { tables: vec!["shop.row".into()], reason: "a statement".into() };
    assert_eq!(all(vec![set(1, 2), table.clone()]), (vec![], vec!["row:1".into()]));
    assert_eq!(all(vec![table, set(1, 2)]), (vec![], vec!["row:1".into()]));
    let unmapped = RowImage::from_pairs([("value", Value::UInt(3))]);
    let unmapped =
        RowChange { table: "shop.row".into(), operation: Operation::Insert, before: None, after: Some(unmapped) };
    assert_eq!(all(vec![set(1, 2), Change::Row(unmapped)]), (vec![], vec!["row:1".into()]));
    // More than the limit.
    assert_eq!(all(vec![set(1, 2), set(2, 3), set(3, 4)]).0, Vec::<String>::new());
}

#[tokio::test]
async fn values_that_are_made_from_more_than_one_row_are_refused() {
    let two = builder().depends_on("shop.other", |row: &RowImage| Ok(vec![row.get::<u64>("id")?]));
    let tagged = builder().tagged();
    let another: CacheBuilder<u64, u64> = Cache::builder("row").refresh_in_place("shop.row", |row| row.get("value"));
    for refused in [two, tagged, another] {
        let error = refused.build().expect_err("not a function of one row");
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("refresh_in_place"), "{error}");
    }
}
