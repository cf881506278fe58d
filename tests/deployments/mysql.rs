//! MySQL changes its primary behind one address, under load: invalidators, loaders and the writer find it there.

use std::time::Duration;

use cachefront_testkit::address::Address;
use cachefront_testkit::fleet::{Fleet, now};
use cachefront_testkit::server::MySql;
use cachefront_testkit::server::mysql::{ADMIN, ADMIN_PASSWORD};
use cachefront_testkit::shop::PATIENCE;
use cachefront_testkit::{stack, wait};
use mysql_async::{Value, prelude::Queryable};

use crate::common::{PHASE, Run, code, item, tell};
use crate::race::{self, FailOver, race};

/// A primary, a replica of it, and processes that find the primary behind an address.
struct Pair {
    run: Run,
    address: Address,
    primary: MySql,
    replica: MySql,
}

/// Makes `replica` follow `primary` from the first transaction on.
async fn follow(replica: &MySql, primary: &MySql) {
    let mut conn = replica.connect().await;
    let source = format!(
        "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = '{ADMIN}', \
         SOURCE_PASSWORD = '{ADMIN_PASSWORD}', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, \
         SOURCE_CONNECT_RETRY = 1",
        primary.port()
    );
    for sql in [&*source, "START REPLICA", "SET GLOBAL super_read_only = ON"] {
        conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

async fn executed(server: &MySql) -> String {
    let set: Option<String> =
        server.connect().await.query_first("SELECT @@GLOBAL.gtid_executed").await.expect("a reply");
    set.expect("a set")
}

async fn uuid(server: &MySql) -> String {
    let uuid: Option<String> =
        server.connect().await.query_first("SELECT @@GLOBAL.server_uuid").await.expect("a reply");
    uuid.expect("a UUID")
}

/// Waits until `replica` has executed all that `primary` has.
async fn in_step(replica: &MySql, primary: &MySql) {
    let wanted = executed(primary).await;
    let mut conn = replica.connect().await;
    let late: Option<Value> =
        conn.exec_first("SELECT WAIT_FOR_EXECUTED_GTID_SET(?, 60)", (wanted,)).await.expect("a reply");
    assert_eq!(late, Some(Value::Int(0)), "the replica is in step");
}

async fn promote(server: &MySql) {
    let mut conn = server.connect().await;
    for sql in ["STOP REPLICA", "RESET REPLICA ALL", "SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"] {
        conn.query_drop(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl FailOver for Pair {
    const ERRORS: f64 = 0.01;

    fn run(&mut self) -> &mut Run {
        &mut self.run
    }

    async fn fail_over(&mut self) {
        let mut rows = self.run.writer.pause().await;
        in_step(&self.replica, &self.primary).await;
        self.primary.kill();
        promote(&self.replica).await;
        let lost = rows.adopt(&self.replica.url_of_database(self.run.fleet.database.name())).await;
        assert_eq!(lost, 0, "nothing is lost");
        self.address.move_to(self.replica.port());
        std::mem::swap(&mut self.primary, &mut self.replica);
    }

    async fn restore(&mut self) {
        self.replica.restart().await;
        follow(&self.replica, &self.primary).await;
        in_step(&self.replica, &self.primary).await;
    }
}

/// The primary is killed every ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn race_under_failovers_of_mysql() {
    let (primary, replica) = pair().await;
    let address = Address::of(primary.port()).await;
    let run = race::begin(Fleet::open_on(&address.mysql_url(), &stack::redis_url()).await).await;
    race("race, MySQL", &mut Pair { run, address, primary, replica }).await;
}

/// A primary and its replica, both without a transaction.
async fn pair() -> (MySql, MySql) {
    let (primary, replica) = tokio::join!(MySql::start(&[]), MySql::start(&["--server-id=2"]));
    for server in [&primary, &replica] {
        server.execute("RESET BINARY LOGS AND GTIDS").await;
    }
    follow(&replica, &primary).await;
    (primary, replica)
}

impl Pair {
    async fn start(processes: usize) -> Self {
        Self::start_with(processes, false).await
    }

    /// `listed`: invalidators know both servers by a list of addresses; loaders and the writer have one address.
    async fn start_with(processes: usize, listed: bool) -> Self {
        let (primary, replica) = pair().await;
        let address = Address::of(primary.port()).await;
        let mut fleet = Fleet::open_on(&address.mysql_url(), &stack::redis_url()).await;
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", replica.port(), primary.port());
        fleet.log_url = listed.then(|| format!("mysql://{ADMIN}:{ADMIN_PASSWORD}@{hosts}"));
        let mut run = Run::begin(fleet);
        for _ in 0..processes {
            run.start(&[item(), code()]).await;
        }
        run.commits(PHASE).await;
        in_step(&replica, &primary).await;
        Self { run, address, primary, replica }
    }
}

/// The old primary stays alive and keeps its clients.
async fn planned(what: &str, follows: bool) {
    let mut pair = Pair::start(2).await;
    {
        let mut rows = pair.run.writer.pause().await;
        pair.primary.execute("SET GLOBAL super_read_only = ON").await;
        in_step(&pair.replica, &pair.primary).await;
        promote(&pair.replica).await;
        let lost = rows.adopt(&pair.replica.url_of_database(pair.run.fleet.database.name())).await;
        assert_eq!(lost, 0, "nothing is lost");
        pair.address.move_to(pair.replica.port());
        if follows {
            follow(&pair.primary, &pair.replica).await;
        }
    }
    let moved = now();
    tell(&format!("{what}: invalidation goes on after {:?}", pair.run.recovered().await));
    let (new, store) = (uuid(&pair.replica).await, pair.run.fleet.store().await);
    let key = cachefront::StoreKey::encode("item", &0_u64).expect("a key");
    wait::until_async("the new primary's log is followed", PATIENCE, async || {
        let meta = store.get(&key).await.ok().and_then(|reading| reading.meta.clone());
        meta.is_some_and(|meta| *meta.origin == *new)
    })
    .await;
    tell(&format!("{what}: the new primary's log is followed after {:?}", Duration::from_micros(now() - moved)));
    pair.run.commits(PHASE).await;
    pair.run.rest(what).await;
    pair.run.sum.is_right(what, &["session", "bounded"]);
    pair.run.is_right_from_now_on(&format!("after: {what}")).await;

    // Those that lived through the change follow a holder that came after it and dies.
    pair.run.start(&[item(), code()]).await;
    let mut holder = pair.run.pods.pop().expect("it was started");
    holder.is("Running").await;
    holder.kill().await;
    tell(&format!("{what}: invalidation goes on {:?} after the holder's death", pair.run.recovered().await));
    pair.run.is_right_from_now_on(&format!("after a holder's death after: {what}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_change_of_the_primary_costs_no_wrong_answer() {
    planned("planned change, the old primary follows the new one", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_demoted_primary_proves_nothing() {
    planned("planned change, the old primary is frozen", false).await;
}

/// Invalidators find the new primary by their list of addresses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_is_followed_by_a_list_of_addresses() {
    crash(Pair::start_with(2, true).await, "crash, a list of addresses").await;
}

/// The primary is killed with commits that its replica never got.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_that_loses_the_last_commits_leaves_nothing_stale() {
    crash(Pair::start(2).await, "crash").await;
}

async fn crash(mut pair: Pair, what: &str) {
    pair.replica.execute("STOP REPLICA").await;
    pair.run.commits(PHASE / 2).await;
    {
        let mut rows = pair.run.writer.pause().await;
        pair.primary.kill();
        promote(&pair.replica).await;
        let back = rows.adopt(&pair.replica.url_of_database(pair.run.fleet.database.name())).await;
        assert!(back > 0, "nothing was lost: the test proves nothing");
        pair.address.move_to(pair.replica.port());
    }
    tell(&format!("{what}: invalidation goes on after {:?}", pair.run.recovered().await));
    pair.run.commits(PHASE).await;
    pair.run.rest(what).await;
    pair.run.sum.is_right("crash of the database's primary", &["session", "bounded"]);
    pair.run.is_right_from_now_on("after the crash of the database's primary").await;
}
