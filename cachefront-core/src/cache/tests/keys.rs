//! Keys of every type: what a mapping makes of a row is the key that a reader asks for.

use std::borrow::Cow;
use std::fmt::Debug;
use std::hash::Hash;

use bytes::Bytes;

use super::*;
use crate::cache_key;
use crate::event::{FromValue, Operation, RowChange, Value};
use crate::key::CacheKey;

/// A cached key is the one that a change of its row names.
async fn is_invalidated<K, F>(key: K, row: RowImage, key_of: F)
where
    K: CacheKey + Clone + Debug + Eq + Hash + Send + Sync + 'static,
    F: Fn(&RowImage) -> crate::error::Result<K> + Send + Sync + 'static,
{
    let store = MemoryStore::new("t");
    let cache = Cache::<K, u64>::builder("keys")
        .shared(store.clone())
        .mode(InvalidationMode::Ttl)
        .local(Local::max_weight(1 << 20))
        .loader(crate::loader::loader_fn(|_| async { Ok::<_, std::io::Error>(Some(1)) }))
        .depends_on("shop.row", move |row| Ok(vec![key_of(row)?]))
        .build()
        .expect("a cache");
    assert_eq!(cache.get_many([&key, &key]).await.expect("values"), [Some(1); 2]);
    assert_eq!(cache.get(&key).detailed().await.expect("a value").tier, Tier::Local, "{key:?}");
    let table = "shop.row".into();
    let change = RowChange { table, operation: Operation::Delete, before: Some(row), after: None };
    let mut keys = Vec::new();
    cache.key_map().keys(&change, &mut keys).expect("keys");
    assert_eq!(keys, store.keys(9), "{key:?}");
    cache.invalidate(&key).await.expect("invalidated");
    assert!(cache.peek(&key).await.expect("a peek").is_none(), "{key:?}");
}

async fn column<K>(key: K, value: Value)
where
    K: CacheKey + Clone + Debug + Eq + FromValue + Hash + Send + Sync + 'static,
{
    is_invalidated(key, RowImage::from_pairs([("k", value)]), |row| row.get("k")).await;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Title {
    product: u64,
    language: Box<str>,
}
cache_key!(Title { product, language });

#[tokio::test]
async fn the_key_of_a_row_is_the_key_of_a_reader() {
    column(-7_i64, Value::Int(-7)).await;
    column(u128::from(u64::MAX), Value::UInt(u64::MAX)).await;
    column("a:b\\".to_owned(), Value::Text("a:b\\".into())).await;
    column(Arc::<str>::from("ä"), Value::Text("ä".into())).await;
    column(Box::<str>::from(""), Value::Text("".into())).await;
    column([0_u8, 255, 0], Value::Bytes([0, 255, 0].into())).await;
    column(vec![b':', 0xff], Value::Bytes([b':', 0xff].into())).await;
    column(Bytes::from_static(b"x"), Value::Text("x".into())).await;
    column(Some(7_u64), Value::UInt(7)).await;
    column(None::<u64>, Value::Null).await;
    #[cfg(feature = "uuid")]
    column(uuid::Uuid::from_bytes([9; 16]), Value::Bytes([9; 16].into())).await;

    let row = || RowImage::from_pairs([("p", Value::UInt(7)), ("l", Value::Text("de:CH".into()))]);
    is_invalidated((7_u64, "de:CH".to_owned()), row(), |row| Ok((row.get("p")?, row.get("l")?))).await;
    let title = Title { product: 7, language: "de:CH".into() };
    is_invalidated(title, row(), |row| Ok(Title { product: row.get("p")?, language: row.get("l")? })).await;
    is_invalidated(Cow::Borrowed("de:CH"), row(), |row| Ok(Cow::Owned(row.get("l")?))).await;
    is_invalidated((), row(), |_| Ok(())).await;
}
