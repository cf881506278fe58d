//! `--scale`: what the operations of a cache cost, by the number of keys in a cluster of three nodes, of caches in a namespace, and
//! of other processes that follow the bus.
//!
//! Times and CPU are given relative to the first row of their table; the commands that the servers handle are counted.

use serde_json::{Map, Value, json};

use crate::followers::{self, cpu_of};
use crate::ratio::rounded;
use crate::shop::{BEATS_COUNTED, Cost, INVALIDATED, Shop};

/// Caches of a namespace, but for the table by their number.
const CACHES: u64 = 100;
/// Keys, in the table by the number of caches.
const KEYS: u64 = 10_000;
/// Keys, in the table by the number of followers.
const KEYS_FOLLOWED: u64 = 1_000;

/// What was measured in one situation.
#[derive(Debug)]
struct Row {
    /// Keys, caches or followers.
    size: u64,
    costs: Vec<(&'static str, Cost)>,
    /// Commands of all servers for one heartbeat.
    commands: f64,
}

/// Measures up to `keys_max` keys, 100 caches and 32 followers; returns the report.
pub(crate) async fn measure(keys_max: u64) -> Value {
    let shop = Shop::open(CACHES).await;
    let mut by_keys = Vec::new();
    let mut keys = 1_000;
    while keys <= keys_max {
        by_keys.push(say("keys", row(&shop, keys, keys).await));
        keys *= 10;
    }
    shop.close().await;
    let mut by_caches = Vec::new();
    for caches in [1, 10, CACHES] {
        let shop = Shop::open(caches).await;
        by_caches.push(say("caches", row(&shop, caches, KEYS).await));
        shop.close().await;
    }
    json!({
        "by_keys": report(&by_keys),
        "by_caches": report(&by_caches),
        "by_followers": report(&by_followers().await),
    })
}

/// Every operation, with this many keys.
async fn row(shop: &Shop, size: u64, keys: u64) -> Row {
    shop.fill(0..keys).await;
    let mut costs = vec![
        ("local_hit", shop.read_local(keys).await),
        ("shared_hit", shop.read_shared(keys).await),
        ("miss", shop.miss().await),
        ("invalidated_key", shop.invalidate(keys).await),
    ];
    let (heartbeat, commands) = shop.beat().await;
    costs.push(("heartbeat", heartbeat));
    costs.push(("flush", shop.flush().await));
    Row { size, costs, commands }
}

async fn by_followers() -> Vec<Row> {
    let shop = Shop::open(CACHES).await;
    let mut rows = Vec::new();
    let mut followers = Vec::new();
    for size in [1, 2, 4, 8, 16, 32] {
        while (followers.len() as u64) < size {
            followers.push(followers::start(&shop.url, &shop.namespace, CACHES).await);
        }
        shop.fill(0..KEYS_FOLLOWED).await;
        let shared_hit = shop.read_shared(KEYS_FOLLOWED).await;
        let begun = cpu_of(&mut followers).await;
        let invalidated_key = shop.invalidate(KEYS_FOLLOWED).await;
        let invalidated = cpu_of(&mut followers).await;
        let (heartbeat, commands) = shop.beat().await;
        let quiet = cpu_of(&mut followers).await;
        let of_one = |seconds: f64, count: f64| Cost { cpu: 1e6 * seconds / size as f64 / count, time: None };
        let costs = vec![
            ("shared_hit", shared_hit),
            ("invalidated_key", invalidated_key),
            ("heartbeat", heartbeat),
            ("invalidated_key_of_a_follower", of_one(invalidated - begun, INVALIDATED as f64)),
            ("heartbeat_of_a_follower", of_one(quiet - invalidated, BEATS_COUNTED)),
        ];
        rows.push(say("followers", Row { size, costs, commands }));
    }
    drop(followers);
    shop.close().await;
    rows
}

#[expect(clippy::print_stderr, reason = "the measurement takes minutes")]
fn say(what: &str, row: Row) -> Row {
    let costs: Vec<String> = row
        .costs
        .iter()
        .map(|(name, cost)| match cost.time {
            Some(time) => format!("{name} {:.2} µs CPU, {time:.2} µs", cost.cpu),
            None => format!("{name} {:.2} µs CPU", cost.cpu),
        })
        .collect();
    eprintln!("{} {what}: {}; {:.0} commands for a heartbeat", row.size, costs.join("; "), row.commands);
    row
}

/// Everything relative to the first row, but for the commands.
fn report(rows: &[Row]) -> Vec<Value> {
    let Some(first) = rows.first() else { return Vec::new() };
    let relative = |row: &Row| {
        let mut values = Map::from_iter([("size".to_owned(), json!(row.size))]);
        for ((name, cost), (_, base)) in row.costs.iter().zip(&first.costs) {
            values.insert(format!("{name}_cpu"), json!(rounded(cost.cpu / base.cpu)));
            if let (Some(time), Some(base)) = (cost.time, base.time) {
                values.insert(format!("{name}_time"), json!(rounded(time / base)));
            }
        }
        values.insert("heartbeat_commands".to_owned(), json!(rounded(row.commands)));
        Value::Object(values)
    };
    rows.iter().map(relative).collect()
}
