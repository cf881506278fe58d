//! What is kept stays within its bounds, and a damaged file breaks nothing.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn archive(dir: &Path, count_max: usize, bytes_max: u64) -> Archive {
    let sweep_max = std::time::Duration::from_secs(60);
    Archive::new(RunSettings {
        dir: dir.join("runs"),
        unfinished: dir.join("unfinished"),
        count_max,
        bytes_max,
        sweep_max,
    })
}

fn record(second: u32) -> RunRecord {
    RunRecord {
        schema: SCHEMA.into(),
        schema_version: VERSION,
        kind: RunKind::Load,
        at: format!("2026-01-31T12:00:{second:02}.5Z"),
        source: "log".into(),
        caches: None,
        preset: Some("steady".into()),
        rate: Some(200.0),
        seconds: 30.0,
        users: 100,
        write_ratio: 0.05,
        grace_ms: 50.0,
        verdict: "x".repeat(1_000),
        notes: Vec::new(),
        measurements: Vec::new(),
    }
}

fn keep(archive: &Archive, second: u32) -> String {
    archive.keep(Arc::new(record(second))).expect("kept");
    id_of(&record(second))
}

fn ids(archive: &Archive) -> Vec<String> {
    archive.list().runs.into_iter().map(|run| run.id).collect()
}

#[test]
fn the_oldest_runs_go_beyond_either_bound_and_files_are_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let few = archive(folder.path(), 3, 1 << 20);
    let kept: Vec<String> = (0..5).map(|second| keep(&few, second)).collect();
    let newest: Vec<String> = kept.iter().rev().take(3).cloned().collect();
    assert_eq!(ids(&few), newest);
    let rights = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((rights(&few.settings.dir), rights(&few.file(&newest[0]))), (0o700, 0o600));
    assert_eq!(fs::read_dir(&few.settings.dir).expect("a folder").count(), 3, "nothing unfinished is left");
    // Two of them have more than 2,000 bytes.
    let small = archive(folder.path(), 100, 2_000);
    let last = keep(&small, 9);
    assert_eq!(ids(&small), [last]);
}

#[test]
fn a_damaged_file_is_named_and_the_others_are_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = archive(folder.path(), 10, 1 << 20);
    assert!(archive.list().runs.is_empty() && archive.list().trouble.is_none(), "nothing was kept yet");
    let id = keep(&archive, 1);
    let put = |id: &str, text: &str| fs::write(archive.file(id), text).expect("written");
    let whole = serde_json::to_string(&record(2)).expect("JSON");
    put("1-load", &whole[..whole.len() / 2]);
    put("2-load", "{\"schema\":\"other\",\"schema_version\":1}");
    put("3-load", &whole.replace("\"schema_version\":1", "\"schema_version\":2"));
    put("4-load", &" ".repeat(FILE_BYTES_MAX as usize + 1));
    std::os::unix::fs::symlink("/etc/hostname", archive.file("5-load")).expect("a link");
    put("not an id", "");
    let listing = archive.list();
    assert_eq!(listing.runs.len(), 1);
    assert_eq!(listing.find(&id).map(|run| run.record.at.clone()), Some(record(1).at));
    let why: Vec<(&str, &str)> = listing.damaged.iter().map(|one| (&*one.id, &*one.why)).collect();
    let [four, three, two, one] = why[..] else { panic!("{why:?}") };
    assert!(four.0 == "4-load" && four.1.contains("at most"), "{four:?}");
    assert!(three.1.contains("version 2") && two.1 == "it is not a kept run", "{why:?}");
    assert!(one.0 == "1-load" && one.1.contains("not a kept run"), "{one:?}");
    // With its whole text, it is read again.
    put("1-load", &whole);
    assert_eq!(archive.list().runs.len(), 2);
    assert!(archive.remove("2-load").expect("removed") && !archive.remove("2-load").expect("it is gone"));
    assert!(!archive.remove("../runs/1-load").expect("no id"));
}

#[test]
fn a_run_that_cannot_be_written_is_shown_until_it_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = archive(folder.path(), 10, 1 << 20);
    let blocked = || fs::write(folder.path().join("runs"), "a file is in the way").expect("written");
    let freed = || fs::remove_file(folder.path().join("runs")).expect("removed");
    let id = id_of(&record(1));
    blocked();
    archive.keep(Arc::new(record(1))).expect_err("no folder");
    let listing = archive.list();
    assert!(listing.trouble.as_ref().is_some_and(|trouble| trouble.contains("CACHEFRONT_DATA_DIR")), "{listing:?}");
    assert!(listing.find(&id).is_some_and(|run| !run.is_written && *run.record == record(1)), "{listing:?}");
    // A run that cannot be written takes the place of the one before it: one is held at most.
    archive.keep(Arc::new(record(2))).expect_err("no folder");
    assert_eq!(ids(&archive), [id_of(&record(2))]);
    freed();
    assert!(archive.list().trouble.is_some_and(|trouble| trouble.contains("could not be kept")));
    // Written with the next one, each in its place.
    archive.keep(Arc::new(record(3))).expect("kept");
    let listing = archive.list();
    assert!(listing.trouble.is_none() && listing.runs.iter().all(|run| run.is_written), "{listing:?}");
    assert_eq!(ids(&archive), [id_of(&record(3)), id_of(&record(2))]);
    // Deleted, it is gone from memory.
    fs::remove_dir_all(folder.path().join("runs")).expect("removed");
    blocked();
    archive.keep(Arc::new(record(4))).expect_err("no folder");
    assert!(archive.remove(&id_of(&record(4))).expect("removed"));
    assert!(ids(&archive).is_empty());
}

#[test]
fn a_place_is_an_id_and_a_number() {
    assert_eq!(Place::parse("17-load.3"), Some(Place { id: "17-load".into(), number: 3 }));
    for other in ["17-load", "17-load.", "17-load.x", "../x.1", ".1", ""] {
        assert_eq!(Place::parse(other), None, "{other}");
    }
}
