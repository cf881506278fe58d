//! Which caches an invalidator covers: two releases, two services, new and changed mappings, changed tables.

use super::*;
use crate::cache::{CacheBuilder, Local};
use crate::store::{Coverage, Meta};
use crate::testing::TokioClock;

/// Two tables, and processes of several releases over one store.
pub(super) struct Shop {
    store: Arc<MemoryStore>,
    pub(super) source: ScriptedSource,
    users: Table,
    orders: Table,
    clock: Arc<TokioClock>,
}

impl Shop {
    pub(super) fn new() -> Self {
        let clock = Arc::new(TokioClock::new());
        Self {
            store: Arc::new(MemoryStore::new("shop").with_clock(Arc::<TokioClock>::clone(&clock))),
            source: ScriptedSource::new("server-a"),
            users: Table::default(),
            orders: Table::default(),
            clock,
        }
    }

    /// Returns the store with another hub, as another process would have.
    pub(super) fn process(&self) -> Process<'_> {
        Process { shop: self, store: Arc::new(crate::testing::FaultyStore::new((*self.store).clone())) }
    }

    fn update_order(&self, value: u64) -> Position {
        self.orders.set(1, value);
        self.source.commit([row_of("shop.orders")]);
        self.source.executed()
    }

    pub(super) async fn meta(&self) -> Meta {
        match self.store.writer().await.expect("a writer").state().await.expect("a state") {
            StoreState::Live(meta) => meta,
            other => panic!("the store should be live: {other:?}"),
        }
    }

    async fn coverage(&self) -> Coverage {
        self.meta().await.coverage
    }

    pub(super) async fn covered(&self) -> Vec<String> {
        let mut names: Vec<_> = self.coverage().await.rows().iter().map(|row| row.cache.to_string()).collect();
        names.sort();
        names
    }

    /// Waits for a second flush, after which `orders` is no longer covered.
    async fn is_flushed_and_covers_users_only(&self, cdc: &CdcHandle) {
        wait_until("everything is flushed", || async { cdc.status().flushes_total == 2 }).await;
        wait_until("it runs", || async { cdc.status().state == CdcState::Running }).await;
        assert_eq!(self.covered().await, ["users"]);
    }

    pub(super) async fn applied(&self) {
        let executed = self.source.executed();
        wait_until("everything is applied", || async { self.meta().await.applied().covers(&executed) }).await;
    }
}

pub(super) struct Process<'a> {
    shop: &'a Shop,
    store: Arc<crate::testing::FaultyStore>,
}

impl Process<'_> {
    fn builder(&self, name: &str, loader: &Table) -> CacheBuilder<u64, u64> {
        let clock = Arc::<TokioClock>::clone(&self.shop.clock);
        Cache::builder(name).shared(Arc::clone(&self.store)).clock(clock).loader(loader.clone())
    }

    pub(super) fn users(&self) -> CacheBuilder<u64, u64> {
        self.builder("users", &self.shop.users).depends_on("shop.users", |row| Ok(vec![row.get::<u64>("id")?]))
    }

    pub(super) fn orders(&self) -> CacheBuilder<u64, u64> {
        self.builder("orders", &self.shop.orders).depends_on("shop.orders", |row| Ok(vec![row.get::<u64>("id")?]))
    }

    pub(super) fn cdc(&self, caches: &[&Cache<u64, u64>]) -> Cdc {
        let cdc = Cdc::new(self.shop.source.clone()).clock(Arc::<TokioClock>::clone(&self.shop.clock));
        caches.iter().fold(cdc, |cdc, cache| cdc.bind(cache))
    }

    pub(super) async fn run(&self, caches: &[&Cache<u64, u64>]) -> CdcHandle {
        let cdc = self.cdc(caches).spawn().expect("spawned");
        cdc.ready().await.expect("ready");
        cdc
    }
}

fn row_of(table: &str) -> Change {
    let Change::Row(change) = row(1) else { panic!("a row") };
    Change::Row(RowChange { table: table.into(), ..change })
}

async fn tier(cache: &Cache<u64, u64>) -> Tier {
    cache.get(&1).detailed().await.expect("a value").tier
}

