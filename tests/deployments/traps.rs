//! Mistakes that are easy to make: each is refused, or costs hit rate and nothing else.

use cachefront::binlog::BinlogSource;
use cachefront::{Cache, Cdc, loader_fn};
use cachefront_testkit::fleet::{CacheSpec, Fleet, Pod};
use cachefront_testkit::server::{MySql, Redis};
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::wait;
use mysql_async::{Row, prelude::Queryable};

use crate::common::{ACTOR, PHASE, Sum, at_rest, code, commits, item, tell, twin};

const ALL: [&str; 3] = ["session", "bounded", "eventual"];

/// Every answer of these processes is right.
async fn right(what: &str, pods: &mut [&mut Pod]) {
    let mut sum = Sum::default();
    for pod in pods {
        sum.add(&pod.report().await);
    }
    sum.is_right(what, &ALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_a_namespace_is_refused() {
    let fleet = Fleet::open().await;
    let mut setup = fleet.setup(&[item()]);
    setup.namespace = None;
    let (_pod, said) = Pod::start(ACTOR, &fleet, &setup).await;
    assert!(said.starts_with("refused:") && said.contains("namespace"), "{said}");
}

/// Two services that know nothing of each other: the error of the second one names the caches that are in its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_service_in_the_same_namespace_is_not_cached() {
    let fleet = Fleet::open().await;
    let writer = fleet.write();
    let mut first = Pod::ready(ACTOR, &fleet, &fleet.setup(&[item()])).await;
    let (mut second, said) = Pod::start(ACTOR, &fleet, &fleet.setup(&[code()])).await;
    assert_eq!(said, "Standby");
    commits(&writer, PHASE).await;
    let report = second.report().await;
    let error = report.error.clone().expect("it says why it stands by");
    assert!(error.contains("`item`") && error.contains(&fleet.namespace) && error.contains("bind"), "{error}");
    assert_eq!((report.of("code").hits, report.of("code").wrong), (0, 0), "{:?}", report.of("code"));
    assert!(report.of("code").reads > 0);
    assert!(second.log().contains("no invalidator of the namespace covers this cache"), "{}", second.log());
    right("the first of two services", &mut [&mut first, &mut second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_no_invalidator_binds_is_read_from_the_database() {
    let fleet = Fleet::open().await;
    let writer = fleet.write();
    let mut setup = fleet.setup(&[item(), code()]);
    setup.bind = Some(vec!["item".into()]);
    let mut pod = Pod::ready(ACTOR, &fleet, &setup).await;
    commits(&writer, PHASE).await;
    let report = pod.report().await;
    let unbound = report.of("code");
    assert!(unbound.reads > 0 && unbound.hits == 0 && unbound.wrong == 0, "{unbound:?}");
    let bound = report.of("item");
    assert!(bound.hits > 0 && bound.wrong == 0, "{bound:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistyped_table_is_refused_or_reported() {
    let fleet = Fleet::open().await;
    let writer = fleet.write();
    let mut setup = fleet.setup(&[item(), code().table("itme")]);
    let (_refused, said) = Pod::start(ACTOR, &fleet, &setup).await;
    for part in ["refused:", ".itme", "allow_missing_tables"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    setup.allow_missing_tables = true;
    let mut pod = Pod::ready(ACTOR, &fleet, &setup).await;
    assert!(pod.log().contains(".item`") && pod.log().contains("would never be invalidated"), "{}", pod.log());
    commits(&writer, PHASE).await;
    let report = pod.report().await;
    // Nothing is promised of it; the others are right.
    tell(&format!("a mistyped table that is allowed to be missing: {}", report.of("code")));
    assert!(report.of("item").hits > 0 && report.of("item").wrong == 0, "{:?}", report.of("item"));
}

/// What a table may be missing for: a later migration makes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_comes_after_the_start_is_kept_right() {
    let fleet = Fleet::open().await;
    fleet.database.execute("RENAME TABLE item TO not_yet").await;
    let mut setup = fleet.setup(&[item(), code()]);
    setup.allow_missing_tables = true;
    let mut pod = Pod::ready(ACTOR, &fleet, &setup).await;
    assert_eq!(pod.report().await.of("item").reads, 0, "there is no row");
    fleet.database.execute("RENAME TABLE not_yet TO item").await;
    let writer = fleet.write();
    commits(&writer, PHASE).await;
    let mut pods = [pod];
    let rest = at_rest(&fleet, &writer, &mut pods).await;
    assert!(rest.stale.is_empty() && rest.fresh > 0, "{rest:?}");
    let [mut pod] = pods;
    right("a table that comes later", &mut [&mut pod]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_handle_is_logged_as_an_error() {
    let fleet = Fleet::open().await;
    let writer = fleet.write();
    let mut setup = fleet.setup(&[item()]);
    setup.drop_handle = true;
    let mut careless = Pod::ready(ACTOR, &fleet, &setup).await;
    careless.is("Stopped").await;
    assert!(careless.log().contains("the last handle of an invalidator was dropped"), "{}", careless.log());
    commits(&writer, PHASE).await;
    // No invalidator works: tokens and bounds still hold.
    let alone = careless.report().await;
    for level in ["session", "bounded"] {
        assert!(alone.at(level).reads > 0 && alone.at(level).wrong == 0, "{:?}", alone.at(level));
    }
    setup.drop_handle = false;
    let mut careful = Pod::ready(ACTOR, &fleet, &setup).await;
    commits(&writer, PHASE).await;
    let mut pods = [careless, careful];
    let rest = at_rest(&fleet, &writer, &mut pods).await;
    assert!(rest.stale.is_empty() && rest.fresh > 0, "{rest:?}");
    [careless, careful] = pods;
    right("a dropped handle", &mut [&mut careless, &mut careful]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_without_a_key_and_with_a_key_that_is_too_long_flush_nothing() {
    let fleet = Fleet::open().await;
    let mails = "CREATE TABLE mail (id BIGINT UNSIGNED PRIMARY KEY, email VARCHAR(2000) COLLATE utf8mb4_0900_bin NULL)";
    fleet.database.execute(mails).await;
    let table = format!("{}.mail", fleet.database.name());
    let cache: Cache<String, u64> = Cache::builder("mail")
        .shared(fleet.store().await)
        .loader(loader_fn(async |_: String| Ok::<_, std::io::Error>(Some(1))))
        .depends_on_columns(&table, &["email"], |row| Ok(row.get::<Option<String>>("email")?.into_iter().collect()))
        .build()
        .expect("a cache");
    let source = BinlogSource::connect(&fleet.mysql_database()).await.expect("a source");
    let cdc = Cdc::new(source).bind(&cache).spawn().expect("an invalidator");
    cdc.ready().await.expect("it works");
    let before = cdc.status();
    for id in 0..3 {
        fleet.database.execute(&format!("INSERT INTO mail VALUES ({id}, NULL)")).await;
        fleet.database.execute(&format!("INSERT INTO mail VALUES ({}, REPEAT('e', 1100))", id + 10)).await;
    }
    fleet.database.execute("UPDATE mail SET email = 'short' WHERE id < 3").await;
    fleet.settle().await;
    // It is counted after it is applied.
    let is_counted = async || cdc.status().invalidations_total > before.invalidations_total;
    wait::until_async("the short ones are invalidated", PATIENCE, is_counted).await;
    let status = cdc.status();
    assert_eq!(status.flushes_total, before.flushes_total, "{:?}", status.last_error);
    assert!(status.last_error.is_none(), "{status:?}");
    let long = "e".repeat(1_100);
    assert_eq!(cache.get(&long).await.expect("it is loaded"), Some(1));
    cdc.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_caches_of_one_name_are_refused_unless_they_are_the_same() {
    let fleet = Fleet::open().await;
    let by_code = CacheSpec::new("item", &["code"]);
    let (_pod, said) = Pod::start(ACTOR, &fleet, &fleet.setup(&[item(), by_code])).await;
    assert!(said.starts_with("refused:") && said.contains("a cache named `item` with other dependencies"), "{said}");
}

/// Twenty caches cost a process one connection for the bus, and the holder alone reads the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_caches_share_their_connections_and_a_standby_reads_no_log() {
    let (mysql, redis) = tokio::join!(MySql::start(&[]), Redis::start());
    let fleet = Fleet::open_on(&mysql.url(), &redis.url()).await;
    let caches: Vec<CacheSpec> = (0..20).map(|number| CacheSpec::new(&format!("cache{number}"), &["id"])).collect();
    let setup = fleet.setup(&caches);
    let mut quiet = setup.clone();
    quiet.quiet = true;
    let one = Pod::ready(ACTOR, &fleet, &quiet).await;
    wait::until_async("one process waits at the bus, once", PATIENCE, async || at_bus(&redis).await == 1).await;
    let two = Pod::ready(ACTOR, &fleet, &quiet).await;
    wait::until_async("each process waits at the bus, once", PATIENCE, async || at_bus(&redis).await == 2).await;
    wait::until_async("one process reads the log", PATIENCE, async || dumps(&mysql).await == 1).await;
    tell(&format!(
        "twenty caches, two processes: {} at the bus, {} at the log",
        at_bus(&redis).await,
        dumps(&mysql).await
    ));
    let list = redis.command("CLIENT LIST").await.expect("a list");
    tell(&format!("clients of Redis in all: {}", list.lines().filter(|line| line.starts_with("id=")).count()));
    drop((one, two));
}

async fn at_bus(redis: &Redis) -> usize {
    let list = redis.command("CLIENT LIST").await.expect("a list");
    list.lines().filter(|line| line.contains(" cmd=xread ")).count()
}

async fn dumps(mysql: &MySql) -> usize {
    let find = "SELECT ID FROM performance_schema.processlist WHERE COMMAND LIKE 'Binlog Dump%'";
    let rows: Vec<Row> = mysql.connect().await.query(find).await.expect("a list");
    rows.len()
}

/// Three caches, one of which shares its rows with another one by other columns: all right at all levels.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_caches_on_one_table_are_all_right() {
    let fleet = Fleet::open().await;
    let writer = fleet.write();
    let setup = fleet.setup(&[item(), code(), twin()]);
    let mut pods = [Pod::ready(ACTOR, &fleet, &setup).await, Pod::ready(ACTOR, &fleet, &setup).await];
    commits(&writer, PHASE).await;
    let rest = at_rest(&fleet, &writer, &mut pods).await;
    assert!(rest.stale.is_empty() && rest.fresh > 0, "{rest:?}");
    let [mut one, mut two] = pods;
    right("three caches on one table", &mut [&mut one, &mut two]).await;
}
