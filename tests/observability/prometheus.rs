//! A real Prometheus of a test's own.

use std::env;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use cachefront_testkit::process::Simulator;
use cachefront_testkit::server::{Process, temporary_dir};
use cachefront_testkit::{port, stack};
use serde_json::Value;
use tempfile::TempDir;

/// How long one query may take.
const ANSWER: Duration = Duration::from_secs(30);

/// The interval between two scrapes of the simulator.
const SCRAPES: Duration = Duration::from_secs(1);

/// A running server. Dropping the value ends it.
pub(crate) struct Prometheus {
    // First: the program must be gone before its folder is removed.
    _process: Process,
    _dir: TempDir,
    base: String,
    http: reqwest::Client,
}

/// A rule as the server has it.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) query: String,
    pub(crate) error: String,
    pub(crate) recording: bool,
    pub(crate) evaluated: bool,
}

impl Prometheus {
    /// Starts a server with the configuration that is shipped for this machine, but faster and with other addresses.
    pub(crate) fn start(simulator: &Simulator) -> Self {
        let dir = temporary_dir("prometheus");
        let addr = format!("127.0.0.1:{}", port::free());
        let shipped = stack::workspace_root().join("deploy/prometheus");
        let config = fs::read_to_string(shipped.join("prometheus.local.yml")).expect("the configuration");
        let rules = shipped.join("rules/*.yml").display().to_string();
        let config = [
            ("127.0.0.1:8000", simulator.api_url().trim_start_matches("http://")),
            ("127.0.0.1:9090", addr.as_str()),
            ("rules/*.yml", &rules),
            ("scrape_interval: 5s", "scrape_interval: 1s"),
            ("evaluation_interval: 15s", "evaluation_interval: 2s"),
        ]
        .iter()
        .fold(config, |config, (from, to)| {
            assert!(config.contains(from), "prometheus.local.yml holds no {from}");
            config.replace(from, to)
        });
        let file = dir.path().join("prometheus.yml");
        fs::write(&file, config).expect("a file");
        let mut command = Command::new(program("CACHEFRONT_PROMETHEUS"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={addr}"))
            .args(["--log.level=warn", "--storage.tsdb.retention.time=1d"]);
        let process = Process::start("prometheus", command, dir.path()).expect("Prometheus can be started");
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build().expect("a client");
        Self { _process: process, _dir: dir, base: format!("http://{addr}"), http }
    }

    /// How many series an expression finds now whose value is a number.
    ///
    /// # Errors
    /// What the server says against the expression, or why it does not respond.
    pub(crate) async fn numbers(&self, expression: &str) -> Result<usize, String> {
        let answer = self.ask("/api/v1/query", &[("query", expression)]).await?;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let result = &answer["data"]["result"];
        Ok(match answer["data"]["resultType"].as_str() {
            Some("vector") => result.as_array().map_or(0, |series| series.iter().filter(|one| is_number(one)).count()),
            _ => 1,
        })
    }

    /// All rules, with what came of them.
    pub(crate) async fn rules(&self) -> Vec<Rule> {
        let answer = self.ask("/api/v1/rules", &[]).await.expect("the rules");
        let groups = answer["data"]["groups"].as_array().expect("groups");
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().into_iter().flatten());
        let text = |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
        rules
            .map(|rule| Rule {
                name: text(rule, "name"),
                query: text(rule, "query"),
                error: text(rule, "lastError"),
                recording: rule["type"] == "recording",
                evaluated: rule["health"] == "ok",
            })
            .collect()
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("{}{path}", self.base);
        let url = match parameters.is_empty() {
            true => reqwest::Url::parse(&url),
            false => reqwest::Url::parse_with_params(&url, parameters),
        };
        let request = self.http.get(url.expect("a URL")).send();
        request.await.map_err(|error| error.to_string())?.json().await.map_err(|error| error.to_string())
    }
}

/// Waits for one scrape interval of Prometheus.
pub(crate) async fn next_scrape() {
    // sleep: nothing new can be found before the next scrape.
    tokio::time::sleep(SCRAPES).await;
}

/// Holds an exposition against the conventions of Prometheus.
///
/// # Panics
/// If it breaks one; the message names it.
pub(crate) fn check_metrics(exposed: &str) {
    let mut promtool = Command::new(program("CACHEFRONT_PROMTOOL"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = promtool.stdin.take().expect("a pipe");
    stdin.write_all(exposed.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "promtool check metrics:\n{said}");
}

/// A quotient of nothing by nothing is an answer too, but it shows nothing.
fn is_number(series: &Value) -> bool {
    series["value"][1].as_str().is_some_and(|value| value != "NaN")
}

fn program(variable: &str) -> String {
    env::var(variable).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| {
        panic!(
            "{variable} is not set: this test needs Prometheus. Run `cargo xtask test`, or `cargo xtask tools prometheus \
             promtool` and name the programs of target/tools/bin in CACHEFRONT_PROMETHEUS and CACHEFRONT_PROMTOOL"
        )
    })
}
