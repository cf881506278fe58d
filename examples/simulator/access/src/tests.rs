//! Sessions, roles and the audit list, over a database file as a restart finds it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::header;
use cachefront::Timestamp;
use cachefront::clock::Sleep;
use simulator_cli::{ExposeSecret, SecretString};
use simulator_model::db::sqlite::Sqlite;
use tempfile::TempDir;

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// A clock that a test moves.
#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, _duration: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

struct Place {
    directory: TempDir,
    clock: Arc<Hand>,
}

impl Place {
    fn new() -> Self {
        let clock = Arc::new(Hand(AtomicU64::new(1_700_000_000_000_000)));
        Self { directory: TempDir::new().expect("a directory"), clock }
    }

    fn passwords() -> Passwords {
        let password = |text: &str| Some(SecretString::from(text));
        Passwords { admin: password("root"), operator: password("work"), viewer: password("look") }
    }

    async fn open(&self, passwords: &Passwords) -> (Arc<Access>, Option<Printed>) {
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let database = Sqlite::open(self.directory.path(), Arc::clone(&clock)).expect("a database");
        let access = Access::open(Arc::new(database), clock, Vec::new(), false).await.expect("access");
        let printed = access.adopt(passwords).await.expect("accounts");
        (access, printed)
    }
}

fn with_cookie(cookie: &HeaderValue) -> HeaderMap {
    let pair = cookie.to_str().expect("text").split(';').next().expect("a pair").to_owned();
    HeaderMap::from_iter([(header::COOKIE, pair.parse().expect("a header"))])
}

async fn logged_in(access: &Access, name: &str, password: &str) -> (Session, HeaderMap) {
    let (session, cookie) = access.login(name, password, HERE).await.expect("a session");
    let text = cookie.to_str().expect("text");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(text.contains(attribute), "{text}");
    }
    (session, with_cookie(&cookie))
}

#[tokio::test]
async fn the_first_start_tells_a_password_once_and_keeps_only_its_hash() {
    let place = Place::new();
    let (access, printed) = place.open(&Passwords::default()).await;
    let printed = printed.expect("a password");
    assert!(!format!("{printed:?} {access:?}").contains(printed.password.expose_secret()));
    logged_in(&access, "admin", printed.password.expose_secret()).await;
    assert_eq!(access.login("viewer", "", HERE).await.expect_err("no such account"), Denied::WrongPassword);
    let (again, second) = place.open(&Passwords::default()).await;
    assert!(second.is_none(), "printed again");
    logged_in(&again, "admin", printed.password.expose_secret()).await;
    for file in std::fs::read_dir(place.directory.path()).expect("a directory") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("bytes");
        let secret = printed.password.expose_secret().as_bytes();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the password is in a file");
    }
}

#[tokio::test]
async fn a_cookie_that_was_made_or_changed_elsewhere_is_none() {
    let (access, _) = Place::new().open(&Place::passwords()).await;
    let (_, headers) = logged_in(&access, "viewer", "look").await;
    assert_eq!(access.viewer(&headers).expect("a session").role, Role::Viewer);
    let cookie = headers[header::COOKIE].to_str().expect("text").to_owned();
    let (_, value) = cookie.split_once('=').expect("a pair");
    let parts: Vec<&str> = value.split('.').collect();
    let forged = [
        value.replacen("viewer", "admin", 1),
        [parts[0], "99999999999", parts[2], parts[3]].join("."),
        [parts[0], parts[1], "0", parts[3]].join("."),
        [parts[0], parts[1], parts[2], ""].join("."),
        [parts[0], parts[1], parts[2], &"0".repeat(64)].join("."),
        format!("{value}.more"),
        value.get(..value.len() - 1).expect("shorter").to_owned(),
        "viewer".into(),
        String::new(),
    ];
    for forged in forged {
        let headers = with_cookie(&HeaderValue::from_str(&format!("cachefront_session={forged}")).expect("a header"));
        assert_eq!(access.viewer(&headers).expect_err("forged"), Denied::NotLoggedIn, "{forged}");
    }
    assert_eq!(access.viewer(&HeaderMap::new()).expect_err("no cookie"), Denied::NotLoggedIn);
}

