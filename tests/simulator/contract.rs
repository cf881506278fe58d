//! Every route's answer when all is well.

use cachefront_testkit::wait;
use serde_json::json;

use crate::world::{PATIENCE, Place, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_embedded() {
    the_contract_holds(Place::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_servers() {
    the_contract_holds(Place::Servers).await;
}

async fn the_contract_holds(place: Place) {
    let world = World::start(place, |launch| launch).await;
    users(&world).await;
    chosen_ids(&world).await;
    lists(&world).await;
    looks(&world).await;
    control(&world, place).await;
    operation(&world).await;
}

async fn users(world: &World) {
    let api = &world.api;
    let created = api.post("/users", &json!({ "name": "Ada", "email": "ada@example.org" })).await;
    let user = created.expect(201);
    let id = user["id"].as_u64().expect("an id");
    assert_eq!(created.header("location"), format!("/users/{id}"));
    assert!(created.header("cachefront-token").contains(':'));
    assert_eq!((user.as_object().expect("an object").len(), &user["status"]), (5, &json!("active")));
    let updated_at = user["updated_at"].as_str().expect("a time");
    let form: String = updated_at.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(form, "0000-00-00T00:00:00.000000Z");

    assert_eq!(api.get(&format!("/users/{id}")).await.expect(200), user);
    assert_eq!(api.get("/users/4294967296").await.expect(404), json!({ "detail": "User not found" }));

    let taken = api.post("/users", &json!({ "name": "Eve", "email": "ada@example.org" })).await;
    assert!(taken.expect(409)["detail"].is_string());
    let grace = api.add("Grace", "grace@example.org").await;
    let change = json!({ "name": "Ada King", "email": "ada@king.example.org" });
    let changed = api.put(&format!("/users/{id}"), &change).await;
    assert_eq!(changed.expect(200)["name"], "Ada King");
    assert!(changed.header("cachefront-token").contains(':'));
    // The same again is a write of its own.
    assert!(api.put(&format!("/users/{id}"), &change).await.header("cachefront-token").contains(':'));
    assert!(api.put(&format!("/users/{grace}"), &change).await.expect(409)["detail"].is_string());
    assert_eq!(api.put("/users/4294967296", &change).await.expect(404), json!({ "detail": "User not found" }));

    // A status is one of four, and stays where a write does not name one.
    for (status, expected) in [(json!("suspended"), "suspended"), (json!(null), "suspended"), (json!("trial"), "trial")]
    {
        let body = json!({ "name": "Grace", "email": "grace@example.org", "status": status });
        assert_eq!(api.put(&format!("/users/{grace}"), &body).await.expect(200)["status"], expected);
    }
    let refused = json!({ "name": "Grace", "email": "grace@example.org", "status": "gone" });
    let refused = api.put(&format!("/users/{grace}"), &refused).await.expect(422);
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "status"]), "{refused}");

    let deleted = api.delete(&format!("/users/{grace}")).await;
    assert_eq!(deleted.expect(204), serde_json::Value::Null);
    assert!(deleted.header("cachefront-token").contains(':'));
    assert_eq!(api.delete(&format!("/users/{grace}")).await.expect(404), json!({ "detail": "User not found" }));
    // Two addresses that differ in case are two addresses.
    api.add("ADA", "ADA@king.example.org").await;
}

