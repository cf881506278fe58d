//! Files that other programs read: containers, workflows, rules, dashboards.

use std::{collections::HashSet, fs, path::Path};

use cachefront_stack::environment as names;
use serde_json::Value;

use super::run::{files, must};
use crate::{
    exec,
    failure::{Context, Failure, Result},
    tools,
};

pub(super) fn dockerfile() -> Result<()> {
    must(tools::command("hadolint")?.args(["--no-color", "Dockerfile"])).map(drop)
}

/// Both compose files, as they are and with every profile, with the settings that `.env.example` gives.
pub(super) fn compose() -> Result<()> {
    for file in ["compose.yaml", "docker-compose.test.yml"] {
        for profiles in [&[][..], &["--profile", "*"]] {
            let mut command = tools::command("docker-compose")?;
            command.args(["--env-file", ".env.example", "--file", file]).args(profiles).args(["config", "--quiet"]);
            must(&mut command).context(|| file.to_owned())?;
        }
    }
    refuses_to_start_without_secrets()
}

/// Tokens and passwords that compose.yaml takes from `.env`, and must not come up without.
const SECRETS: [&str; 7] = [
    "STACK_OPERATOR_TOKEN",
    "STACK_VIEWER_TOKEN",
    "STACK_MYSQL_ROOT_PASSWORD",
    "STACK_MYSQL_PASSWORD",
    "STACK_DEBEZIUM_PASSWORD",
    "GRAFANA_USER",
    "GRAFANA_PASSWORD",
];

/// None is baked in: each that is empty keeps the file from coming up. With all of them it comes up.
fn refuses_to_start_without_secrets() -> Result<()> {
    let config = |missing: Option<&str>| -> Result<bool> {
        let mut command = tools::command("docker-compose")?;
        command.args(["--env-file", "/dev/null", "--file", "compose.yaml", "config", "--quiet"]);
        for name in SECRETS {
            command.env(name, if missing == Some(name) { "" } else { "set" });
        }
        Ok(exec::output(&mut command)?.status.success())
    };
    let mut wrong = Vec::new();
    for name in SECRETS {
        if config(Some(name))? {
            wrong.push(format!("it comes up without {name}"));
        }
    }
    if !config(None)? {
        wrong.push("it does not come up with all secrets".to_owned());
    }
    none(&wrong, "compose.yaml")
}

pub(super) fn workflows() -> Result<()> {
    let mut command = tools::command("actionlint")?;
    let shellcheck = tools::command("shellcheck")?;
    must(command.args(["-no-color", "-shellcheck"]).arg(shellcheck.get_program())).map(drop)
}

pub(super) fn workflow_security() -> Result<()> {
    must(tools::command("zizmor")?.args(["--offline", "--no-progress", "--quiet", ".github"])).map(drop)
}

pub(super) fn yaml() -> Result<()> {
    let mut command = tools::command("yamllint")?;
    must(command.args(["--strict", "--config-file", ".yamllint.yaml"]).args([
        ".github",
        "compose.yaml",
        "docker-compose.test.yml",
        "deploy/compose",
        "deploy/prometheus",
        "deploy/grafana",
    ]))
    .map(drop)
}

