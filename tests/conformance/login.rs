//! Passwords, rights and certificates: what is wrong is said, and no secret with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefront_core::store::{Applied, Expected, Generation, Invalidation, InvalidationMode, LeaseReply, Store, Token};
use cachefront_core::{Error, ErrorKind, Timestamp};
use cachefront_redis::{RedisSettings, RedisStore, testing};
use cachefront_testkit::server::redis::Redis;
use cachefront_testkit::server::{Cluster, SentinelGroup};
use cachefront_testkit::{port, wait};

use crate::connection::{key, lease_of, meta};

async fn refused(url: &str) -> Error {
    let error = RedisStore::connect(url).await.expect_err("refused");
    let shown = format!("{error:?} {}", error.chain());
    assert!(!shown.contains("hunter2"), "no secret: {shown}");
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_a_matter_of_configuration() {
    let redis = Redis::start().await;
    for command in [
        "ACL SETUSER ada on >lovelace ~* &* +@all",
        "ACL SETUSER bob on >hunter2 ~* &* +@read",
        "ACL SETUSER default off",
    ] {
        assert_eq!(redis.command(command).await.expect("a reply"), "+OK\r\n");
    }
    let at = |login: &str| format!("redis://{login}127.0.0.1:{}/?namespace=t", redis.port());
    for url in [at(""), at("ada:hunter2@"), at("unknown:hunter2@")] {
        let error = refused(&url).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
        assert!(error.to_string().contains("password"), "{error}");
    }
    let error = refused(&at("bob:hunter2@")).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    assert!(error.to_string().contains("right"), "{error}");
    let store = RedisStore::connect(&at("ada:lovelace@")).await.expect("the right password");
    assert!(!format!("{store:?}").contains("lovelace"));
    store.get(&key(1)).await.expect("a reading");
}

/// The rights of a text that begin with this one, which are in quotes there.
fn rights<'a>(text: &'a str, first: &str) -> Vec<&'a str> {
    let begin = text.find(&format!("`{first}")).unwrap_or_else(|| panic!("no rights in: {text}"));
    let quoted = text[begin + 1..].split('`').next().expect("a part");
    quoted.split_whitespace().filter(|word| *word != "//!").collect()
}

const CRATE: &str = include_str!("../../cachefront-redis/src/lib.rs");

const GUIDE: &str = include_str!("../../docs/guide.md");

/// The rights as Redis 6.2 takes them: fewer commands are of the kind `@connection` there.
fn in_redis_6_2(rights: &[&str]) -> String {
    rights.join(" ").replace("+@connection", "+auth +client +echo +hello +ping +reset")
}

