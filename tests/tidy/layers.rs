//! Who may import whom inside a crate.

use crate::modules::crates;
use crate::tree::{none, sources};

/// A crate and its modules directly below the root, from the lowest to the highest. A new module takes its place here.
type Order = (&'static str, &'static [&'static str]);

/// Each module imports only from those before it in the list. The root file, which exports all of them, is above them.
const ORDERS: [Order; 7] = [
    (
        "cachefront-core/src",
        &[
            "error",
            "caught",
            "clock",
            "backoff",
            "striped",
            "metrics",
            "identity",
            "mode",
            "codec",
            "key",
            "policy",
            "position",
            "settings",
            "breaker",
            "checkpoint",
            "entry",
            "gate",
            "loader",
            "event",
            "filter",
            "mapping",
            "source",
            "bus",
            "keymap",
            "store",
            "cache",
            "inspect",
            "invalidator",
            "testing",
        ],
    ),
    (
        "cachefront-redis/src",
        &[
            "error", "keys", "message", "config", "identity", "scripts", "meta", "url", "clients", "sentinel",
            "packed", "conn", "link", "slots", "topology", "cluster", "route", "reads", "push", "shared", "wires",
            "bus", "writer", "moving", "images", "store", "admin", "builder", "testing",
        ],
    ),
    (
        "cachefront-kafka/src",
        &[
            "error",
            "event",
            "config",
            "topics",
            "spelling",
            "scope",
            "checkpoint",
            "brokers",
            "tracker",
            "decode",
            "reader",
            "partition",
            "probe",
            "progress",
            "group",
            "assemble",
            "source",
            "builder",
            "connect",
        ],
    ),
    (
        "cachefront-binlog/src",
        &[
            "error",
            "scripted",
            "cursor",
            "wire",
            "rows_of",
            "charset",
            "names",
            "metadata",
            "column",
            "config",
            "event",
            "events",
            "mariadb",
            "xa",
            "temporary",
            "queue",
            "statement",
            "decode",
            "conn",
            "origin",
            "link",
            "position",
            "upper_bound",
            "effects",
            "token",
            "schema",
            "table",
            "second",
            "rows",
            "stream",
            "assemble",
            "file",
            "gate",
            "probe",
            "preflight",
            "reader",
            "source",
            "builder",
        ],
    ),
    ("examples/simulator/cli/src", &["error", "duration", "environment", "secret", "shutdown"]),
    (
        "examples/simulator/loadgen/src",
        &["uplot", "load", "unfinished", "modes", "modes_control", "experiment", "record", "sweep"],
    ),
    ("examples/simulator/app/src", &["cli", "roles", "healthcheck", "inspect"]),
];

#[test]
fn modules_import_only_from_those_before_them() {
    let (crates, mut wrong) = (crates(), Vec::new());
    for (root, order) in ORDERS {
        let found = crates.iter().find(|found| found.root == root).unwrap_or_else(|| panic!("{root} is no crate"));
        let place = |module: &str| order.iter().position(|name| *name == module);
        let imports = found.top_level();
        for (module, targets) in imports.iter().filter(|(module, _)| !module.is_empty()) {
            let Some(own) = place(module) else {
                wrong.push(format!("{root}: `{module}` has no place in ORDERS"));
                continue;
            };
            for target in targets {
                match place(target) {
                    Some(place) if place < own => {}
                    Some(_) => wrong.push(format!("{root}: `{module}` may not import from `{target}`")),
                    None => {
                        wrong.push(format!("{root}: `{module}` imports from the root: name the module that has it"))
                    }
                }
            }
        }
        let gone = order.iter().filter(|name| !imports.contains_key(**name));
        wrong.extend(gone.map(|name| format!("{root}: ORDERS lists `{name}`, which does not exist")));
    }
    none(&wrong, "imports against the order of a crate's modules");
}

#[test]
fn cache_and_invalidator_are_strangers() {
    let mut wrong = Vec::new();
    for source in sources("cachefront-core/src") {
        let code = source.product_code();
        let found = match module_of(&source.path).as_deref() {
            Some("cache") => code.contains("invalidator::"),
            // The invalidator receives the caches that it keeps right, by their handle.
            Some("invalidator") => code.replace("use crate::cache::Cache;", "").contains("cache::"),
            _ => false,
        };
        if found {
            wrong.push(source.path);
        }
    }
    none(&wrong, "the read side and the write side meet only in `store` and `bus`");
}

#[test]
fn core_names_no_driver() {
    let drivers = ["redis::", "mysql_async", "mysql_cdc", "mysql_common", "rdkafka"];
    let wrong: Vec<String> = sources("cachefront-core/src")
        .iter()
        .flat_map(|source| {
            let code = source.product_code();
            drivers
                .iter()
                .filter(|driver| code.contains(**driver))
                .map(|driver| format!("{}: {driver}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    none(&wrong, "core knows no driver of a store, a database or a broker");
}

/// The top module of a file: `cache` of `cachefront-core/src/cache/read.rs`. `None` for the crate's root and for tests.
fn module_of(path: &str) -> Option<String> {
    let inner = path.strip_prefix("cachefront-core/src/")?;
    if inner == "lib.rs" || inner.ends_with("tests.rs") || inner.contains("/tests/") || !inner.ends_with(".rs") {
        return None;
    }
    inner.split('/').next()?.trim_end_matches(".rs").to_owned().into()
}
