//! Codecs and compression, through the store and back.

use bytes::Bytes;

use super::*;
use crate::codec::{Codec, Compression, MsgPack, Postcard, Raw};
use crate::entry::Entry;

type Texts<C> = CacheBuilder<u64, String, C>;

fn text(id: u64) -> String {
    format!("text {id} ").repeat(1_000)
}

fn texts(store: &MemoryStore) -> CacheBuilder<u64, String> {
    Cache::builder("texts")
        .shared(store.clone())
        .loader(crate::loader::loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(text(id))) }))
}

/// Returns the tier that key 7 is read from.
async fn read<C: Codec<String>>(builder: Texts<C>) -> Tier {
    let hit = builder.build().expect("a cache").get(&7).detailed().await.expect("a value");
    assert_eq!(hit.value, Some(text(7)));
    hit.tier
}

async fn entry(store: &MemoryStore) -> Entry {
    let key = StoreKey::encode("texts", &7_u64).expect("a key");
    Entry::decode(store.get(&key).await.expect("a reading").entry.expect("an entry")).expect("an entry")
}

#[tokio::test]
async fn a_compressed_value_is_read_by_processes_with_other_settings() {
    for (compression, id) in [(Compression::lz4(), 1), (Compression::zstd(3), 2)] {
        let store = MemoryStore::new("t");
        assert_eq!(read(texts(&store).compression(compression)).await, Tier::Database);
        let stored = entry(&store).await;
        assert_eq!(stored.header.compression, id);
        assert!(stored.payload.len() < text(7).len() / 10, "{} bytes", stored.payload.len());
        assert_eq!(read(texts(&store)).await, Tier::Shared);
        assert_eq!(read(texts(&store).compression(Compression::zstd(1).above(0))).await, Tier::Shared);
    }
    let store = MemoryStore::new("t");
    read(texts(&store).compression(Compression::lz4().above(1 << 20))).await;
    assert_eq!(entry(&store).await.header.compression, 0, "it is small");
}

#[tokio::test]
async fn a_value_above_the_cap_is_not_cached_however_well_it_compresses() {
    let capped = CacheSettings::default().with_value_bytes_max(1_000);
    let store = MemoryStore::new("t");
    for _ in 0..2 {
        assert_eq!(read(texts(&store).settings(capped).compression(Compression::lz4())).await, Tier::Database);
    }
    assert_eq!(store.entries(), 0, "not even a lease is left");
    // One that another process has stored is not inflated beyond the cap.
    read(texts(&store).compression(Compression::lz4())).await;
    assert_eq!(read(texts(&store).settings(capped)).await, Tier::Database);
}

#[tokio::test]
async fn every_codec_serves_its_own_values_and_misses_those_of_another() {
    let store = MemoryStore::new("t");
    assert_eq!(read(texts(&store).codec(Postcard)).await, Tier::Database);
    assert_eq!(read(texts(&store).codec(Postcard)).await, Tier::Shared);
    assert_eq!(read(texts(&store).codec(MsgPack)).await, Tier::Database, "another codec's value");
    assert_eq!(read(texts(&store).codec(MsgPack)).await, Tier::Shared, "which was replaced");
    let other = MemoryStore::new("t");
    assert_eq!(read(texts(&other).codec(MsgPack)).await, Tier::Database);
    assert_eq!(read(texts(&other).codec(MsgPack)).await, Tier::Shared);
    let pages: Cache<u64, Bytes> = Cache::builder("pages")
        .codec(Raw)
        .compression(Compression::lz4())
        .loader(crate::loader::loader_fn(|_: u64| async { Ok::<_, std::io::Error>(Some(Bytes::from(vec![7; 5_000]))) }))
        .build()
        .expect("a cache");
    for tier in [Tier::Database, Tier::Shared] {
        let hit = pages.get(&1).detailed().await.expect("a value");
        assert_eq!((hit.value, hit.tier), (Some(Bytes::from(vec![7; 5_000])), tier));
    }
}

#[tokio::test]
async fn the_local_tier_weighs_what_is_inflated() {
    let store = MemoryStore::new("t");
    let cache =
        texts(&store).compression(Compression::lz4()).local(Local::max_weight(1 << 20)).build().expect("a cache");
    cache.get(&7).await.expect("a value");
    assert!(cache.stats().local_bytes as usize > text(7).len(), "{:?}", cache.stats());
    let other = texts(&store).local(Local::max_weight(1 << 20)).build().expect("a cache");
    other.get(&7).await.expect("a value");
    assert!(other.stats().local_bytes as usize > text(7).len(), "{:?}", other.stats());
}

