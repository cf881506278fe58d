//! Both stores, taken through the same steps.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachefront_core::entry::{Entry, Header, PayloadState};
use cachefront_core::source::Checkpoint;
use cachefront_core::store::{
    Applied, Cover, Coverage, Covered, Expected, Fill, FillReply, Generation, Invalidation, InvalidationMode,
    LeaseReply, LeaseRequest, MappingId, Meta, Reading, RowImageValue, ServerId, Store, StoreState, StoreWriter, Token,
};
use cachefront_core::{Gtid, MemorySettings, MemoryStore, Position, Result, StoreKey, Timestamp};
use cachefront_redis::{RedisStore, testing};
use cachefront_testkit::server::shared_cluster;
use cachefront_testkit::{stack, unique};
use proptest::prop_assert_eq;
use proptest::test_runner::TestCaseError;
use redis::aio::MultiplexedConnection;

use crate::history::{FillPick, HeldPick, Image, Pick, Row, State, Step};

const LONG: Duration = Duration::from_secs(600);

/// Where the store of a pair is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// The shared server.
    Server,
    /// A cluster.
    Cluster,
}

pub(crate) struct Pair {
    memory: MemoryStore,
    redis: RedisStore,
    memory_writer: Box<dyn StoreWriter>,
    redis_writer: Box<dyn StoreWriter>,
    /// A connection to each node.
    raw: Vec<MultiplexedConnection>,
    shards: u32,
}

/// A reply without its times, with a word for what kind it is.
type Reply = (&'static str, String);

impl Pair {
    pub(crate) async fn new(place: Place, shards: u32) -> Self {
        let url = match place {
            Place::Server => stack::redis_url(),
            Place::Cluster => shared_cluster().await,
        };
        let namespace = unique::namespace();
        let mut settings = MemorySettings::default();
        settings.shards = shards;
        let memory = MemoryStore::new(&namespace).with_settings(settings).expect("settings");
        let builder = RedisStore::builder(&url).namespace(&namespace).shards(shards);
        let redis = builder.connect().await.expect("the shared Redis");
        let hosts = url.split_once("://").expect("a URL").1.trim_end_matches('/').split(',');
        let mut raw = Vec::new();
        for host in hosts {
            let client = redis::Client::open(format!("redis://{host}/")).expect("a URL");
            raw.push(client.get_multiplexed_async_connection().await.expect("a connection"));
        }
        Self {
            memory_writer: memory.writer().await.expect("a writer"),
            redis_writer: redis.writer().await.expect("a writer"),
            raw,
            memory,
            redis,
            shards,
        }
    }

    /// Takes both through a step, and says which kind of reply both gave.
    pub(crate) async fn step(&mut self, step: &Step) -> Result<&'static str, TestCaseError> {
        let (in_memory, in_redis) = match step {
            Step::LoseMetas => (self.lose_metas().await, done(Ok(()))),
            Step::Invalidate { .. }
            | Step::InvalidateUnseen { .. }
            | Step::Replace { .. }
            | Step::Flush { .. }
            | Step::RaiseHighWatermark { .. }
            | Step::Commit { .. }
            | Step::TakeTerm { .. }
            | Step::Cover { .. }
            | Step::Resign { .. }
            | Step::State
            | Step::Term => {
                let current = self.current().await;
                let in_memory = write(&mut *self.memory_writer, step, &current).await;
                let in_redis = write(&mut *self.redis_writer, step, &current).await;
                // After an error a writer is of no further use.
                if in_memory.0 == "conflict" || in_redis.0 == "conflict" {
                    self.memory_writer = self.memory.writer().await.expect("a writer");
                    self.redis_writer = self.redis.writer().await.expect("a writer");
                }
                (in_memory, in_redis)
            }
            _ => {
                let current = self.current().await;
                (read(&self.memory, step, &current).await, read(&self.redis, step, &current).await)
            }
        };
        prop_assert_eq!(&in_memory, &in_redis, "memory and Redis differ at {:?}", step);
        Ok(in_memory.0)
    }

    /// Compares everything that can be read, and says what the state is.
    pub(crate) async fn compare_all(&mut self) -> Result<&'static str, TestCaseError> {
        for step in [Step::GetMany { keys: (0..4).collect() }, Step::Term] {
            self.step(&step).await?;
        }
        self.step(&Step::State).await
    }

    /// What is in force, as far as there is anything.
    async fn current(&mut self) -> Meta {
        match self.memory_writer.state().await.expect("a state") {
            StoreState::Live(meta) | StoreState::Suspended(meta) => meta,
            _ => flushed(1, 1, 8),
        }
    }

    async fn lose_metas(&mut self) -> Reply {
        self.memory.forget_meta();
        for shard in 0..self.shards {
            let meta = testing::meta_key(self.redis.namespace(), shard);
            for node in &mut self.raw {
                // Only the node that has the shard deletes it; the others redirect.
                let _ = redis::cmd("DEL").arg(&meta).query_async::<u32>(node).await;
            }
        }
        done(Ok(()))
    }
}

