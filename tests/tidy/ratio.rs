//! How much of a library is documentation.

use crate::tree::sources;

/// The folders of the published crates.
const CRATES: [&str; 4] =
    ["cachefront-core/src", "cachefront-redis/src", "cachefront-binlog/src", "cachefront-kafka/src"];

/// Minimum number of lines of documentation for a hundred lines of code.
const MINIMUM: usize = 30;

#[test]
fn libraries_are_documented() {
    for folder in CRATES {
        let (mut code, mut documentation) = (0, 0);
        for source in sources(folder).iter().filter(|source| source.is_rust() && !source.is_test()) {
            let product = source.text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for line in product.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
                let is_documentation = line.starts_with("///") || line.starts_with("//!");
                documentation += usize::from(is_documentation);
                code += usize::from(!line.starts_with("//"));
            }
        }
        let ratio = documentation * 100 / code;
        println!(
            "{folder}: {documentation} lines of documentation for {code} of code: {ratio} %, at least {MINIMUM} %"
        );
        assert!(ratio >= MINIMUM, "{folder}: {ratio} lines of documentation for 100 of code, {MINIMUM} are held");
    }
}
