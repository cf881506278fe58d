//! Everything as one file: for the admin, without secrets, in a form that has a name and a version.

use cachefront_testkit::wait;
use serde_json::{Value, json};

use crate::panel::{Reader, panel_of, with_accounts};
use crate::world::{PATIENCE, Place, World};

const TOKEN: &str = "token-that-is-not-exported";

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_exports_everything_but_secrets() {
    let configure = |launch| with_accounts(launch).env("CACHEFRONT_API_TOKENS", format!("operator:{TOKEN}"));
    let world = World::start(Place::Embedded, configure).await;
    let panel = panel_of(&world);
    assert_eq!(panel.get("/export").await.status, 401);
    for name in ["viewer", "operator"] {
        let reader = Reader::log_in(&panel, name, &format!("{} secret", &name[..1])).await;
        assert_eq!(reader.get("/export").await.status, 403, "{name}");
        assert!(!reader.get("/audit").await.text.contains("href=\"/export\""), "{name}");
    }
    let admin = Reader::log_in(&panel, "admin", "a secret").await;
    admin.post("/users", "name=Ada&email=ada%40example.org").await.expect(200);
    admin.post("/faults", "fault=database_delay_ms&value=1").await.expect(200);
    let (text, file): (String, Value) =
        wait::until_some("a verdict and the write are in the file", PATIENCE, async || {
            let answer = admin.get("/export").await;
            assert_eq!(answer.header("content-type"), "application/json");
            assert!(answer.header("content-disposition").contains("cachefront-simulator.json"));
            let file = answer.expect(200);
            let wrote = file["events"]
                .as_array()
                .expect("events")
                .iter()
                .any(|event| event["what"]["change"]["op"] == "insert");
            let has = |list: &Value| list.as_array().is_some_and(|all| !all.is_empty());
            let all = has(&file["writes"]) && has(&file["verdicts"]) && has(&file["charts"]["samples"]);
            (wrote && all).then_some((answer.text, file))
        })
        .await;
    assert_eq!((&file["schema"], &file["schema_version"]), (&json!("cachefront-simulator-export"), &json!(1)));
    assert_eq!((&file["mode"]["mode"], &file["faults"]["database_delay_ms"]), (&json!("ttl"), &json!(1)));
    assert_eq!((&file["settings"]["ttl_ms"], &file["settings"]["servers"]), (&json!(30_000), &json!(1)));
    assert_eq!(file["writes"][0]["op"], "insert");
    assert_eq!((&file["runs"]["load"], &file["events_left_out"]), (&json!(null), &json!(0)));
    for name in ["version", "exported_at"] {
        assert!(file[name].is_string(), "{name}");
    }
    for secret in [TOKEN, "a secret", "o secret", "v secret", "argon2", "csrf"] {
        assert!(!text.contains(secret), "{secret} is in the file");
    }
    assert!(text.len() < 4 << 20);
    // Who exported is in the audit list, and who was refused.
    let audit = admin.get("/audit").await.text;
    assert!(
        audit.contains("<td title=\"export\">export</td>") && audit.contains("data-outcome=\"refused\""),
        "{audit}"
    );
    assert!(audit.contains("href=\"/export\""));
}
