//! Words that no file may hold. They are written in pieces here, since this file is checked too.

use crate::tree::{Source, none, sources};

#[test]
fn nothing_is_left_for_later() {
    let marks = [["TO", "DO"], ["FIX", "ME"], ["to", "do!("], ["unimple", "mented!("], ["#[ig", "nore"]]
        .map(|mark| mark.concat());
    let wrong = lines_with(|source, line| {
        (source.is_rust() || source.path.ends_with(".lua")) && marks.iter().any(|mark| line.contains(mark))
    });
    none(&wrong, "unfinished work, or tests that do not run");
}

#[test]
fn no_package_registry_is_named() {
    // Machines reach registries under names of their own: cargo, apt and the rest know them.
    let hosts = [
        ["index.crates", ".io"],
        ["static.crates", ".io"],
        ["deb.deb", "ian.org"],
        ["security.deb", "ian.org"],
        ["ftp.deb", "ian.org"],
        ["snapshot.deb", "ian.org"],
        ["archive.ub", "untu.com"],
        ["py", "pi.org"],
        ["files.python", "hosted.org"],
        ["registry.npm", "js.org"],
        ["proxy.go", "lang.org"],
        ["repo1.ma", "ven.org"],
        ["repo.ma", "ven.apache.org"],
    ]
    .map(|host| host.concat());
    let wrong = lines_with(|source, line| source.path != "Cargo.lock" && hosts.iter().any(|host| line.contains(host)));
    none(&wrong, "hosts of package registries");
}

/// How a test can sleep.
const CALLS: [&str; 6] =
    ["time::sleep(", "thread::sleep(", " sleep(", "sleep_until(", "thread::park_timeout(", "tokio::time::interval("];

#[test]
fn tests_wait_for_conditions() {
    let mut wrong = Vec::new();
    for source in sources("").iter().filter(|source| source.is_rust()) {
        let lines: Vec<&str> = source.text.lines().collect();
        let tests_begin = if source.is_test() {
            0
        } else {
            lines.iter().position(|line| *line == "mod tests {").unwrap_or(lines.len())
        };
        for (at, line) in lines.iter().enumerate().skip(tests_begin) {
            let sleeps = CALLS.iter().any(|call| line.contains(call));
            let is_code = !line.trim_start().starts_with("//") && !line.contains('"') && !line.contains("fn sleep");
            // The reason is in the lines just above.
            let has_reason = lines[at.saturating_sub(3)..=at].iter().any(|line| line.contains("// sleep: "));
            if sleeps && is_code && !has_reason {
                wrong.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    none(&wrong, "sleeps in tests: wait for a condition, or give the reason in a comment `// sleep: ..` above");
}

fn lines_with(is_wrong: impl Fn(&Source, &str) -> bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources("") {
        for (at, line) in source.text.lines().enumerate() {
            if is_wrong(&source, line) {
                wrong.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    wrong
}
