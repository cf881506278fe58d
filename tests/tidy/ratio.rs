//! How much of a library is documentation.

use crate::tree::sources;

/// The published crates, and how many lines of documentation each has at least for a hundred lines of code. The goal is
/// 30; the numbers only go up.
const MINIMUM: [(&str, usize); 4] = [
    ("cachefront-core/src", 30),
    ("cachefront-redis/src", 21),
    ("cachefront-binlog/src", 20),
    ("cachefront-kafka/src", 24),
];

#[test]
fn libraries_are_documented() {
    for (folder, minimum) in MINIMUM {
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
            "{folder}: {documentation} lines of documentation for {code} of code: {ratio} %, at least {minimum} %"
        );
        assert!(ratio >= minimum, "{folder}: {ratio} lines of documentation for 100 of code, {minimum} are held");
    }
}