/// The rights that the error message and the documentation name are enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_are_asked_for_suffice() {
    let redis = Redis::start().await;
    let url = format!("redis://ada:lovelace@127.0.0.1:{}/?namespace=t", redis.port());
    let login = "ACL SETUSER ada on >lovelace";
    assert_eq!(redis.command(login).await.expect("a reply"), "+OK\r\n");
    let error = refused(&url).await.to_string();
    let named = rights(&error, "+@read");
    assert_eq!(named, rights(CRATE, "+@read"));
    assert_eq!(named, rights(GUIDE, "+@read"));
    let rights = in_redis_6_2(&named);
    assert_eq!(redis.command(&format!("{login} {rights}")).await.expect("a reply"), "+OK\r\n");
    let store = RedisStore::connect(&url).await.expect("a store");
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 5)).await.expect("a flush");
    let change = Invalidation { key: key(1), commits: Vec::new() };
    writer.invalidate_unseen(&[change]).await.expect("an invalidation");
    let held = Expected { generation: Generation(7), term: 1, applied_order: 5 };
    let applied = Applied { order: 6, checkpoint: Default::default(), source_time: Timestamp::UNKNOWN };
    writer.commit(&held, &applied).await.expect("a commit");
    let (leased, token) = (key(1), Token::from_u128(1).expect("a token"));
    let request = lease_of(&leased, token, InvalidationMode::Cdc);
    assert!(matches!(store.lease(&request).await.expect("a reply"), LeaseReply::Granted { .. }));
    store.bus().subscribe().await.expect("a reader of the bus");
    assert!(store.peek(&key(1)).await.expect("a reading").entry.is_some());
    store.discard_cache("users").await.expect("a clear");

    let settings = RedisSettings::default().with_wait_replicas(1).with_wait_timeout(Duration::from_millis(1));
    let store = RedisStore::builder(&url).settings(settings).connect().await.expect("a store");
    let mut writer = store.writer().await.expect("a writer");
    writer.invalidate(&[key(1)]).await.expect("an invalidation");
    let held = Expected { applied_order: 6, ..held };
    let error = writer.commit(&held, &applied).await.expect_err("there is no replica");
    assert!(error.to_string().contains("`wait_replicas`"), "it may ask how many there are: {}", error.chain());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_a_cluster_asks_for_suffice() {
    let cluster = Cluster::start().await;
    let set_user = async |rights: &str| {
        for node in &cluster.nodes {
            let reply = node.command(&format!("ACL SETUSER ada on >lovelace {rights}")).await.expect("a reply");
            assert_eq!(reply, "+OK\r\n");
        }
    };
    let of_a_server = rights(CRATE, "+@read");
    set_user(&of_a_server.join(" ")).await;
    let url = format!("{}?namespace=t", cluster.url().replace("://", "://ada:lovelace@"));
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    let text = error.to_string();
    let named = rights(&text, "+@read");
    let more: Vec<&str> = named.iter().copied().filter(|right| !of_a_server.contains(right)).collect();
    assert_eq!(more, rights(GUIDE, "+cluster|slots"));
    set_user(&in_redis_6_2(&named)).await;
    let store = RedisStore::connect(&url).await.expect("a store");
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 1)).await.expect("a flush");
    let moved = testing::meta_key("t", 0);
    let (slot, from) = (cluster.slot_of(&moved).await, cluster.owner_of(&moved).await);
    let to = (0..3).find(|node| *node != from).expect("another primary");
    cluster.begin_move(slot, from, to).await;
    cluster.move_keys(slot, from, to, 100).await;
    let held = Expected { generation: Generation(7), term: 1, applied_order: 1 };
    writer.raise_high_watermark(&held, 2).await.expect("the meta is written where it is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_sentinels_ask_for_suffice() {
    let group = SentinelGroup::start(0, &[], &["user ada on >lovelace"]).await;
    let url = format!("{}?namespace=t&sentinel_user=ada&sentinel_password=lovelace", group.url());
    let error = refused(&url).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
    let text = error.to_string();
    assert!(text.contains("`sentinel_user`"), "{text}");
    let named = rights(&text, "+sentinel|master");
    assert_eq!(named, rights(GUIDE, "+sentinel|master"));
    for sentinel in &group.sentinels {
        let set = format!("ACL SETUSER ada {}", named.join(" "));
        assert_eq!(sentinel.command(&set).await.expect("a reply"), "+OK\r\n");
    }
    let _store = RedisStore::connect(&url).await.expect("a store");
    wait::until_async("every Sentinel is followed", Duration::from_secs(20), async || {
        let mut followed = true;
        for sentinel in &group.sentinels {
            let clients = sentinel.command("CLIENT LIST").await.unwrap_or_default();
            followed &= clients.lines().any(|line| line.contains(" sub=1 ") && line.contains(" user=ada "));
        }
        followed
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let port = port::free();
    let error = refused(&format!("redis://ada:hunter2@127.0.0.1:{}/?namespace=t", port)).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    let chain = error.chain();
    let texts: Vec<_> = chain.split(": ").collect();
    assert!(texts.iter().enumerate().all(|(at, text)| !texts[..at].contains(text)), "each text once: {chain}");
}

fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/tls").join(name)
}

/// A certificate is checked against the CA that was named, and against the host in the URL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_checked() {
    let tls_port = port::free();
    let (certificate, key_file, ca) = (pem("server.pem"), pem("server.key"), pem("ca.pem"));
    let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
    let redis = Redis::start_with(&[
        "--tls-port",
        &tls_port.to_string(),
        "--tls-cert-file",
        &text(&certificate),
        "--tls-key-file",
        &text(&key_file),
        "--tls-ca-cert-file",
        &text(&ca),
        "--tls-auth-clients",
        "no",
    ])
    .await;
    let url = format!("rediss://localhost:{tls_port}/?namespace=t");
    let store = RedisStore::builder(&url).tls_ca_file(&ca).connect().await.expect("the CA signed the certificate");
    store.get(&key(1)).await.expect("a reading");
    store.writer().await.expect("a writer over TLS too");
    store.bus().subscribe().await.expect("a reader of the bus over TLS too");

    let other_ca = std::fs::read(pem("other-ca.pem")).expect("a certificate");
    let other_host = format!("rediss://127.0.0.1:{tls_port}/?namespace=t");
    for (wrong, what) in [
        (RedisStore::builder(&url).tls_ca_pem(other_ca), "another CA"),
        (RedisStore::builder(&url), "the system's CAs"),
        (RedisStore::builder(&other_host).tls_ca_file(&ca), "another host"),
    ] {
        let error = wrong.connect().await.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Config, "{what}: {}", error.chain());
        assert!(error.to_string().contains("`tls_ca_file`"), "{what}: {error}");
    }
    drop(redis);
}