/// The results of a read at each level.
async fn at_every_level(cache: &Cache<u64, u64>, token: &Position) -> [Option<u64>; 3] {
    [
        cache.get(&1).await.expect("a value"),
        cache.get(&1).at_least(token).await.expect("a value"),
        cache.get(&1).max_staleness(Duration::from_millis(100)).await.expect("a value"),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_narrower_invalidator_does_not_replace_a_wider_one() {
    let shop = Shop::new();
    let (new, old) = (shop.process(), shop.process());
    let (users, orders) = (new.users().build().expect("a cache"), new.orders().build().expect("a cache"));
    let old_users = old.users().build().expect("a cache");
    shop.orders.set(1, 10);
    let wide = new.run(&[&users, &orders]).await;
    assert_eq!(tier(&orders).await, Tier::Database);
    assert_eq!(tier(&orders).await, Tier::Shared);
    let narrow = old.run(&[&old_users]).await;
    let status = narrow.status();
    assert_eq!(status.state, CdcState::Standby);
    let error = status.last_error.expect("it says why").to_string();
    assert!(error.contains("`orders`") && error.contains("`shop`"), "{error}");
    // Much longer than the wait for a silent holder.
    tokio::time::sleep(Duration::from_secs(60)).await; // sleep: on the paused clock, it takes no time
    assert_eq!((wide.status().state, narrow.status().state), (CdcState::Running, CdcState::Standby));
    let token = shop.update_order(11);
    shop.applied().await;
    assert_eq!(at_every_level(&orders, &token).await, [Some(11); 3]);
    assert_eq!(tier(&orders).await, Tier::Shared);
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_an_invalidator_does_not_know_restarts_empty() {
    let shop = Shop::new();
    let (new, old) = (shop.process(), shop.process());
    let (users, orders) = (new.users().build().expect("a cache"), new.orders().build().expect("a cache"));
    let old_users = old.users().build().expect("a cache");
    shop.users.set(1, 10);
    shop.orders.set(1, 10);
    let wide = new.run(&[&users, &orders]).await;
    for cache in [&users, &orders] {
        assert_eq!((tier(cache).await, tier(cache).await), (Tier::Database, Tier::Shared));
    }
    wide.shutdown().await;
    let narrow = old.run(&[&old_users]).await;
    assert_eq!(narrow.status().state, CdcState::Standby, "a wider one may be about to come back");
    wait_until("it takes over", || async { narrow.status().state == CdcState::Running }).await;
    assert_eq!(shop.covered().await, ["users"]);
    assert_eq!(tier(&users).await, Tier::Shared, "what stays covered keeps its entries");
    let token = shop.update_order(11);
    shop.applied().await;
    assert_eq!(at_every_level(&orders, &token).await, [Some(11); 3]);
    assert_eq!((tier(&orders).await, tier(&orders).await), (Tier::Database, Tier::Database));
    // The wider release starts again while the narrower one is alive.
    let wide = new.run(&[&users, &orders]).await;
    assert_eq!(wide.status().state, CdcState::Running);
    assert_eq!(shop.covered().await, ["orders", "users"]);
    assert_eq!(at_every_level(&orders, &token).await, [Some(11); 3]);
    assert_eq!(tier(&orders).await, Tier::Shared);
    assert_eq!(tier(&users).await, Tier::Shared, "what stays covered keeps its entries");
    wait_until("the narrower one stands by", || async { narrow.status().state == CdcState::Standby }).await;
}

#[tokio::test(start_paused = true)]
async fn the_entries_of_another_mapping_version_are_not_served() {
    let shop = Shop::new();
    let (first, second) = (shop.process(), shop.process());
    let one = first.users().mapping_version(1).build().expect("a cache");
    let two = second.users().mapping_version(2).build().expect("a cache");
    shop.users.set(1, 10);
    let cdc_of_one = first.run(&[&one]).await;
    assert_eq!((tier(&one).await, tier(&one).await), (Tier::Database, Tier::Shared));
    assert_eq!((tier(&two).await, tier(&two).await), (Tier::Database, Tier::Database), "two is not covered");
    let cdc_of_two = second.run(&[&two]).await;
    assert_eq!(cdc_of_two.status().state, CdcState::Standby);
    cdc_of_one.shutdown().await;
    wait_until("the second runs", || async { cdc_of_two.status().state == CdcState::Running }).await;
    assert_eq!((tier(&two).await, tier(&two).await), (Tier::Database, Tier::Shared));
    assert_eq!((tier(&one).await, tier(&one).await), (Tier::Database, Tier::Database), "one is not covered");
}

#[tokio::test(start_paused = true)]
async fn a_local_tier_ends_with_its_coverage() {
    let shop = Shop::new();
    let (new, old) = (shop.process(), shop.process());
    let (users, orders) = (
        new.users().build().expect("a cache"),
        new.orders().local(Local::max_weight(1 << 20)).build().expect("a cache"),
    );
    let old_users = old.users().build().expect("a cache");
    shop.orders.set(1, 10);
    let wide = new.run(&[&users, &orders]).await;
    wait_until("the local tier serves", || async { tier(&orders).await == Tier::Local }).await;
    wide.shutdown().await;
    let narrow = old.run(&[&old_users]).await;
    wait_until("it takes over", || async { narrow.status().state == CdcState::Running }).await;
    let token = shop.update_order(11);
    shop.applied().await;
    wait_until("the local tier is off", || async { tier(&orders).await != Tier::Local }).await;
    assert_eq!(at_every_level(&orders, &token).await, [Some(11); 3]);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_changes_as_a_whole_flushes_its_own_caches_only() {
    let shop = Shop::new();
    let process = shop.process();
    let local = Local::max_weight(1 << 20);
    let users = process.users().local(local).build().expect("a cache");
    let orders = process.orders().local(local).build().expect("a cache");
    shop.users.set(1, 10);
    shop.orders.set(1, 10);
    let cdc = process.run(&[&users, &orders]).await;
    for (change, flushes) in [
        (Change::Tables { tables: vec!["shop.users".into()], reason: "TRUNCATE".into() }, 2),
        (without_id_in("shop.users"), 3),
    ] {
        for cache in [&users, &orders] {
            wait_until("the local tier serves", || async { tier(cache).await == Tier::Local }).await;
        }
        let token = Position::default();
        shop.users.set(1, 20 + flushes);
        shop.source.commit([change]);
        shop.applied().await;
        wait_until("the local tier has heard", || async { tier(&users).await != Tier::Local }).await;
        assert_eq!(at_every_level(&users, &token).await, [Some(20 + flushes); 3]);
        assert_eq!(tier(&orders).await, Tier::Local, "the other cache keeps its values");
        assert_eq!(cdc.status().flushes_total, flushes);
    }
    let error = cdc.status().last_error.expect("the mapping's error").chain().to_string();
    assert!(error.contains("`users`") && error.contains("`shop.users`") && error.contains("`id`"), "{error}");
}

fn without_id_in(table: &str) -> Change {
    let Change::Row(change) = without_id() else { panic!("a row") };
    Change::Row(RowChange { table: table.into(), ..change })
}

#[tokio::test(start_paused = true)]
async fn rows_that_no_entry_can_belong_to_do_not_flush() {
    let shop = Shop::new();
    let process = shop.process();
    let cache: Cache<String, u64> = Cache::builder("mails")
        .shared(Arc::clone(&process.store))
        .loader(crate::loader::loader_fn(|_: String| async { Ok::<_, std::io::Error>(Some(1)) }))
        .depends_on("shop.users", |row| Ok(vec![row.get::<String>("mail")?]))
        .build()
        .expect("a cache");
    let cdc = Cdc::new(shop.source.clone()).bind(&cache).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    let before = cdc.status().flushes_total;
    for mail in [Value::Null, Value::Text("x".repeat(1_100).into())] {
        let image = RowImage::from_pairs([("mail", mail)]);
        let (table, operation) = ("shop.users".into(), Operation::Insert);
        shop.source.commit([Change::Row(RowChange { table, operation, before: None, after: Some(image) })]);
        shop.applied().await;
    }
    assert_eq!(cdc.status().flushes_total, before);
    let long = "x".repeat(1_100);
    assert_eq!(cache.get(&long).await.expect("it is loaded"), Some(1));
    assert_eq!(cache.get_many([&"a".to_owned(), &long]).await.expect("both are loaded"), [Some(1), Some(1)]);
    cache.invalidate(&long).await.expect("there is nothing to invalidate");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_followed_disables_its_own_caches_only() {
    let shop = Shop::new();
    let process = shop.process();
    let (users, orders) = (process.users().build().expect("a cache"), process.orders().build().expect("a cache"));
    let cdc = process.run(&[&users, &orders]).await;
    let alter = || Change::Tables { tables: vec!["shop.users".into()], reason: "ALTER TABLE".into() };
    shop.source.refuse(&["shop.users"]);
    shop.source.commit([alter()]);
    shop.applied().await;
    assert_eq!(shop.covered().await, ["orders"]);
    assert_eq!((tier(&users).await, tier(&users).await), (Tier::Database, Tier::Database));
    assert_eq!(cdc.status().not_covered, ["users"]);
    // The table is altered back.
    shop.source.refuse(&[]);
    shop.source.commit([alter()]);
    shop.applied().await;
    assert_eq!(shop.covered().await, ["orders", "users"]);
    assert_eq!((tier(&users).await, tier(&users).await), (Tier::Database, Tier::Shared));
}

#[tokio::test(start_paused = true)]
async fn a_standby_checks_tables_again_before_it_covers_them() {
    let shop = Shop::new();
    let (one, other) = (shop.process(), shop.process());
    let (users, orders) = (one.users().build().expect("a cache"), one.orders().build().expect("a cache"));
    let (other_users, other_orders) =
        (other.users().build().expect("a cache"), other.orders().build().expect("a cache"));
    let standby = other.run(&[&other_users, &other_orders]).await;
    let holder = one.run(&[&users, &orders]).await;
    wait_until("the older one stands by", || async { standby.status().state == CdcState::Standby }).await;
    shop.source.refuse(&["shop.users"]);
    shop.source.commit([Change::Tables { tables: vec!["shop.users".into()], reason: "ALTER TABLE".into() }]);
    shop.applied().await;
    tokio::time::sleep(Duration::from_secs(10)).await; // sleep: on the paused clock, it takes no time
    assert_eq!((holder.status().state, standby.status().state), (CdcState::Running, CdcState::Standby));
    assert_eq!(shop.covered().await, ["orders"]);
    holder.shutdown().await;
    wait_until("it takes over", || async { standby.status().state == CdcState::Running }).await;
    assert_eq!(shop.covered().await, ["orders"]);
    assert_eq!((tier(&users).await, tier(&users).await), (Tier::Database, Tier::Database));
}

/// The store fails over to a state in which the table of an earlier holder is back, and term and position are the same.
#[tokio::test(start_paused = true)]
async fn a_coverage_table_that_comes_back_is_not_trusted() {
    let shop = Shop::new();
    let (new, old) = (shop.process(), shop.process());
    let (users, orders) = (new.users().build().expect("a cache"), new.orders().build().expect("a cache"));
    let old_users = old.users().build().expect("a cache");
    shop.orders.set(1, 10);
    new.run(&[&users, &orders]).await.shutdown().await;
    assert_eq!((tier(&orders).await, tier(&orders).await), (Tier::Database, Tier::Shared));
    let wide = shop.meta().await;
    let narrow = old.run(&[&old_users]).await;
    wait_until("it takes over", || async { narrow.status().state == CdcState::Running }).await;
    // The narrower one's term has reached the replica, the table that it wrote after it has not.
    let after = shop.meta().await;
    let mut lost = wide.clone();
    (lost.term, lost.vacant) = (after.term, false);
    shop.store.forget_meta();
    shop.store.writer().await.expect("a writer").flush(&lost).await.expect("the older state");
    let token = shop.update_order(11);
    shop.applied().await;
    assert_eq!(at_every_level(&orders, &token).await, [Some(11); 3]);
    assert_eq!(narrow.status().state, CdcState::Running);
    assert_eq!(shop.covered().await, ["users"]);
}

#[tokio::test(start_paused = true)]
async fn an_invalidator_whose_gate_lags_does_not_replace_a_live_holder() {
    let shop = Shop::new();
    let (one, other) = (shop.process(), shop.process());
    let (users, other_users) = (one.users().build().expect("a cache"), other.users().build().expect("a cache"));
    let holder = one.run(&[&users]).await;
    shop.update_order(1);
    shop.applied().await;
    let dead_replica = ScriptedSource::new("server-a");
    let newest = other.cdc(&[&other_users]).gate(Arc::new(dead_replica)).spawn().expect("spawned");
    assert_eq!(newest.ready().await.expect("ready"), CdcState::Standby);
    tokio::time::sleep(Duration::from_secs(60)).await; // sleep: on the paused clock, it takes no time
    assert_eq!((holder.status().state, newest.status().state), (CdcState::Running, CdcState::Standby));
}

#[tokio::test]
async fn a_cache_that_loads_from_a_replica_needs_a_gate_that_waits_on_it() {
    let shop = Shop::new();
    let process = shop.process();
    let users = process.users().loads_from("replica").build().expect("a cache");
    let error = process.cdc(&[&users]).spawn().expect_err("the source's own gate does not wait on the replica");
    assert!(error.to_string().contains("`users`") && error.to_string().contains("replica"), "{error}");
    let gate = Arc::new(shop.source.clone());
    drop(process.cdc(&[&users]).gate(gate).spawn().expect("it runs with its own gate"));
}

#[tokio::test(start_paused = true)]
async fn a_holder_notices_that_another_process_suspended_the_store() {
    let shop = Shop::new();
    let process = shop.process();
    let users = process.users().build().expect("a cache");
    let cdc = process.run(&[&users]).await;
    assert_eq!((tier(&users).await, tier(&users).await), (Tier::Database, Tier::Shared));
    shop.store.suspend().await.expect("suspended");
    assert_eq!((tier(&users).await, tier(&users).await), (Tier::Database, Tier::Database));
    wait_until("a new generation begins", || async { cdc.status().flushes_total == 2 }).await;
    assert_eq!((tier(&users).await, tier(&users).await), (Tier::Database, Tier::Shared));
}

#[tokio::test(start_paused = true)]
async fn the_tables_are_checked_again_on_a_new_primary() {
    let shop = Shop::new();
    let process = shop.process();
    let (users, orders) = (process.users().build().expect("a cache"), process.orders().build().expect("a cache"));
    let cdc = process.run(&[&users, &orders]).await;
    shop.source.refuse(&["shop.orders"]);
    shop.source.become_server("server-b");
    shop.is_flushed_and_covers_users_only(&cdc).await;
}

/// The connection breaks, and the next one is to a server that was promoted in between and has other settings.
#[tokio::test(start_paused = true)]
async fn the_tables_are_checked_before_every_session() {
    let shop = Shop::new();
    let process = shop.process();
    let (users, orders) = (process.users().build().expect("a cache"), process.orders().build().expect("a cache"));
    let cdc = process.run(&[&users, &orders]).await;
    shop.source.refuse(&["shop.orders"]);
    shop.source.become_server("server-b");
    shop.source.fail(Error::new(ErrorKind::Unavailable, "the connection broke"));
    shop.is_flushed_and_covers_users_only(&cdc).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_cache_is_covered_once_its_own_gate_shows_it_all() {
    let shop = Shop::new();
    let (old, new) = (shop.process(), shop.process());
    let old_users = old.users().build().expect("a cache");
    let (users, orders) = (new.users().build().expect("a cache"), new.orders().build().expect("a cache"));
    shop.orders.set(1, 10);
    let first = old.run(&[&old_users]).await;
    shop.update_order(11);
    shop.applied().await;
    // The new release's loaders read a replica, which has not seen the commit that is applied already.
    let replica = ScriptedSource::new("server-a");
    shop.orders.set(1, 10);
    let second = new.cdc(&[&users, &orders]).gate(Arc::new(replica.clone())).spawn().expect("spawned");
    assert_eq!(second.ready().await.expect("ready"), CdcState::Standby, "it does not disturb a holder that lives");
    let term = shop.meta().await.term;
    first.shutdown().await;
    wait_until("the new release has the term", || async { shop.meta().await.term > term }).await;
    for _ in 0..3 {
        assert_eq!(tier(&orders).await, Tier::Database, "not covered yet: nothing of it is stored");
        tokio::time::sleep(Duration::from_secs(2)).await; // sleep: on the paused clock, it takes no time
    }
    assert_eq!(shop.covered().await, ["users"]);
    replica.commit([]);
    shop.orders.set(1, 11);
    wait_until("it runs", || async { second.status().state == CdcState::Running }).await;
    assert_eq!(shop.covered().await, ["orders", "users"]);
    tier(&orders).await;
    assert_eq!(orders.get(&1).await.expect("a value"), Some(11));
}

#[tokio::test]
async fn two_caches_of_one_name_and_different_mappings_are_refused() {
    let shop = Shop::new();
    let (one, other) = (shop.process(), shop.process());
    let users = one.users().build().expect("a cache");
    let error = one.users().mapping_version(2).build().expect_err("the name is taken");
    assert!(error.to_string().contains("`users`"), "{error}");
    let twin = one.users().build().expect("the same mapping twice is the same cache");
    let renamed = other.builder("users", &shop.orders).depends_on("shop.orders", |row| Ok(vec![row.get::<u64>("id")?]));
    let renamed = renamed.build().expect("in another process it cannot be seen");
    let error = Cdc::new(shop.source.clone())
        .bind(&users)
        .bind(&twin)
        .bind_map(users.store(), renamed.key_map())
        .spawn()
        .expect_err("two mappings of one name");
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("`users`"), "{error}");
}
