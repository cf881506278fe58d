//! TLS everywhere, and a user with the rights that the documentation names and no others: a failover under load.

use cachefront_testkit::fleet::Fleet;
use cachefront_testkit::server::{Cluster, SentinelGroup, tls};
use cachefront_testkit::stack;

use crate::cluster::Clustered;
use crate::common::{PHASE, Run, code, item, tell};
use crate::race::FailOver;
use crate::sentinel::Group;

/// The rights of a text that begin with this one, which are in quotes there.
fn rights(text: &'static str, first: &str) -> Vec<&'static str> {
    let begin = text.find(&format!("`{first}")).expect("the documentation names the rights");
    let quoted = text[begin + 1..].split('`').next().expect("a part");
    quoted.split_whitespace().filter(|word| *word != "//!").collect()
}

/// Arguments that make a user with the rights of a server's, and these more.
fn user(more: &[&'static str]) -> Vec<&'static str> {
    let server = rights(include_str!("../../cachefront-redis/src/lib.rs"), "+@read");
    [&["--user", "ada", "on", ">lovelace"], &server[..], more].concat()
}

/// Two processes under load, and a failover.
async fn fails_over<T: FailOver>(what: &str, fleet: Fleet, servers: impl FnOnce(Run) -> T) {
    let mut run = Run::begin(fleet);
    for _ in 0..2 {
        run.start(&[item(), code()]).await;
    }
    run.commits(PHASE).await;
    let mut servers = servers(run);
    servers.fail_over().await;
    tell(&format!("{what}: invalidation goes on {:?} after the election", servers.run().recovered().await));
    servers.run().commits(PHASE).await;
    servers.run().rest(what).await;
    servers.run().sum.is_right(what, &["session", "bounded"]);
    servers.run().is_right_from_now_on(&format!("after: {what}")).await;
}

async fn over_tls(url: &str) -> Fleet {
    let mut fleet = Fleet::open_on(&stack::mysql_url(), url).await;
    fleet.redis_ca = Some(tls::ca_file());
    fleet
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_over_tls_needs_the_documented_rights_only() {
    let guide = include_str!("../../docs/guide.md");
    let cluster = Cluster::start_with_tls(&user(&rights(guide, "+cluster|slots"))).await;
    let fleet = over_tls(&cluster.tls_url("ada", "lovelace")).await;
    fails_over("cluster, TLS and rights", fleet, |run| Clustered::new(run, cluster)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinel_over_tls_needs_the_documented_rights_only() {
    let sentinels = rights(include_str!("../../docs/guide.md"), "+sentinel|master").join(" ");
    let login = format!("user ada on >lovelace {sentinels}");
    let group = SentinelGroup::start_with_tls(1, &user(&[]), &[&login]).await.complete().await;
    let fleet = over_tls(&group.tls_url("ada", "lovelace")).await;
    fails_over("Sentinel, TLS and rights", fleet, |run| Group::new(run, group)).await;
}
