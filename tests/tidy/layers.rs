//! Who may import whom inside the core: each module only from its own layer and from lower ones.

use crate::tree::{none, sources};

/// From the lowest layer to the highest. A new module takes its place here.
const LAYERS: [&[&str]; 6] = [
    &["error", "clock", "key"],
    &["backoff", "codec", "metrics", "settings", "position"],
    &["entry", "event", "store", "loader", "source", "gate", "bus", "keymap", "policy"],
    &["cache", "invalidator"],
    &["inspector"],
    &["testing"],
];

#[test]
fn core_modules_import_only_from_their_left() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for source in sources("cachefront-core/src") {
        let Some(module) = module_of(&source.path) else { continue };
        let Some(own) = layer(&module) else {
            wrong.push(format!("{}: the module `{module}` has no place in LAYERS", source.path));
            continue;
        };
        for import in imports(&source.product_code()) {
            seen += 1;
            match layer(&import) {
                Some(layer) if layer <= own => {}
                Some(_) => wrong.push(format!("{}: `{module}` may not import `{import}`", source.path)),
                None => wrong.push(format!("{}: `crate::{import}`: import from the module that has it", source.path)),
            }
        }
    }
    assert!(seen > 50, "only {seen} imports found: this test looks at the wrong place");
    none(&wrong, "imports against the order of core's layers");
}

#[test]
fn cache_and_invalidator_are_strangers() {
    let mut wrong = Vec::new();
    for source in sources("cachefront-core/src") {
        let code = source.product_code();
        let found = match module_of(&source.path).as_deref() {
            Some("cache") => code.contains("invalidator::"),
            // The invalidator is told which caches to keep right, by their handle.
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

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// First names after each `crate::`, groups in braces included.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    // `$crate::` in a macro is a path for its users.
    for rest in code.replace("$crate::", "").split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => found.extend(first_names(group)),
            None => found.push(first_name(rest)),
        }
    }
    found
}

/// First names of the items of a group, up to its closing brace.
fn first_names(group: &str) -> Vec<String> {
    let (mut depth, mut items, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    items.push(item);
    items.iter().map(|item| first_name(item.trim())).filter(|name| !name.is_empty()).collect()
}

fn first_name(path: &str) -> String {
    path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::error::Error;\nuse crate::{\n    clock::Clock,\n    store::{Store, Lease},\n    Cache,\n};\nfn f() { crate::key::g() }";
    assert_eq!(imports(code), ["error", "clock", "store", "Cache", "key"]);
}