#[tokio::test]
async fn a_change_needs_the_role_the_token_and_the_own_page() {
    let (access, _) = Place::new().open(&Place::passwords()).await;
    let (viewer, viewer_headers) = logged_in(&access, "viewer", "look").await;
    let (operator, mut headers) = logged_in(&access, "operator", "work").await;
    assert!(operator.may(Role::Operator) && !viewer.may(Role::Operator) && !operator.may(Role::Admin));

    let change = |headers: &HeaderMap, csrf: Option<&str>| access.change(headers, Role::Operator, csrf).err();
    assert_eq!(change(&viewer_headers, Some(viewer.csrf())), Some(Denied::Role(Role::Operator)));
    assert_eq!(change(&headers, None), Some(Denied::Forged));
    assert_eq!(change(&headers, Some("")), Some(Denied::Forged));
    assert_eq!(change(&headers, Some(viewer.csrf())), Some(Denied::Forged));
    assert_eq!(change(&headers, Some(operator.csrf())), None);
    assert_eq!(change(&HeaderMap::new(), Some(operator.csrf())), Some(Denied::NotLoggedIn));
    headers.insert("x-csrf-token", operator.csrf().parse().expect("a header"));
    assert_eq!(change(&headers, None), None);
    headers.insert(header::HOST, "127.0.0.1:8501".parse().expect("a header"));
    for (origin, denied) in [
        ("http://127.0.0.1:8501", None),
        ("http://127.0.0.1:8000", Some(Denied::Forged)),
        ("http://evil.example", Some(Denied::Forged)),
        ("null", Some(Denied::Forged)),
    ] {
        headers.insert(header::ORIGIN, origin.parse().expect("a header"));
        assert_eq!(change(&headers, None), denied, "{origin}");
    }
}

#[tokio::test]
async fn a_session_outlives_a_restart_and_not_its_own_end() {
    let place = Place::new();
    let (access, _) = place.open(&Place::passwords()).await;
    let (session, headers) = logged_in(&access, "operator", "work").await;
    let (restarted, _) = place.open(&Place::passwords()).await;
    let known = restarted.viewer(&headers).expect("the same session");
    assert_eq!((known.name.as_str(), known.csrf()), ("operator", session.csrf()));

    let (_, other) = logged_in(&access, "operator", "work").await;
    access.logout(&other).await;
    assert!(access.viewer(&other).is_err() && access.viewer(&headers).is_ok());
    // The cookie may have been copied: neither another process nor a restarted one accepts it.
    restarted.refresh().await.expect("what was ended");
    assert!(restarted.viewer(&other).is_err() && restarted.viewer(&headers).is_ok());
    let (later, _) = place.open(&Place::passwords()).await;
    assert!(later.viewer(&other).is_err() && later.viewer(&headers).is_ok());
    let copied = access.database.kept_names(ENDED).await.expect("names");
    assert_eq!(copied.len(), 1, "{copied:?}");

    let changed = Passwords { operator: Some(SecretString::from("another")), ..Place::passwords() };
    let (renewed, _) = place.open(&changed).await;
    assert!(renewed.viewer(&headers).is_err(), "the old password's session");
    assert_eq!(renewed.login("operator", "work", HERE).await.expect_err("the old one"), Denied::WrongPassword);
    let (_, headers) = logged_in(&renewed, "operator", "another").await;

    place.clock.0.fetch_add(13 * 3_600_000_000, Ordering::SeqCst);
    assert!(renewed.viewer(&headers).is_err(), "over");
    let (_, headers) = logged_in(&renewed, "operator", "another").await;
    renewed.logout_all().await.expect("a new key");
    assert!(renewed.viewer(&headers).is_err(), "the old key's session");
    let (_, headers) = logged_in(&renewed, "operator", "another").await;
    access.refresh().await.expect("the new key");
    access.viewer(&headers).expect("known to the other process");
}

#[tokio::test]
async fn an_account_whose_password_is_no_longer_configured_is_closed() {
    let place = Place::new();
    let (access, _) = place.open(&Place::passwords()).await;
    let (_, operator) = logged_in(&access, "operator", "work").await;
    let (_, viewer) = logged_in(&access, "viewer", "look").await;
    let (later, printed) = place.open(&Passwords { operator: None, admin: None, ..Place::passwords() }).await;
    assert!(printed.is_none(), "the admin keeps its password");
    assert_eq!(later.login("operator", "work", HERE).await.expect_err("closed"), Denied::WrongPassword);
    assert!(later.viewer(&operator).is_err(), "its session has ended");
    later.viewer(&viewer).expect("another account's session");
    logged_in(&later, "admin", "root").await;
    let (again, _) = place.open(&Place::passwords()).await;
    logged_in(&again, "operator", "work").await;
}

