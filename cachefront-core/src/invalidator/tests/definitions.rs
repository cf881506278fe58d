//! At which time a table's definition is checked, compared with the position that is covered and with what loaders see.

use super::coverage::Shop;
use super::*;

fn alter(table: &str) -> Change {
    Change::Tables { tables: vec![table.into()], reason: "ALTER TABLE".into() }
}

#[tokio::test(start_paused = true)]
async fn a_table_altered_after_its_check_is_not_covered() {
    let shop = Shop::new();
    let process = shop.process();
    let (users, orders) = (process.users().build().expect("a cache"), process.orders().build().expect("a cache"));
    shop.source.hide();
    shop.source.commit([alter("shop.users")]);
    let cdc = process.cdc(&[&users, &orders]).spawn().expect("spawned");
    tokio::time::sleep(Duration::from_secs(5)).await; // sleep: it waits at the gate, on the paused clock
    assert_eq!(cdc.status().state, CdcState::Starting);
    // The check was before the change; the log after the head says nothing of it.
    shop.source.refuse(&["shop.users"]);
    shop.source.reveal();
    wait_until("it runs", || async { cdc.status().state == CdcState::Running }).await;
    assert_eq!(shop.covered().await, ["orders"]);
}

#[tokio::test(start_paused = true)]
async fn the_tables_of_an_added_cache_are_checked_again_later() {
    let shop = Shop::new();
    let (old, new) = (shop.process(), shop.process());
    let old_users = old.users().build().expect("a cache");
    let (users, orders) = (new.users().build().expect("a cache"), new.orders().build().expect("a cache"));
    let first = old.cdc(&[&old_users]).spawn().expect("spawned");
    first.ready().await.expect("ready");
    // The older release does not map the table: it neither waits for the change nor checks the table.
    shop.source.hide();
    shop.source.commit([alter("shop.orders")]);
    let executed = shop.source.executed();
    wait_until("it is applied", || async { shop.meta().await.applied().covers(&executed) }).await;
    first.shutdown().await;
    let second = new.cdc(&[&users, &orders]).spawn().expect("spawned");
    tokio::time::sleep(Duration::from_secs(5)).await; // sleep: it waits at the gate, on the paused clock
    assert_eq!(shop.covered().await, ["users"]);
    shop.source.refuse(&["shop.orders"]);
    shop.source.reveal();
    wait_until("it runs", || async { second.status().state == CdcState::Running }).await;
    assert_eq!(shop.covered().await, ["users"]);
}

/// A table is altered, changed without a trace in the log, and altered back. The check of the first change sees the third
/// one, and a replica shows neither it nor what the log lacks.
#[tokio::test(start_paused = true)]
async fn a_check_of_a_table_counts_once_loaders_see_what_it_saw() {
    let shop = Shop::new();
    let process = shop.process();
    let users = process.users().loads_from("a replica").build().expect("a cache");
    let replica = ScriptedSource::new("server-a");
    let settings = CdcSettings { batch_changes_max: 1, ..CdcSettings::default() };
    let cdc = process.cdc(&[&users]).gate(Arc::new(replica.clone())).settings(settings).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    let before = shop.meta().await;
    shop.source.commit([alter("shop.users")]);
    let first = shop.source.executed();
    shop.source.commit([row(1)]);
    shop.source.commit([alter("shop.users")]);
    // The replica shows the first change only.
    replica.commit([]);
    tokio::time::sleep(Duration::from_secs(5)).await; // sleep: it waits at the gate, on the paused clock
    let meanwhile = shop.meta().await;
    assert_eq!(meanwhile.coverage, before.coverage, "no new generation yet");
    assert!(!meanwhile.applied().covers(&first));
    replica.commit([]);
    replica.commit([]);
    let executed = shop.source.executed();
    wait_until("all is applied", || async { shop.meta().await.applied().covers(&executed) }).await;
    assert_ne!(shop.meta().await.coverage, before.coverage);
}

#[tokio::test(start_paused = true)]
async fn warnings_are_those_of_the_last_checks() {
    let shop = Shop::new();
    let process = shop.process();
    let users = process.users().build().expect("a cache");
    shop.source.warn(&["the images are partial"]);
    let cdc = process.cdc(&[&users]).spawn().expect("spawned");
    cdc.ready().await.expect("ready");
    assert_eq!(cdc.status().warnings, ["the images are partial"]);
    // A change of a definition is checked: what is found of its tables is added.
    shop.source.warn(&["the table has no key"]);
    shop.source.commit([alter("shop.users")]);
    wait_until("the table is checked", || async { cdc.status().warnings.len() == 2 }).await;
    // Another server is checked as a whole, and nothing is wrong there.
    shop.source.warn(&[]);
    shop.source.become_server("server-b");
    wait_until("the other server is checked", || async { cdc.status().warnings.is_empty() }).await;
    cdc.shutdown().await;
}
