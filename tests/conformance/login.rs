//! Passwords, rights and certificates: what is wrong is said, and no secret with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefront_core::store::{
    Applied, Expected, Generation, Invalidation, InvalidationMode, LeaseReply, LeaseRequest, Store, Token,
};
use cachefront_core::{Error, ErrorKind, Timestamp};
use cachefront_redis::{RedisSettings, RedisStore};
use cachefront_testkit::port;
use cachefront_testkit::server::redis::Redis;

use crate::connection::{MAPPING, key, meta};

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

/// The rights that the error message names are enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_that_are_asked_for_suffice() {
    let redis = Redis::start().await;
    let url = format!("redis://ada:lovelace@127.0.0.1:{}/?namespace=t", redis.port());
    let login = "ACL SETUSER ada on >lovelace";
    assert_eq!(redis.command(login).await.expect("a reply"), "+OK\r\n");
    let error = refused(&url).await.to_string();
    let rights = error.split('`').nth(1).expect("the rights, in quotes");
    // Redis 6 has these commands in another category.
    let rights = rights.replace("+@connection", "+@connection -select -wait");
    assert_eq!(redis.command(&format!("{login} {rights}")).await.expect("a reply"), "+OK\r\n");
    RedisStore::connect(&url.replace("/?", "/1?")).await.expect("a store in another database");
    let settings = RedisSettings::default().with_wait_replicas(1).with_wait_timeout(Duration::from_millis(1));
    let waiting = RedisStore::builder(&url.replace("=t", "=waiting")).settings(settings).connect().await;
    let mut writer = waiting.expect("a store that waits for replicas").writer().await.expect("a writer");
    writer.flush(&meta(7, 5)).await.expect("a flush");
    writer.invalidate_unseen(&[Invalidation { key: key(1), commits: Vec::new() }]).await.expect("an invalidation");
    let applied = Applied { order: 6, checkpoint: Default::default(), source_time: Timestamp::UNKNOWN };
    let held = Expected { generation: Generation(7), term: 1, applied_order: 5 };
    let error = writer.commit(&held, &applied).await.expect_err("there is no replica");
    assert!(error.to_string().contains("`wait_replicas` asks for"), "{}", error.chain());

    let store = RedisStore::connect(&url).await.expect("a store");
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 5)).await.expect("a flush");
    let change = Invalidation { key: key(1), commits: Vec::new() };
    writer.invalidate_unseen(&[change]).await.expect("an invalidation");
    let held = Expected { generation: Generation(7), term: 1, applied_order: 5 };
    let applied = Applied { order: 6, checkpoint: Default::default(), source_time: Timestamp::UNKNOWN };
    writer.commit(&held, &applied).await.expect("a commit");
    let request = LeaseRequest {
        key: &key(1),
        token: Token::from_u128(1).expect("a token"),
        duration: Duration::from_secs(60),
        mode: InvalidationMode::Cdc,
        mapping: MAPPING,
        schema_version: 1,
        reload: false,
    };
    assert!(matches!(store.lease(&request).await.expect("a reply"), LeaseReply::Granted { .. }));
    store.bus().subscribe().await.expect("a reader of the bus");
    store.clear().await.expect("a clear");
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