#[tokio::test]
async fn cookies_behind_tls_are_secure_and_expire() {
    let place = Place::new();
    let clock = Arc::clone(&place.clock) as Arc<dyn Clock>;
    let database = Arc::new(Sqlite::open(place.directory.path(), Arc::clone(&clock)).expect("a database"));
    let access = Access::open(database, clock, Vec::new(), true).await.expect("access");
    access.adopt(&Place::passwords()).await.expect("accounts");
    let (_, cookie) = access.login("viewer", "look", HERE).await.expect("a session");
    assert!(cookie.to_str().expect("text").ends_with("; Secure"), "{cookie:?}");
    let gone = access.logout(&with_cookie(&cookie)).await;
    assert!(gone.to_str().expect("text").ends_with("; Secure"), "{gone:?}");
    assert_eq!(access.database.kept_names(ENDED).await.expect("names").len(), 1);
    place.clock.0.fetch_add(13 * 3_600_000_000, Ordering::SeqCst);
    assert_eq!(access.database.kept_names(ENDED).await.expect("names").len(), 0);
}

#[tokio::test]
async fn attempts_are_bounded_and_noted_without_secrets() {
    let (access, _) = Place::new().open(&Place::passwords()).await;
    let mut held_back = None;
    for _ in 0..30 {
        match access.login("admin\n<b>", "hush", HERE).await {
            Err(Denied::WrongPassword) => {}
            Err(denied @ Denied::TooManyAttempts(_)) => {
                held_back = Some(denied);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let response = axum::response::IntoResponse::into_response(held_back.expect("held back"));
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    let list = access.audit_list().await.expect("the list");
    assert!(!format!("{list:?}").contains("hush"), "{list:?}");
    assert_eq!((list[0].who.as_str(), list[0].what.as_str()), ("address 127.0.0.1", "login as admin <b>"));
    assert!(list.len() == 1 && list[0].times >= 10, "{list:?}");
    for n in 0..520 {
        access.audit("admin", &format!("{n} {}", "x".repeat(400)), "ok").await;
    }
    let list = access.audit_list().await.expect("the list");
    assert!(list[0].what.starts_with("519 ") && list[0].what.chars().count() == 200);
    // The entries of one account do not push out those of others, or what was refused.
    let of = |who: &str| list.iter().filter(|entry| entry.who == who).count();
    assert_eq!((of("admin"), of("address 127.0.0.1")), (500, 1));
    let before = list.len();
    for _ in 0..3 {
        access.audit("API, open", "faults off", "ok").await;
    }
    assert_eq!(access.audit_list().await.expect("the list").len(), before + 1, "a repetition is noted once");
}

#[tokio::test]
async fn refusals_of_one_push_out_those_of_no_other() {
    let place = Place::new();
    let (access, _) = place.open(&Place::passwords()).await;
    let later = || place.clock.0.fetch_add(1_000_000, Ordering::SeqCst);
    access.audit("operator", "POST /sessions/end", "refused: needs the admin role").await;
    access.audit("address 10.0.0.9", "login as admin", "wrong name or password").await;
    for n in 0..130 {
        later();
        access.audit("API, open", "mode ttl", "it was changed by another client").await;
        access.audit("viewer", &format!("POST /{n}"), "refused: needs the operator role").await;
        access.audit("address 10.0.0.1", &format!("login as {n}"), "wrong name or password").await;
    }
    let list = access.audit_list().await.expect("the list");
    let of = |who: &str| list.iter().filter(|entry| entry.who == who).map(|entry| entry.times).collect::<Vec<_>>();
    assert_eq!(of("API, open"), [130], "what is repeated is one entry");
    assert_eq!((of("viewer").len(), of("address 10.0.0.1").len()), (100, 20));
    assert_eq!((of("operator").len(), of("address 10.0.0.9").len()), (1, 1));
    // Clients without an account choose how many addresses they have.
    for n in 0..40 {
        later();
        access.audit(&format!("address 10.0.1.{n}"), "login as admin", "wrong name or password").await;
    }
    let list = access.audit_list().await.expect("the list");
    let addresses = list.iter().filter(|entry| entry.who.starts_with(ADDRESS)).count();
    assert_eq!((addresses, list[0].who.as_str()), (32, "address 10.0.1.39"));
    assert!(list.iter().any(|entry| entry.who == "operator"));
}

#[tokio::test]
async fn a_session_that_would_outlive_its_time_is_refused() {
    let place = Place::new();
    let (access, _) = place.open(&Place::passwords()).await;
    // A copy of the key signs anything, so what is signed is checked too: 13 hours are more than any session has.
    place.clock.0.fetch_add(13 * 3_600_000_000, Ordering::SeqCst);
    let (_, headers) = logged_in(&access, "operator", "work").await;
    access.viewer(&headers).expect("a session");
    place.clock.0.fetch_sub(13 * 3_600_000_000, Ordering::SeqCst);
    assert!(access.viewer(&headers).is_err());
}
