//! The panel finds what there is: every key that the store holds, every user of the database, page by page.

use std::time::Duration;

use cachefront_testkit::wait;

use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{PATIENCE, Place, World};

async fn world(place: Place) -> (World, Reader) {
    let world = World::start(place, |launch| with_accounts(launch).env("CACHEFRONT_TTL", "10m")).await;
    let reader = Reader::log_in(&panel_of(&world), "operator", "o secret").await;
    (world, reader)
}

/// Waits until a page holds all of these words.
async fn shows(reader: &Reader, path: &str, words: &[&str]) {
    wait::until_async(&format!("{path} shows {words:?}"), PATIENCE, async || {
        // sleep: pages are bounded for each session.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let text = reader.get(path).await.text;
        words.iter().all(|word| text.contains(word))
    })
    .await;
}

/// The ids or keys of the rows, in their order.
async fn rows(reader: &Reader, path: &str, attribute: &str) -> Vec<String> {
    let text = reader.get(path).await.text;
    let parts = text.split("<tr class=\"u").skip(1);
    let value = |part: &str| Some(part.split_once(attribute)?.1.split('"').nth(1)?.to_owned());
    parts.filter_map(value).collect()
}

async fn every_key_is_listed(place: Place) {
    let (world, reader) = world(place).await;
    for number in 1..=25 {
        let id = world.api.add(&format!("User {number}"), &format!("user{number}+&@x")).await;
        world.api.name_of(id).await;
    }
    // Under an address whose user is on no first page, and under one without a user.
    world.api.get("/users?email=user25%2B%26@x").await.expect(200);
    world.api.get("/users/4000000000").await.expect(404);
    world.api.get("/users?email=unknown@x").await;
    shows(&reader, "/cache?page=1", &["users_by_email:user25+&amp;@x", "by e-mail", "users:4000000000", "negative"])
        .await;
    let total =
        rows(&reader, "/cache", "data-key").await.len() + rows(&reader, "/cache?page=1", "data-key").await.len();
    assert!(total >= 27, "{total}");
    assert!(!rows(&reader, "/cache?page=99", "data-key").await.is_empty(), "the last page is shown");
    shows(&reader, "/cache?q=by_email", &["users_by_email:user25"]).await;
    assert!(reader.get("/cache?q=nothing-like-it").await.text.contains("data-empty=\"not-found\""));

    // A stale one is found, and removed alone.
    world.other.execute("UPDATE users SET name = 'Other' WHERE email = 'user25+&@x'").await;
    shows(&reader, "/cache?only=stale", &["users_by_email:user25", "data-state=\"stale\""]).await;
    reader.post("/cache/evict", "key=users_by_email%3Auser25%2B%26%40x").await.expect(200);
    wait::until_async("the entry is gone", PATIENCE, async || {
        // sleep: pages are bounded for each session.
        tokio::time::sleep(Duration::from_millis(100)).await;
        !reader.get("/cache?q=by_email").await.text.contains("users_by_email:user25")
    })
    .await;
    assert_eq!(reader.post("/cache/evict", "key=pipeline").await.status, 422);
    let viewer = Reader::log_in(&panel_of(&world), "viewer", "v secret").await;
    assert_eq!(viewer.post("/cache/evict", "key=users:1").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_listed_embedded() {
    every_key_is_listed(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_listed_on_servers() {
    every_key_is_listed(Place::Servers).await;
}

/// Beyond the first 500 users, which all tabs share, the database is asked.
async fn every_user_is_found(place: Place) {
    let (world, reader) = world(place).await;
    let values = |number: u32| format!("('Name {number}', '100%_{number}@x', '2026-01-01T00:00:00.000000Z')");
    let values: Vec<String> = (1..=530).map(values).collect();
    let columns = match place {
        Place::Embedded => "name, email, updated_at",
        Place::Servers | Place::Kafka => "name, email",
    };
    let values = match place {
        Place::Embedded => values.join(","),
        Place::Servers | Place::Kafka => values.join(",").replace(", '2026-01-01T00:00:00.000000Z'", ""),
    };
    world.other.execute(&format!("INSERT INTO users ({columns}) VALUES {values}")).await;
    shows(&reader, "/", &["Name 20"]).await;
    for (path, name) in [("/?q=name+529", "Name 529"), ("/?q=530", "Name 530"), ("/?q=%25_521%40X", "Name 521")] {
        shows(&reader, path, &[name]).await;
        assert_eq!(rows(&reader, path, "data-id").await.len(), 1, "{path}");
    }
    let all = rows(&reader, "/?after=505", "data-id").await;
    let last = all.last().expect("a row").clone();
    let next = rows(&reader, &format!("/?after={last}"), "data-id").await;
    assert_eq!((all.len(), next.len()), (20, 5), "{all:?} {next:?}");
    let previous = format!("/?before={}", next[0]);
    assert_eq!(rows(&reader, &previous, "data-id").await, all);
    let page = reader.get(&previous).await.text;
    assert!(page.contains(">Previous<") && page.contains(">Next<"));
    // With this many users only a sample is compared, and the verdict says so.
    world.api.name_of(1).await;
    shows(&reader, "/", &["cached entries were compared, a moving sample"]).await;
    // A page of matches beyond the first ones.
    assert_eq!(rows(&reader, "/?q=name&after=520", "data-id").await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_is_found_embedded() {
    every_user_is_found(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_is_found_on_servers() {
    every_user_is_found(Place::Servers).await;
}
