//! `l1_hit_time`, `l1_hit_allocations`: a hit in the process-local tier over a `get` of the bare map.

use std::{hint::black_box, sync::Arc, time::Instant};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ratio::{Plan, Ratio, alternate};
use crate::world::{Keys, World};

const KEYS: u64 = 1000;
const READS: usize = 1_000_000;

/// 100 bytes that are cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Payload(Arc<[u8; 100]>);

impl Payload {
    pub(crate) fn new(id: u64) -> Self {
        Self(Arc::new([id.to_le_bytes()[0]; 100]))
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0[..])
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let bytes = bytes.try_into().map_err(|_| serde::de::Error::custom("not 100 bytes"))?;
        Ok(Self(Arc::new(bytes)))
    }
}

pub(crate) async fn measure(plan: Plan) -> Vec<Ratio> {
    let world = World::in_process(Payload::new).await;
    world.warm(0..KEYS).await;
    let map = quick_cache::sync::Cache::new(100_000);
    for id in 0..KEYS {
        map.insert(id, Payload::new(id));
    }
    let before = world.loads();

    let reads = READS * plan.scale;
    let ours = async || {
        let mut keys = Keys::new(7, KEYS);
        let started = Instant::now();
        for _ in 0..reads {
            black_box(world.cache.get(&keys.draw()).await.ok().flatten());
        }
        started.elapsed().as_nanos() as f64 / reads as f64
    };
    let raw = async || {
        let mut keys = Keys::new(7, KEYS);
        let started = Instant::now();
        for _ in 0..reads {
            black_box(map.get(&keys.draw()));
        }
        started.elapsed().as_nanos() as f64 / reads as f64
    };
    let rounds = alternate(plan, ours, raw).await;

    let allocations = allocations(&world).await;
    assert_eq!(world.loads(), before, "a read that was measured as a hit was loaded");
    world.stop().await;
    vec![
        Ratio::new("l1_hit_time", "ns", rounds),
        Ratio::plain("l1_hit_allocations", "allocations per hit", allocations),
    ]
}

/// Allocations of one hit: a future that is ready at its first poll allocates where it is polled, so the count needs
/// no runtime.
async fn allocations(world: &World<Payload>) -> f64 {
    const HITS: u64 = 10_000;
    let (mut count, mut hits) = (0, 0);
    std::future::poll_fn(|cx| {
        for id in 0..HITS {
            let key = id % KEYS;
            let counted = allocation_counter::measure(|| {
                let mut get = std::pin::pin!(world.cache.get(&key).into_future());
                if let std::task::Poll::Ready(Ok(Some(value))) = get.as_mut().poll(cx) {
                    hits += 1;
                    black_box(value);
                }
            });
            count += counted.count_total;
        }
        std::task::Poll::Ready(())
    })
    .await;
    assert_eq!(hits, HITS, "a hit in the process-local tier is ready at once");
    count as f64 / HITS as f64
}
