//! The table of settings in the documentation, made from the file that users copy.

use cachefront_testkit::stack;

/// Every setting of `.env.example` as a row of a table, under its headings.
///
/// # Panics
/// If the file is missing.
pub(crate) fn table() -> String {
    let path = stack::workspace_root().join(".env.example");
    let example = std::fs::read_to_string(&path).expect(".env.example is there");
    let mut page = String::from(
        "# Configuration of the simulator\n\nThe library reads no environment and no files: its settings are in the \
         [guide](guide.md#settings). These are the\nsimulator's. The environment overrides the file `.env`, and flags override \
         the environment.\n\nMade from `.env.example`; `BLESS=1 cargo test -p cachefront-tests --test tidy` renews it.\n",
    );
    let mut comments: Vec<&str> = Vec::new();
    for line in example.lines() {
        if let Some(heading) = line.strip_prefix("# ---") {
            let heading = heading.trim_matches(|c| c == '-' || c == ' ');
            page.push_str(&format!("\n## {heading}\n\n| setting | default or example | what it is |\n|---|---|---|\n"));
            comments.clear();
        } else if let Some((name, value)) = setting(line) {
            let what = comments.join(" ").replace('|', "\\|");
            let value = if value.is_empty() { String::new() } else { format!("`{value}`") };
            page.push_str(&format!("| `{name}` | {value} | {what} |\n"));
        } else if let Some(comment) = line.strip_prefix("# ") {
            // A comment after a setting begins the next one's.
            if page.ends_with("|\n") && !page.ends_with("|---|---|---|\n") && are_used(&page, &comments) {
                comments.clear();
            }
            comments.push(comment);
        }
    }
    page
}

/// True if the last row of the page holds these comments.
fn are_used(page: &str, comments: &[&str]) -> bool {
    !comments.is_empty() && page.trim_end().ends_with(&format!("{} |", comments.join(" ").replace('|', "\\|")))
}

/// A line that sets something, commented out or not.
fn setting(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('#').unwrap_or(line).split_once('=')?;
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit();
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, value))
}