fn key(id: u64) -> StoreKey {
    StoreKey::encode("users", &id).expect("a key")
}

fn keys(ids: &[u64]) -> Vec<StoreKey> {
    ids.iter().map(|&id| key(id)).collect()
}

fn token(number: u128) -> Token {
    // Bytes above 127 and zeros: they must survive the way through a script.
    Token::from_u128(number << 120 | 0x00ff_0080 << 32 | number).expect("not zero")
}

fn mode(ttl: bool) -> InvalidationMode {
    if ttl { InvalidationMode::Ttl } else { InvalidationMode::Cdc }
}

fn generation(pick: FillPick, current: &Meta) -> Generation {
    match pick {
        FillPick::Of(mapping) => current.coverage.generation(mapped(mapping)).unwrap_or_default(),
        FillPick::Some(number) => named(number),
    }
}

/// Mappings have the bytes of generations.
fn mapped(number: u128) -> MappingId {
    MappingId(named(number).0)
}

fn covered((mapping, generation): Row) -> Covered {
    Covered { mapping: mapped(mapping), generation: named(generation), cache: format!("cache-{mapping}").into() }
}

fn named(number: u128) -> Generation {
    Generation(number << 121 | number)
}

fn checkpoint(order: u64) -> Checkpoint {
    let position = format!("a-b:1-{order}").parse().expect("a position");
    Checkpoint { position, resume: Bytes::from(vec![0, 255, b'\n', order as u8]) }
}

fn flushed(number: u128, term: u64, order: u64) -> Meta {
    Meta::at_head(named(number), term, order, 1, "a-b", &checkpoint(order))
}

fn done(outcome: Result<()>) -> Reply {
    match outcome {
        Ok(()) => ("done", String::new()),
        Err(error) => (error.kind().as_str(), String::new()),
    }
}

fn metas(meta: Option<&Meta>) -> String {
    format!("{meta:?} {:?}", meta.map(Meta::encode))
}

/// The whole entry, without the time at which its lease ends.
fn entry(bytes: Option<Bytes>) -> String {
    match bytes.map(Entry::decode) {
        None => "none".to_owned(),
        Some(Ok(mut entry)) => {
            assert_eq!(entry.token.is_some(), entry.lease_expiry.is_known());
            entry.lease_expiry = Timestamp::UNKNOWN;
            format!("{entry:?}")
        }
        Some(Err(error)) => format!("{error}"),
    }
}

fn reading(reading: Reading) -> String {
    format!("{} | {}", metas(reading.meta.as_deref()), entry(reading.entry))
}

async fn read(store: &dyn Store, step: &Step, current: &Meta) -> Reply {
    match step {
        Step::Get { key: id } => ("read", reading(store.get(&key(*id)).await.expect("a reading"))),
        Step::GetMany { keys: ids } => {
            let readings = store.get_many(&keys(ids)).await.expect("readings");
            ("read", readings.into_iter().map(reading).collect::<Vec<_>>().join("\n"))
        }
        Step::Lease { key: id, token: number, ttl, mapping, schema, reload } => {
            let request = LeaseRequest {
                key: &key(*id),
                token: token(*number),
                duration: LONG,
                mode: mode(*ttl),
                mapping: mapped(*mapping),
                schema_version: *schema,
                reload: *reload,
            };
            match store.lease(&request).await.expect("a reply") {
                LeaseReply::Granted { meta, .. } => ("granted", metas(meta.as_deref())),
                LeaseReply::Present { meta, entry: bytes } => {
                    ("present", reading(Reading { server: ServerId::UNKNOWN, meta, entry: Some(bytes) }))
                }
                LeaseReply::Held { remaining } => {
                    assert!(remaining <= LONG);
                    ("held", String::new())
                }
                LeaseReply::NoMeta => ("no meta", String::new()),
                LeaseReply::NotCovered => ("not covered", String::new()),
                other => ("unknown", format!("{other:?}")),
            }
        }
        Step::Fill { .. } => fill(store, step, current).await,
        Step::Release { key: id, token: number } => done(store.release(&key(*id), token(*number)).await),
        Step::Discard { keys: ids } => done(store.discard(&keys(ids)).await),
        Step::DiscardCache => done(store.discard_cache("users").await),
        Step::FlushCaches { rows } => {
            let rows: Vec<_> = rows.iter().map(|&(mapping, generation)| (mapped(mapping), named(generation))).collect();
            done(store.flush_caches(&rows).await)
        }
        Step::Suspend => done(store.suspend().await),
        _ => unreachable!("a step of the invalidator: {step:?}"),
    }
}

