//! The queries that dashboards hold.

use std::fmt;
use std::fs;

use cachefront_testkit::stack::workspace_root;
use serde_json::Value;

/// A query and the place that holds it.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    file: String,
    panel: String,
    /// In PromQL, with what Grafana puts in for its variables.
    pub(crate) expression: String,
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}: {}", self.file, self.panel, self.expression)
    }
}

/// Every query of every dashboard, those of its variables included.
pub(crate) fn queries() -> Vec<Query> {
    let dir = workspace_root().join("deploy/grafana/dashboards");
    let mut queries = Vec::new();
    for entry in fs::read_dir(&dir).expect("the dashboards' folder") {
        let path = entry.expect("an entry").path();
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a dashboard");
        let board: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        for panel in board["panels"].as_array().expect("panels") {
            let title = panel["title"].as_str().unwrap_or_default();
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = filled_in(target["expr"].as_str().expect("an expression"));
                queries.push(Query { file: file.clone(), panel: title.to_owned(), expression });
            }
        }
        for variable in board["templating"]["list"].as_array().expect("variables") {
            let Some(definition) = variable["definition"].as_str() else { continue };
            let inner = definition.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','));
            let (expression, _label) = inner.unwrap_or_else(|| panic!("{file}: {definition}"));
            let panel = variable["name"].as_str().unwrap_or_default().to_owned();
            queries.push(Query { file: file.clone(), panel, expression: filled_in(expression) });
        }
    }
    queries
}

/// The names of our metrics and recorded series in an expression.
pub(crate) fn metrics(expression: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c: char| !is_part(c));
    let ours = ["cachefront_", "simulator_", "job:", "job_", "slo:"];
    words.filter(|word| ours.iter().any(|prefix| word.starts_with(prefix))).map(str::to_owned).collect()
}

fn filled_in(expression: &str) -> String {
    let filled = expression.replace("$__rate_interval", "20s").replace("$job", ".*").replace("$instance", ".*");
    assert!(!filled.contains('$'), "a variable that this test does not know: {expression}");
    filled
}
