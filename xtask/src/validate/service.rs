//! A running simulator, whichever way it runs.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cachefront_stack::{environment as names, port};
use reqwest::Method;
use serde_json::Value;

use super::demo::Api;
use crate::{
    exec::{self, Running},
    failure::{Context, Failure, Result},
    stack::State,
    tools,
};

/// How long a start may take.
const START: Duration = Duration::from_secs(90);
/// How long Prometheus may take to see every role.
const SCRAPES: Duration = Duration::from_secs(60);
/// The poll interval.
const PAUSE: Duration = Duration::from_millis(200);
/// How long entries live in a run of our own: long enough to be seen stale.
const TTL: &str = "3s";

/// The containers and volumes of a validation stand under a name of their own: those of the user are never touched.
const PROJECT: &str = "cachefront-validate";
/// What removes all of them, whatever profile they belong to.
const REMOVAL: [&str; 6] = ["--profile", "*", "down", "--volumes", "--timeout", "20"];
/// What Prometheus reads.
const JOBS: [&str; 4] = ["cachefront-api", "cachefront-consumer", "cachefront-ui", "prometheus"];
/// How many lines of each container are shown when it did not come up.
const LOG_LINES: &str = "40";

/// The services that are waited for; the rest come with them.
const SERVICES: [&str; 4] = ["api", "ui", "consumer", "prometheus"];
/// Waited for as well, unless it is left out.
const GRAFANA: &str = "grafana";

/// Where it listens. Dropping the value ends it.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) api: Api,
    panel: String,
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    Process { _process: Running, dir: tempfile::TempDir },
    Containers(Containers),
}

/// The containers of compose.yaml. Dropping the value removes them, with their volumes.
#[derive(Debug)]
struct Containers {
    services: Vec<&'static str>,
    keep: bool,
}

impl Service {
    pub(super) fn embedded(program: &Path) -> Result<(Self, String)> {
        Self::process(program, &[])
    }

    pub(super) fn on_servers(program: &Path, state: &State) -> Result<(Self, String)> {
        let servers = [names::MYSQL_URL, names::REDIS_URL].map(|name| (name, state.environment.get(name).cloned()));
        let mut environment = Vec::new();
        for (name, value) in servers {
            let value = value.ok_or_else(|| Failure::new(format!("the stack has no {name}")))?;
            // The database is made when it is absent; a server may hold those of others.
            let database = if name == names::MYSQL_URL { "/cachefront_validate" } else { "" };
            environment.push((name, format!("{}{database}", value.trim_end_matches('/'))));
        }
        Self::process(program, &environment)
    }