pub(super) fn schemas() -> Result<()> {
    for (schema, file) in [
        ("vendor.compose-spec", "compose.yaml"),
        ("vendor.compose-spec", "docker-compose.test.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
    ] {
        let mut command = tools::command("check-jsonschema")?;
        must(command.args(["--builtin-schema", schema, file]))?;
    }
    let mut command = tools::command("check-jsonschema")?;
    must(command.args(["--builtin-schema", "vendor.github-workflows"]).args(files(".github/workflows", &[".yml"])?))
        .map(drop)
}

pub(super) fn shell() -> Result<()> {
    let scripts =
        [".ci/run", "deploy/compose/mysql/users.sh", "examples/simulator/api/schemathesis.sh", "tests/fuzz/run.sh"];
    must(tools::command("shellcheck")?.args(scripts)).map(drop)
}

pub(super) fn prometheus() -> Result<()> {
    let check = ["check", "rules", "--lint=all", "--lint-fatal"];
    must(tools::command("promtool")?.args(check).args(rules()?).arg(rules_of_guide()?))?;
    must(tools::command("promtool")?.args([
        "check",
        "config",
        "--syntax-only",
        "deploy/prometheus/prometheus.yml",
        "deploy/prometheus/prometheus.local.yml",
    ]))
    .map(drop)
}

/// Every alert with a case in which it fires and one in which it does not.
pub(super) fn prometheus_rules() -> Result<()> {
    let cases = files("deploy/prometheus/tests", &[".yml"])?;
    must(tools::command("promtool")?.args(["test", "rules"]).args(&cases))?;
    let text = read_all(&cases)?;
    let (mut fires, mut silent) = (HashSet::new(), HashSet::new());
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        let Some(alert) = line.strip_prefix("alertname: ") else { continue };
        match lines.next() {
            Some("exp_alerts: []") => silent.insert(alert),
            _ => fires.insert(alert),
        };
    }
    let wrong: Vec<String> = alerts()?
        .into_iter()
        .filter(|alert| !fires.contains(alert.as_str()) || !silent.contains(alert.as_str()))
        .collect();
    none(&wrong, "alerts without a case that fires and one that does not")
}

/// Dashboards keep the conventions that make them fit any installation; that their queries find something is a test.
pub(super) fn dashboards() -> Result<()> {
    let (mut wrong, mut uids) = (Vec::new(), HashSet::new());
    for file in files("deploy/grafana/dashboards", &[".json"])? {
        let text = fs::read_to_string(&file)?;
        let board: Value = serde_json::from_str(&text).context(|| file.display().to_string())?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let uid = board["uid"].as_str().unwrap_or_default();
        if uid.is_empty() || !uids.insert(uid.to_owned()) {
            wrong.push(format!("{name}: its uid is missing or taken"));
        }
        if board["schemaVersion"].as_u64().unwrap_or_default() < 41 {
            wrong.push(format!("{name}: its schemaVersion is older than 41"));
        }
        for variable in ["datasource", "job", "instance"] {
            let variables = board["templating"]["list"].as_array();
            if !variables.is_some_and(|list| list.iter().any(|entry| entry["name"] == variable)) {
                wrong.push(format!("{name}: there is no variable {variable}"));
            }
        }
        for panel in board["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] != "row") {
            let title = panel["title"].as_str().unwrap_or_default();
            for (what, missing) in [
                ("title", title.is_empty()),
                ("description", panel["description"].as_str().is_none_or(str::is_empty)),
                ("unit", unit(panel).is_none_or(str::is_empty)),
                ("query", panel["targets"].as_array().is_none_or(Vec::is_empty)),
            ] {
                if missing {
                    wrong.push(format!("{name}: the panel {title:?} has no {what}"));
                }
            }
        }
        if text.contains("[5m]") || text.contains("$__interval]") {
            wrong.push(format!("{name}: a rate over anything but $__rate_interval"));
        }
    }
    none(&wrong, "dashboards")
}

fn unit(panel: &Value) -> Option<&str> {
    panel["fieldConfig"]["defaults"]["unit"].as_str().or_else(|| panel["options"]["yAxis"]["unit"].as_str())
}