/// An id can be chosen, once; that it was known to be missing ends with the commit.
async fn chosen_ids(world: &World) {
    let api = &world.api;
    api.get("/users/700").await.expect(404);
    let created = api.post("/users", &json!({ "id": 700, "name": "Lin", "email": "lin@example.org" })).await;
    assert_eq!((&created.expect(201)["id"], created.header("location")), (&json!(700), "/users/700"));
    wait::until_async("the new user is found", PATIENCE, async || api.get("/users/700").await.status == 200).await;
    for (id, email, what) in [(700, "eve@example.org", "id is taken"), (701, "lin@example.org", "address is taken")] {
        let refused = api.post("/users", &json!({ "id": id, "name": "Eve", "email": email })).await.expect(409);
        assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains(what)), "{refused}");
    }
    assert_eq!(api.get("/users/700").await.expect(200)["name"], "Lin");
    for wrong in [json!(0), json!(-1), json!(1.5), json!("7"), json!(9_007_199_254_740_992_u64)] {
        let body = json!({ "id": wrong, "name": "Eve", "email": "eve@example.org" });
        let refused = api.post("/users", &body).await.expect(422);
        assert_eq!(refused["detail"][0]["loc"], json!(["body", "id"]), "{refused}");
    }
    let next = api.post("/users", &json!({ "id": null, "name": "Eve", "email": "eve@example.org" })).await.expect(201);
    assert!(next["id"].as_u64() > Some(700), "{next}");
    let fixed = api.put("/users/700", &json!({ "id": 701, "name": "Lin", "email": "lin@example.org" })).await;
    assert_eq!(fixed.expect(422)["detail"][0]["loc"], json!(["body", "id"]));
}

async fn lists(world: &World) {
    let api = &world.api;
    world.other.execute("INSERT INTO users (id, name, email) VALUES (1000, 'n', 'n@x'), (1001, 'm', 'm@x')").await;
    let ids = async |path: &str| -> Vec<u64> {
        let users = api.get(path).await.expect(200);
        users.as_array().expect("an array").iter().map(|user| user["id"].as_u64().expect("an id")).collect()
    };
    let all = ids("/users").await;
    assert!(all.is_sorted() && all.ends_with(&[1000, 1001]));
    assert_eq!(ids("/users?limit=1&after=999").await, [1000]);
    assert_eq!(ids("/users?after=1000").await, [1001]);
    assert_eq!(ids("/users?after=18446744073709551615").await, Vec::<u64>::new());
    assert_eq!(ids("/users?email=n@x").await, [1000]);
    assert_eq!(ids("/users?email=N@x").await, Vec::<u64>::new());
    assert_eq!(ids("/users?email=unknown@x").await, Vec::<u64>::new());
}

async fn looks(world: &World) {
    let api = &world.api;
    let id = api.add("Look", "look@x").await;
    let absent = api.look(id).await;
    let user = api.get(&format!("/users/{id}")).await.expect(200);
    assert_eq!(
        absent,
        json!({ "state": "absent", "cached": null, "database": user, "negative": false, "ttl_ms": null, "tier": null,
            "position": null, "staleness_bound_ms": null })
    );
    let healthy = wait::until_some("the entry is kept", PATIENCE, async || {
        api.get(&format!("/users/{id}")).await;
        let look = api.look(id).await;
        (look["state"] == "healthy").then_some(look)
    })
    .await;
    assert_eq!((&healthy["cached"], &healthy["database"], &healthy["negative"]), (&user, &user, &json!(false)));
    assert!(healthy["ttl_ms"].as_u64().is_some_and(|ttl| ttl > 0 && ttl <= 30_000), "{healthy}");
    assert!(["local", "shared"].contains(&healthy["tier"].as_str().expect("a tier")));
    assert!(healthy["staleness_bound_ms"].is_u64(), "{healthy}");

    api.get("/users/4294967297").await.expect(404);
    let negative = api.look(4_294_967_297).await;
    assert_eq!((&negative["state"], &negative["negative"]), (&json!("healthy"), &json!(true)), "{negative}");
    assert_eq!((&negative["cached"], &negative["database"]), (&json!(null), &json!(null)));
    // No id is too large to be looked for.
    assert_eq!(api.look(u64::MAX).await["state"], "absent");
    api.get(&format!("/users/{}", u64::MAX)).await.expect(404);
}