    fn process(program: &Path, environment: &[(&str, String)]) -> Result<(Self, String)> {
        let dir = tempfile::tempdir()?;
        let (api, panel) = (port::free(), port::free());
        let log = fs::File::create(dir.path().join("log"))?;
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CACHEFRONT_") {
                command.env_remove(name);
            }
        }
        command
            .arg("up")
            .current_dir(dir.path())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env("CACHEFRONT_API_ADDR", format!("127.0.0.1:{api}"))
            .env("CACHEFRONT_UI_ADDR", format!("127.0.0.1:{panel}"))
            .env("CACHEFRONT_TTL", TTL)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = exec::start(&mut command)?;
        let service = Self {
            api: Api::new(format!("http://127.0.0.1:{api}"), None)?,
            panel: format!("http://127.0.0.1:{panel}"),
            runs: Runs::Process { _process: process, dir },
        };
        let started = Instant::now();
        exec::block_on(service.ready(START))?.context(|| service.log())?;
        Ok((service, format!("ready after {:.1} s", started.elapsed().as_secs_f64())))
    }

    /// Brings compose.yaml up, with the `.env` of the user.
    pub(super) fn compose(keep: bool, grafana: bool) -> Result<(Self, String)> {
        let file = names::workspace_root().join(".env");
        let settings = fs::read_to_string(&file).context(|| {
            "there is no .env. Do: cp .env.example .env (PowerShell: Copy-Item .env.example .env)".to_owned()
        })?;
        let token = setting(&settings, "STACK_OPERATOR_TOKEN");
        let mut services = SERVICES.to_vec();
        services.extend(grafana.then_some(GRAFANA));
        let said = services.join(", ");
        let service = Self {
            api: Api::new("http://127.0.0.1:8000".to_owned(), token)?,
            panel: "http://127.0.0.1:8501".to_owned(),
            runs: Runs::Containers(Containers { services, keep }),
        };
        service.up(&["--build"])?;
        Ok((service, said))
    }

    /// Starts what is stopped or was removed, without a build, and waits until all are healthy.
    pub(super) fn start(&self) -> Result<()> {
        self.up(&["--no-build"])
    }

    fn up(&self, flags: &[&str]) -> Result<()> {
        let Runs::Containers(containers) = &self.runs else { return Ok(()) };
        let mut command = compose(&["up", "--detach", "--wait", "--wait-timeout", "600"])?;
        if !exec::run(command.args(flags).args(&containers.services))?.success() {
            return Err(Failure::new(format!("docker compose up failed. The containers said:\n{}", container_logs())));
        }
        Ok(())
    }

    /// Stops or removes the containers; their volumes remain.
    pub(super) fn end(&self, arguments: &[&str]) -> Result<()> {
        exec::text(&mut compose(arguments)?).map(drop)
    }

    /// Ends one service as a crash of its machine would.
    pub(super) fn kill(&self, name: &str) -> Result<()> {
        self.end(&["kill", "--signal", "SIGKILL", name])
    }

    /// Starts one service again and waits until it is healthy, and until the API is ready.
    pub(super) fn bring_back(&self, name: &str) -> Result<()> {
        let flags = ["up", "--detach", "--no-build", "--no-recreate", "--no-deps", "--wait", "--wait-timeout", "120"];
        exec::text(compose(&flags)?.arg(name))?;
        exec::block_on(self.pages())?.map(drop)
    }

    /// Removes the containers with their volumes, and checks that nothing of them is left.
    pub(super) fn remove(&mut self) -> Result<String> {
        let Runs::Containers(containers) = &mut self.runs else { return Ok(String::new()) };
        exec::text(&mut compose(&REMOVAL)?)?;
        containers.keep = true;
        let label = format!("label=com.docker.compose.project={PROJECT}");
        let mut left = Vec::new();
        for kind in [&["ps", "--all", "--quiet"][..], &["volume", "ls", "--quiet"], &["network", "ls", "--quiet"]] {
            let found = exec::text(Command::new("docker").args(kind).args(["--filter", &label]))?;
            left.extend(found.split_whitespace().map(|id| format!("{} {id}", kind[0])));
        }
        match left.is_empty() {
            true => Ok("no container, volume or network is left".to_owned()),
            false => Err(Failure::new(format!("left: {}", left.join(", ")))),
        }
    }

    /// The API is ready, and the panel responds.
    pub(super) async fn pages(&self) -> Result<String> {
        self.ready(START).await?;
        let (status, _) = self.api.ask(Method::GET, &format!("{}/healthz", self.panel), None).await?;
        match status.is_success() {
            true => Ok("API and control panel answer".to_owned()),
            false => Err(Failure::new(format!("the control panel responds {status}"))),
        }
    }

    pub(super) async fn prometheus(&self) -> Result<String> {
        let started = Instant::now();
        loop {
            let url = "http://127.0.0.1:9090/api/v1/targets?state=active";
            let (_, answer) = self.api.ask(Method::GET, url, None).await?;
            let targets = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
            let has =
                |job: &str| targets.iter().any(|target| target["labels"]["job"] == job && target["health"] == "up");
            let missing: Vec<&str> = JOBS.into_iter().filter(|job| !has(job)).collect();
            if missing.is_empty() {
                return Ok(format!("{} targets are up", targets.len()));
            }
            if started.elapsed() > SCRAPES {
                let down = targets.iter().filter(|target| target["health"] != "up");
                let named: Vec<String> = down.map(|one| format!("{} {}", one["scrapeUrl"], one["lastError"])).collect();
                return Err(Failure::new(format!("not up: {}; {}", missing.join(", "), named.join(", "))));
            }
            // sleep: the poll interval of a bounded wait.
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(super) async fn grafana(&self) -> Result<String> {
        let settings = fs::read_to_string(names::workspace_root().join(".env"))?;
        let login = ["GRAFANA_USER", "GRAFANA_PASSWORD"].map(|name| setting(&settings, name).unwrap_or_default());
        let http = reqwest::Client::builder().no_proxy().build().context(|| "no HTTP client".to_owned())?;
        let answer = http
            .get("http://127.0.0.1:3000/api/search?tag=cachefront")
            .basic_auth(&login[0], Some(&login[1]))
            .send()
            .await
            .context(|| "Grafana does not respond".to_owned())?;
        let status = answer.status();
        let text = answer.text().await.context(|| "Grafana breaks off".to_owned())?;
        let boards: Vec<Value> = serde_json::from_str(&text).context(|| format!("Grafana responds {status}"))?;
        match boards.len() {
            5.. => Ok(format!("{} dashboards", boards.len())),
            found => Err(Failure::new(format!("{found} dashboards of 5"))),
        }
    }

    async fn ready(&self, patience: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            exec::check_interrupted()?;
            let answer = self.api.ask(Method::GET, "/readyz", None).await;
            match answer {
                Ok((status, _)) if status.is_success() => return Ok(()),
                answer if started.elapsed() > patience => {
                    let said =
                        answer.map_or_else(|failure| failure.to_string(), |(status, said)| format!("{status} {said}"));
                    return Err(Failure::new(format!("not ready after {patience:?}: {said}")));
                }
                // sleep: the poll interval of a bounded wait.
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    fn log(&self) -> String {
        let Runs::Process { dir, .. } = &self.runs else { return String::new() };
        let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
        exec::last_lines(&log, 8)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if !self.keep
            && let Ok(mut command) = compose(&REMOVAL)
        {
            let _ = command.status();
        }
    }
}

/// Compose, on the project of validations and no other.
fn compose(arguments: &[&str]) -> Result<Command> {
    let mut command = tools::command("docker-compose")?;
    command.args(["--project-name", PROJECT]).args(arguments);
    Ok(command)
}

/// What the containers said last. To be asked before they are removed.
pub(super) fn container_logs() -> String {
    let said = compose(&["logs", "--no-color", "--tail", LOG_LINES]).and_then(|mut command| exec::output(&mut command));
    said.map_or_else(|failure| failure.to_string(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A value of `.env`, overridden by the environment as compose does it.
fn setting(text: &str, name: &str) -> Option<String> {
    let given = std::env::var(name).ok().filter(|value| !value.is_empty());
    given.or_else(|| text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix('=')?.trim().to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Removing volumes is allowed in a project of our own only.
    #[test]
    fn nothing_is_done_to_the_containers_of_the_user() {
        let file = std::fs::read_to_string(names::workspace_root().join("compose.yaml")).expect("compose.yaml");
        assert!(!file.lines().any(|line| line == format!("name: {PROJECT}")), "the user's project has our name");
        let Ok(command) = compose(&REMOVAL) else { return };
        let arguments: Vec<_> = command.get_args().filter(|argument| *argument != "compose").collect();
        assert_eq!(arguments[..2], ["--project-name", PROJECT]);
        assert_eq!(arguments[2..], REMOVAL);
    }
}
