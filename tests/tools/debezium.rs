//! `debezium_decode`, on records that a real connector wrote.

use cachefront_testkit::server::temporary_dir;
use serde_json::json;

use crate::{golden, run, text};

const OPERATIONS: [&str; 8] = ["insert", "update", "delete", "read", "truncate", "ddl", "gap", "none"];

#[test]
fn every_record_gives_a_line() {
    let mut files: Vec<String> = std::fs::read_dir(golden("debezium"))
        .expect("the records")
        .map(|file| text(&file.expect("a file").path()).to_owned())
        .filter(|file| file.ends_with(".json"))
        .collect();
    files.sort();
    let ran = run("debezium_decode", &files.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(ran.lines.len(), files.len());
    for (file, line) in files.iter().zip(&ran.lines) {
        assert!(OPERATIONS.iter().any(|op| line["op"] == *op), "{file}: {line}");
        assert_eq!(line["op"] == "none", line["kind"].is_string(), "{file}: {line}");
        assert_eq!(line["op"] == "gap", line["op"] == "gap" && line["reason"].is_string(), "{file}: {line}");
    }
    assert_eq!(ran.code == Some(3), ran.count("gap") > 0);
}

#[test]
fn an_update_has_both_images_and_its_transaction() {
    let ran = run("debezium_decode", &[text(&golden("debezium/default-update.json"))]);
    let [line] = &ran.lines[..] else { panic!("{:?}", ran.lines) };
    assert_eq!((&line["table"], &line["op"]), (&json!("app.users"), &json!("update")));
    assert_eq!(line["before"]["id"], line["after"]["id"]);
    assert!(line["gtid"].is_string());
}

#[test]
fn what_is_no_record_is_a_gap() {
    let dir = temporary_dir("decode");
    let file = dir.path().join("garbage");
    for bytes in [&b"{\"payload\":"[..], b"\xff\xfe", b"{\"before\":null,\"after\":7,\"op\":\"c\"}"] {
        std::fs::write(&file, bytes).expect("a file");
        let ran = run("debezium_decode", &[text(&file)]);
        assert_eq!((ran.code, ran.count("gap")), (Some(3), 1), "{:?}", ran.lines);
    }
}