async fn control(world: &World, place: Place) {
    let api = &world.api;
    let mode = api.get("/mode").await;
    let body = mode.expect(200);
    assert_eq!((&body["mode"], &body["version"]), (&json!("cdc"), &json!(1)));
    assert!(body["changed_at"].as_str().is_some_and(|time| time.ends_with('Z')));
    assert_eq!(mode.header("etag"), "\"1\"");

    wait::until_async("the pipeline runs", PATIENCE, async || {
        api.get("/pipeline").await.expect(200)["running"] == json!(true)
    })
    .await;
    let pipeline = api.get("/pipeline").await.expect(200);
    let names: Vec<&str> = pipeline.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert_eq!(pipeline["embedded"], json!(place == Place::Embedded));
    assert_eq!(pipeline["source"], if place == Place::Embedded { "kafka" } else { "binlog" });
    assert_eq!(pipeline["mode"], "cdc");
    let events_before = pipeline["events_total"].as_u64().expect("a number");
    world.other.execute("UPDATE users SET name = 'counted' WHERE id = 1000").await;
    wait::until_async("the change is counted", PATIENCE, async || {
        let pipeline = api.get("/pipeline").await.expect(200);
        pipeline["events_total"].as_u64() > Some(events_before)
            && pipeline["invalidations_total"].as_u64() > Some(0)
            && pipeline["lag_ms"].is_number()
            && pipeline["applied"].as_str().is_some_and(|applied| applied.contains(':'))
    })
    .await;
}

async fn operation(world: &World) {
    let api = &world.api;
    assert_eq!(api.get("/healthz").await.expect(200), json!({ "status": "ok" }));
    assert_eq!(api.get("/readyz").await.expect(200), json!({ "status": "ok", "failing": [] }));
    let metrics = api.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain"));
    assert!(metrics.text.contains("cachefront_reads_total") && metrics.text.contains("cachefront_invalidations_total"));

    let described = api.get("/openapi.json").await.expect(200);
    for path in [
        "/users",
        "/users/{id}",
        "/cache/users/{id}",
        "/mode",
        "/pipeline",
        "/events",
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        assert!(described["paths"][path].is_object(), "{path} is not described");
    }
    let page = api.get("/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.text.contains("swagger"));
    assert!(api.get("/docs/swagger-initializer.js").await.text.contains("/openapi.json"));

    assert_eq!(api.get("/nothing/here").await.expect(404), json!({ "detail": "Not Found" }));
    let refused = api.delete("/users").await;
    assert_eq!(refused.expect(405), json!({ "detail": "Method Not Allowed" }));
    assert!(refused.header("allow").contains("POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_id_is_left_it_is_said_so() {
    for (place, last) in [(Place::Embedded, "9223372036854775807"), (Place::Servers, "18446744073709551615")] {
        let world = World::start(place, |launch| launch).await;
        // The last id that JSON holds exactly is given to the client that chooses it; none follows it by itself.
        let last_chosen = json!({ "id": 9_007_199_254_740_991_u64, "name": "Eve", "email": "eve@x" });
        world.api.post("/users", &last_chosen).await.expect(201);
        let refused = world.api.post("/users", &json!({ "name": "Ada", "email": "ada@x" })).await;
        assert!(refused.expect(507)["detail"].as_str().is_some_and(|detail| detail.contains("Choose")), "{place:?}");
        let free = json!({ "id": 9_007_199_254_740_990_u64, "name": "Grace", "email": "grace@x" });
        world.api.post("/users", &free).await.expect(201);
        world.other.execute(&format!("INSERT INTO users (id, name, email) VALUES ({last}, 'last', 'last@x')")).await;
        let refused = world.api.post("/users", &json!({ "name": "Ada", "email": "ada@x" })).await;
        assert!(refused.expect(507)["detail"].as_str().is_some_and(|detail| detail.contains("no id")), "{place:?}");
        assert!(refused.headers.get("retry-after").is_none());
        world.api.get("/users").await.expect(200);
    }
}
