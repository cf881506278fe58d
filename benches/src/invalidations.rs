//! `invalidations`: keys a second through the whole invalidator, in batches of 1,000, over pipelined `UNLINK`.

use std::time::Instant;

use cachefront::event::{Change, Operation, RowChange, RowImage, TableName, Value};
use cachefront_testkit::{stack, unique};

use crate::ratio::{Plan, Ratio, alternate};
use crate::world::{TABLE, User, World};

const BATCH: u64 = 1000;
const BATCHES: u64 = 30;

pub(crate) async fn measure(plan: Plan) -> Vec<Ratio> {
    let world = World::on_redis(User::new).await;
    let client = redis::Client::open(stack::redis_url()).expect("the URL of Redis is well-formed");
    let mut connection = client.get_multiplexed_async_connection().await.expect("the stack's Redis replies");
    let prefix = unique::name("raw");
    let batches = BATCHES * plan.scale as u64;
    let table = TableName::from(TABLE);

    let ours = async || {
        world.warm(0..batches * BATCH).await;
        let transactions: Vec<Vec<Change>> =
            (0..batches).map(|batch| (0..BATCH).map(|id| update(&table, batch * BATCH + id)).collect()).collect();
        let started = Instant::now();
        for changes in transactions {
            world.log.commit(changes);
        }
        world.settle().await;
        (batches * BATCH) as f64 / started.elapsed().as_secs_f64()
    };
    let raw = async || {
        fill(&mut connection, &prefix, batches).await;
        let started = Instant::now();
        for batch in 0..batches {
            let mut pipe = redis::pipe();
            for id in 0..BATCH {
                pipe.cmd("UNLINK").arg(format!("{prefix}:{}", batch * BATCH + id)).ignore();
            }
            let () = pipe.query_async(&mut connection).await.expect("a reply");
        }
        (batches * BATCH) as f64 / started.elapsed().as_secs_f64()
    };
    let rounds = alternate(plan, ours, raw).await;

    assert!(world.cache.peek(&1).await.expect("a peek").is_none(), "an invalidated key is still served");
    world.stop().await;
    vec![Ratio::new("invalidations", "keys per second", rounds)]
}

fn update(table: &TableName, id: u64) -> Change {
    let row = || Some(RowImage::from_pairs([("id", Value::UInt(id))]));
    Change::Row(RowChange { table: table.clone(), operation: Operation::Update, before: row(), after: row() })
}

async fn fill(connection: &mut redis::aio::MultiplexedConnection, prefix: &str, batches: u64) {
    for batch in 0..batches {
        let mut pipe = redis::pipe();
        for id in batch * BATCH..(batch + 1) * BATCH {
            let json = serde_json::to_vec(&User::new(id)).expect("a user is JSON");
            pipe.cmd("SET").arg(format!("{prefix}:{id}")).arg(json).ignore();
        }
        let () = pipe.query_async(connection).await.expect("a reply");
    }
}