/// A codec of the application, with an id of its choice.
struct Own(u8);

impl Codec<String> for Own {
    fn id(&self) -> u8 {
        self.0
    }

    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), crate::BoxError> {
        out.extend_from_slice(value.as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, crate::BoxError> {
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

/// Panics at some values.
struct Touchy {
    encodes: &'static str,
    decodes: &'static str,
}

impl Codec<String> for Touchy {
    fn id(&self) -> u8 {
        64
    }

    fn encode(&self, value: &String, out: &mut Vec<u8>) -> Result<(), crate::BoxError> {
        assert!(!value.starts_with(self.encodes), "a mistake in the codec");
        Own(64).encode(value, out)
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, crate::BoxError> {
        let value = Own(64).decode(bytes)?;
        assert!(!value.starts_with(self.decodes), "a mistake in the codec");
        Ok(value)
    }
}

#[tokio::test]
async fn a_value_whose_codec_panics_is_returned_and_hides_no_other() {
    let store = MemoryStore::new("t");
    let touchy = |encodes, decodes| texts(&store).codec(Touchy { encodes, decodes }).build().expect("a cache");
    let cache = touchy("text 7 ", "none");
    for _ in 0..2 {
        let found = cache.get_many([6, 7, 8]).per_key().await;
        let found: Vec<_> = found.into_iter().map(|hit| hit.expect("a value").value).collect();
        assert_eq!(found, [Some(text(6)), Some(text(7)), Some(text(8))]);
        assert_eq!(cache.get(&7).await.expect("a value"), Some(text(7)));
        assert_eq!(store.entries(), 2, "no lease of its key is left");
    }
    // A stored value that cannot be decoded is a miss.
    let other = touchy("none", "text 8 ");
    assert_eq!(other.get(&8).await.expect("a value"), Some(text(8)));
    assert_eq!(other.get_many([6, 8]).await.expect("values"), [Some(text(6)), Some(text(8))]);
}

#[derive(Debug)]
struct Panicking;

impl crate::policy::TtlPolicy for Panicking {
    fn ttl(&self, cx: &crate::policy::TtlContext<'_>) -> Duration {
        cx.requested.expect("a mistake in the policy")
    }
}

#[tokio::test]
async fn a_value_whose_policy_panics_is_returned_and_not_cached() {
    let store = MemoryStore::new("t");
    let cache = texts(&store).ttl_policy(Panicking).build().expect("a cache");
    assert_eq!(cache.get_many([7, 8]).await.expect("values"), [Some(text(7)), Some(text(8))]);
    assert_eq!(cache.get(&7).detailed().await.expect("a value").tier, Tier::Database);
    assert_eq!(store.entries(), 0, "no lease is left");
}

#[tokio::test]
async fn a_value_whose_tags_panic_is_returned_and_not_cached() {
    let store = MemoryStore::new("t");
    let tags_of = |id: &u64| vec![id.checked_sub(7).expect("a mistake in `tags_of`").to_string()];
    let cache = texts(&store).tags_of(tags_of).build().expect("a cache");
    assert_eq!(cache.get_many([6, 7]).await.expect("values"), [Some(text(6)), Some(text(7))]);
    assert_eq!(cache.get(&6).await.expect("a value"), Some(text(6)));
    let tier = async |id: u64| cache.get(&id).detailed().await.expect("a value").tier;
    assert_eq!((tier(6).await, tier(7).await), (Tier::Database, Tier::Shared));
}

#[tokio::test]
async fn a_codec_may_have_any_id_but_zero() {
    for id in [64, 127, 128, 200, 255] {
        let store = MemoryStore::new("t");
        assert_eq!(read(texts(&store).codec(Own(id))).await, Tier::Database, "{id}");
        assert_eq!(read(texts(&store).codec(Own(id))).await, Tier::Shared, "{id}");
    }
    let store = MemoryStore::new("t");
    let refused = texts(&store).codec(Own(0)).build().map(drop).expect_err("no id");
    assert!(refused.to_string().contains("has the id 0: give 64 to 255"), "{refused}");
    let tagged = |id| texts(&store).codec(Own(id)).tagged();
    tagged(127).build().expect("a cache");
    let refused = tagged(128).build().map(drop).expect_err("the bit says that a value has tags");
    assert!(refused.to_string().contains("has the id 128: give 64 to 127"), "{refused}");
}