async fn fill(store: &dyn Store, step: &Step, current: &Meta) -> Reply {
    let Step::Fill { key: id, token: number, ttl, schema, generation: pick, order, state, expired } = step else {
        unreachable!("not a fill: {step:?}");
    };
    let header = Header {
        state: match state {
            State::Fresh => PayloadState::Fresh,
            State::Negative => PayloadState::Negative,
            State::StaleKept => PayloadState::StaleKept,
        },
        mode: mode(*ttl),
        codec: 1,
        compression: 0,
        schema_version: *schema,
        generation: generation(*pick, current),
        order: *order,
        filled_at: Timestamp::from_micros(3),
        soft_expiry: Timestamp::UNKNOWN,
        hard_expiry: Timestamp::from_micros(u64::from(*expired)),
        load_cost_us: 9,
        position: Bytes::from_static(b"a-b:1-3"),
    };
    let bytes = header.encode_with(b"\0\xff payload");
    let fill = Fill {
        key: &key(*id),
        token: token(*number),
        mode: header.mode,
        generation: header.generation,
        entry: &bytes,
        expiry: LONG,
    };
    match store.fill(&fill).await.expect("a reply") {
        FillReply::Stored => ("stored", String::new()),
        FillReply::Refused(refusal) => (refusal.as_str(), String::new()),
    }
}

async fn write(writer: &mut dyn StoreWriter, step: &Step, current: &Meta) -> Reply {
    match step {
        Step::Invalidate { keys: ids } => done(writer.invalidate(&keys(ids)).await),
        Step::Flush { generation, above, order, covered: rows, beat, vacant } => {
            let mut meta = flushed(*generation, current.term + above, *order)
                .covering(Coverage::new(rows.iter().copied().map(covered)));
            (meta.beat, meta.vacant) = (*beat, *vacant);
            done(writer.flush(&meta).await)
        }
        Step::InvalidateUnseen { keys } => {
            let commit = |&number: &u64| Gtid { origin: "a-b".into(), number };
            let changes: Vec<_> = keys
                .iter()
                .map(|(id, commits)| Invalidation { key: key(*id), commits: commits.iter().map(commit).collect() })
                .collect();
            done(writer.invalidate_unseen(&changes).await)
        }
        Step::Replace { held: pick, values } => {
            let values: Vec<_> = values.iter().map(row_image).collect();
            match writer.replace(&held(*pick, current), &values).await {
                Ok(counts) => ("replaced", format!("{counts:?}")),
                Err(error) => (error.kind().as_str(), String::new()),
            }
        }
        Step::Cover { held: pick, next, rows } => {
            let cover = |&(row, fresh): &(Row, bool)| Cover { covered: covered(row), fresh };
            let rows: Vec<Cover> = rows.iter().map(cover).collect();
            done(writer.cover(&held(*pick, current), named(*next), &rows).await)
        }
        Step::Resign { held: pick } => done(writer.resign(&held(*pick, current)).await),
        Step::RaiseHighWatermark { held: pick, order } => {
            done(writer.raise_high_watermark(&held(*pick, current), *order).await)
        }
        Step::Commit { held: pick, order, source_time } => {
            let applied = Applied {
                order: *order,
                checkpoint: checkpoint(*order),
                source_time: Timestamp::from_micros(*source_time),
            };
            done(writer.commit(&held(*pick, current), &applied).await)
        }
        Step::TakeTerm { generation: pick, order, above } => {
            let (mut state, term) = (current.clone(), current.term + above);
            if let Pick::Some(number) = pick {
                state = flushed(*number, term, *order);
            }
            done(writer.take_term(&state, term).await)
        }
        Step::State => match writer.state().await.expect("a state") {
            StoreState::Missing => ("missing", String::new()),
            StoreState::Mixed => ("mixed", String::new()),
            StoreState::Suspended(meta) => ("suspended", metas(Some(&meta))),
            StoreState::Live(meta) => ("live", metas(Some(&meta))),
        },
        Step::Term => ("term", format!("{}", writer.term().await.expect("a term"))),
        _ => unreachable!("a step of a reader: {step:?}"),
    }
}

fn row_image((id, commits, contains, mapping, codec, schema): &Image) -> RowImageValue {
    let origin: Arc<str> = "a-b".into();
    let mut position = Position::new();
    position.insert_range(&origin, 1, *contains);
    RowImageValue {
        key: key(*id),
        commits: commits.iter().map(|&number| Gtid { origin: Arc::clone(&origin), number }).collect(),
        contains: position,
        mapping: mapped(*mapping),
        codec: *codec,
        schema_version: *schema,
        payload: Bytes::from_static(b"another \xff\0 payload"),
    }
}

fn held(pick: HeldPick, current: &Meta) -> Expected {
    let held = Expected { generation: current.generation, term: current.term, applied_order: current.applied_order };
    match pick {
        HeldPick::Current => held,
        HeldPick::OtherGeneration => Expected { generation: Generation(!current.generation.0), ..held },
        HeldPick::OtherTerm => Expected { term: held.term + 1, ..held },
        HeldPick::OtherOrder(applied_order) => Expected { applied_order, ..held },
    }
}