/// Every variable that the simulator reads is in `.env.example`, and those that the compose files read for a person;
/// nothing else does.
pub(super) fn settings() -> Result<()> {
    let code = read_all(&files("examples/simulator", &[".rs"])?)?;
    // Literals that are a name and nothing else; messages name variables too.
    let ends = code.split("\"CACHEFRONT_").skip(1).filter_map(|rest| rest.split_once('"'));
    let literals: Vec<String> = ends.map(|(name, _)| format!("CACHEFRONT_{name}")).collect();
    let read: HashSet<&str> = literals.iter().map(String::as_str).filter(|name| is_setting(name)).collect();
    let example = fs::read_to_string(names::workspace_root().join(".env.example"))?;
    let names = example.lines().filter_map(|line| Some(line.trim_start_matches('#').split_once('=')?.0));
    let listed: HashSet<&str> = names.filter(|name| is_setting(name)).collect();
    let mut wrong: Vec<String> = read.difference(&listed).map(|name| format!(".env.example has no {name}")).collect();
    let compose =
        read_all(&["compose.yaml", "docker-compose.test.yml"].map(|file| names::workspace_root().join(file)))?;
    let composed = compose.split("${").skip(1).filter_map(|rest| rest.split([':', '}']).next());
    let composed: HashSet<&str> = composed.filter(|name| is_setting(name)).collect();
    // These two are for who works on this project.
    let own = |name: &&&str| ["CACHEFRONT_BOOTSTRAP_IMAGE", "CACHEFRONT_SIMULATOR"].contains(*name);
    let absent = composed.difference(&listed).filter(|name| !own(name));
    wrong.extend(absent.map(|name| format!(".env.example has no {name}, which the compose files read")));
    wrong.extend(
        listed
            .iter()
            .filter(|name| !read.contains(*name) && !composed.contains(*name))
            .map(|name| format!("no program reads {name}")),
    );
    wrong.sort();
    if read.len() < 20 {
        wrong.push(format!("only {} variables found: this check searches the wrong place", read.len()));
    }
    none(&wrong, "settings")
}

fn is_setting(text: &str) -> bool {
    let rest = text.strip_prefix("CACHEFRONT_").unwrap_or_default();
    !rest.is_empty() && rest.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// Every alert names a runbook, and the runbook exists.
pub(super) fn runbooks() -> Result<()> {
    let text = read_all(&rules()?)?;
    let mut wrong = Vec::new();
    let named: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("runbook_url: ")?.rsplit_once("/main/"))
        .map(|url| url.1)
        .collect();
    for file in &named {
        if !names::workspace_root().join(file).is_file() {
            wrong.push(format!("there is no {file}"));
        }
    }
    let alerts = alerts()?;
    for what in ["severity: ", "summary: ", "runbook_url: "] {
        let found = text.lines().filter(|line| line.trim().starts_with(what)).count();
        if found != alerts.len() {
            wrong.push(format!("{} alerts, but {found} lines {what}", alerts.len()));
        }
    }
    none(&wrong, "alerts")
}

fn rules() -> Result<Vec<std::path::PathBuf>> {
    files("deploy/prometheus/rules", &[".yml"])
}

/// The rules that the guide shows to users, as a file.
fn rules_of_guide() -> Result<std::path::PathBuf> {
    let guide = fs::read_to_string("docs/guide.md")?;
    let rules = guide.split_once("```yaml\n").and_then(|(_, rest)| rest.split_once("```"));
    let (rules, _) = rules.ok_or_else(|| Failure::new("docs/guide.md has no rules"))?;
    let dir = names::target_dir().join("check");
    fs::create_dir_all(&dir)?;
    let path = dir.join("rules-of-guide.yml");
    fs::write(&path, rules)?;
    Ok(path)
}

fn alerts() -> Result<Vec<String>> {
    let text = read_all(&rules()?)?;
    Ok(text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect())
}

fn read_all(files: &[impl AsRef<Path>]) -> Result<String> {
    let mut text = String::new();
    for file in files {
        text += &fs::read_to_string(file.as_ref())?;
    }
    Ok(text)
}

fn none(wrong: &[String], what: &str) -> Result<()> {
    if wrong.is_empty() { Ok(()) } else { Err(Failure::new(format!("{what}:\n  {}", wrong.join("\n  ")))) }
}
