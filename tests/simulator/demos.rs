//! The two demos: a row that another program changes is stale until its entry expires, or healthy within milliseconds.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use cachefront_testkit::wait;

use crate::world::{Other, PATIENCE, Place, World};

const TTL: Duration = Duration::from_secs(3);

/// Commits whose way to the cache is timed.
const COMMITS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn ttl_stale_read_embedded() {
    ttl_stale_read(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ttl_stale_read_on_servers() {
    ttl_stale_read(Place::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ttl_stale_read_over_kafka() {
    ttl_stale_read(Place::Kafka).await;
}

/// Warm, change the row behind the cache's back, `stale` until the entry expires, then `healthy`.
async fn ttl_stale_read(place: Place) {
    let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "3s").env("CACHEFRONT_MODE", "ttl")).await;
    let id = world.api.add("Ada", "ada@example.org").await;
    assert_eq!(world.api.state(id).await, "absent");
    let warmed = Instant::now();
    assert_eq!(world.api.name_of(id).await, "Ada");
    assert_eq!(world.api.state(id).await, "healthy");

    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    let look = world.api.look(id).await;
    assert_eq!(look["state"], "stale", "{look}");
    assert_eq!((&look["cached"]["name"], &look["database"]["name"]), (&"Ada".into(), &"Ada King".into()));
    let left = look["ttl_ms"].as_u64().expect("a time to live");
    assert!(left <= TTL.as_millis() as u64 && left > 0, "{look}");

    let mut stale_reads = 0;
    while world.api.name_of(id).await == "Ada" {
        assert!(warmed.elapsed() < TTL + PATIENCE, "the entry does not expire");
        // A plain read does not lengthen the life of an entry. What was read is peeked at while it surely lives on.
        if warmed.elapsed() < TTL / 2 {
            assert_eq!(world.api.state(id).await, "stale");
            stale_reads += 1;
        }
    }
    assert!(warmed.elapsed() + Duration::from_millis(100) >= TTL, "expired after {:?}", warmed.elapsed());
    assert!(stale_reads > 0, "no stale read was seen");
    assert_eq!(world.api.name_of(id).await, "Ada King");
    assert_eq!(world.api.state(id).await, "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn cdc_invalidation_embedded() {
    cdc_invalidation(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cdc_invalidation_on_servers() {
    cdc_invalidation(Place::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cdc_invalidation_over_kafka() {
    cdc_invalidation(Place::Kafka).await;
}

/// Warm, change the row behind the cache's back: the key is gone within milliseconds and the next read is fresh.
async fn cdc_invalidation(place: Place) {
    let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let id = world.api.add("Ada", "ada@example.org").await;
    world.warm(id).await;

    world.other.execute(&format!("UPDATE users SET name = 'Ada King' WHERE id = {id}")).await;
    let changed = Instant::now();
    world.until_not_stale(id).await;
    eprintln!("{place:?}: not stale {:?} after the other program was done", changed.elapsed());
    // The change that made the user may come late and end an entry, too; what is read is fresh from here on.
    wait::until_async("the entry is healthy again", PATIENCE, async || {
        assert_eq!(world.api.name_of(id).await, "Ada King");
        world.api.state(id).await == "healthy"
    })
    .await;

    // By its second key, too: the old address is unknown and the new one known, though neither was read by id.
    assert_eq!(world.names_of("ada@example.org").await, ["Ada King"]);
    assert_eq!(world.names_of("ada@king.example.org").await, Vec::<String>::new());
    world.other.execute(&format!("UPDATE users SET email = 'ada@king.example.org' WHERE id = {id}")).await;
    wait::until_async("the old address is gone", PATIENCE, async || world.names_of("ada@example.org").await.is_empty())
        .await;
    wait::until_async("the new one is known", PATIENCE, async || {
        world.names_of("ada@king.example.org").await == ["Ada King"]
    })
    .await;

    world.other.execute(&format!("DELETE FROM users WHERE id = {id}")).await;
    // Its absence is remembered, and an INSERT by another program ends that.
    wait::until_async("the user is known to be gone", PATIENCE, async || {
        world.api.get(&format!("/users/{id}")).await.status == 404 && world.api.look(id).await["negative"] == true
    })
    .await;
    world.other.execute(&format!("INSERT INTO users (id, name, email) VALUES ({id}, 'Back', 'back@x')")).await;
    wait::until_async("the user is back", PATIENCE, async || {
        world.api.get(&format!("/users/{id}")).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_reach_the_cache_in_milliseconds_embedded() {
    commits_reach_the_cache_in_milliseconds(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_reach_the_cache_in_milliseconds_on_servers() {
    commits_reach_the_cache_in_milliseconds(Place::Servers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_reach_the_cache_in_milliseconds_over_kafka() {
    commits_reach_the_cache_in_milliseconds(Place::Kafka).await;
}

/// Prints how long 1,000 commits of another program take to evict the warm entry, as seen over HTTP.
async fn commits_reach_the_cache_in_milliseconds(place: Place) {
    let world = World::start(place, |launch| launch.env("CACHEFRONT_TTL", "10m")).await;
    let id = world.api.add("Ada", "ada@example.org").await;
    let writer = world.writer();
    let mut times = Vec::with_capacity(COMMITS);
    for round in 0..COMMITS {
        world.warm(id).await;
        writer.rename(id, &format!("name {round}")).await;
        let committed = Instant::now();
        world.until_not_stale(id).await;
        times.push(committed.elapsed());
    }
    times.sort_unstable();
    let (p50, p99) = (times[COMMITS / 2], times[COMMITS * 99 / 100]);
    eprintln!("{place:?}: commit → evicted over {COMMITS} commits: p50 {p50:?}, p99 {p99:?}");
    assert!(p50 < Duration::from_millis(100), "p50 {p50:?}, p99 {p99:?}");
}

/// A connection that stays, so that what is timed is the commit and not the start of a client.
enum Writer<'a> {
    Sqlite(&'a Mutex<rusqlite::Connection>),
    Mysql(mysql_async::Pool),
}

impl Writer<'_> {
    async fn rename(&self, id: u64, name: &str) {
        use mysql_async::prelude::Queryable;
        match self {
            Self::Sqlite(connection) => {
                let connection = connection.lock().expect("no holder of this lock panics");
                let changed = connection.execute("UPDATE users SET name = ?2 WHERE id = ?1", (id as i64, name));
                assert_eq!(changed.expect("an update"), 1);
            }
            Self::Mysql(pool) => {
                let mut connection = pool.get_conn().await.expect("a connection");
                connection.exec_drop("UPDATE users SET name = ? WHERE id = ?", (name, id)).await.expect("an update");
            }
        }
    }
}

impl World {
    fn writer(&self) -> Writer<'_> {
        match &self.other {
            Other::Sqlite(connection) => Writer::Sqlite(connection),
            Other::Mysql(database) => Writer::Mysql(database.pool()),
        }
    }

    /// Reads until the entry is kept: right after a start a read may come before the first generation.
    async fn warm(&self, id: u64) {
        wait::until_async("the entry is healthy", PATIENCE, async || {
            self.api.name_of(id).await;
            self.api.state(id).await == "healthy"
        })
        .await;
    }

    /// Looks without reading: only the change log can end the entry's life.
    async fn until_not_stale(&self, id: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.api.state(id).await == "stale" {
            assert!(Instant::now() < deadline, "the entry stays stale");
        }
    }

    async fn names_of(&self, email: &str) -> Vec<String> {
        let users = self.api.get(&format!("/users?email={email}")).await.expect(200);
        let names =
            users.as_array().expect("an array").iter().map(|user| user["name"].as_str().expect("a name").into());
        names.collect()
    }
}
