//! The servers as containers, by `docker-compose.test.yml`.

use std::{
    env,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::Command,
};

use cachefront_stack::{environment as names, port};

use super::state::State;
use crate::{
    exec,
    failure::{Context, Failure, Result},
};

/// How long the servers may take until they are healthy, images fetched included.
const WAIT_SECONDS: &str = "300";
const FILE: &str = "docker-compose.test.yml";

/// True if there is an engine that responds, with the compose plugin.
pub(super) fn is_available() -> bool {
    if env::var("CACHEFRONT_STACK").is_ok_and(|how| how == "native") {
        return false;
    }
    let works = |arguments: &[&str]| {
        exec::output(Command::new("docker").args(arguments)).is_ok_and(|output| output.status.success())
    };
    works(&["compose", "version"]) && works(&["info"])
}

/// Starts the named services (`mysql`, `redis`, `kafka`, `connect`) and waits until they are healthy.
pub(super) fn up(dir: &Path, services: &[&str], state: &mut State) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    dir.hash(&mut hasher);
    let project = format!("cachefront-test-{:08x}", hasher.finish() & 0xffff_ffff);
    let [mysql, redis, kafka, connect] = std::array::from_fn(|_| port::free());
    state.project = Some(project.clone());
    state.save()?;
    let status = exec::run(
        compose(&project)
            .env("CACHEFRONT_MYSQL_PORT", mysql.to_string())
            .env("CACHEFRONT_REDIS_PORT", redis.to_string())
            .env("CACHEFRONT_KAFKA_PORT", kafka.to_string())
            .env("CACHEFRONT_CONNECT_PORT", connect.to_string())
            .args(["up", "--detach", "--wait", "--wait-timeout", WAIT_SECONDS])
            .args(services),
    )?;
    if !status.success() {
        let said = exec::text(compose(&project).args(["logs", "--tail", "20"])).unwrap_or_default();
        return Err(Failure::new(format!("docker compose could not bring up {}:\n{said}", services.join(", "))));
    }
    if services.contains(&"mysql") {
        state.set(names::MYSQL_URL, format!("mysql://root:cachefront@127.0.0.1:{mysql}"));
    }
    if services.contains(&"redis") {
        state.set(names::REDIS_URL, format!("redis://127.0.0.1:{redis}"));
    }
    if services.contains(&"kafka") {
        state.set(names::KAFKA_BROKERS, format!("127.0.0.1:{kafka}"));
    }
    if services.contains(&"connect") {
        state.set(names::CONNECT_URL, format!("http://127.0.0.1:{connect}"));
        // The worker is a container too, and sees its neighbours by their names.
        if services.contains(&"mysql") {
            state.set(names::CONNECT_MYSQL_URL, "mysql://root:cachefront@mysql:3306");
        }
        if services.contains(&"kafka") {
            state.set(names::CONNECT_KAFKA_BROKERS, "kafka:9092");
        }
    }
    Ok(())
}

/// Removes the project's containers and their data.
pub(super) fn down(project: &str) -> Result<()> {
    let status = compose(project)
        .args(["down", "--volumes", "--timeout", "10"])
        .status()
        .context(|| "could not start docker".to_owned())?;
    if status.success() { Ok(()) } else { Err(Failure::new(format!("the compose project {project} is still up"))) }
}

/// What `docker compose ps` says.
pub(super) fn status(project: &str) -> Result<String> {
    exec::text(compose(project).arg("ps"))
}

fn compose(project: &str) -> Command {
    let mut command = Command::new("docker");
    command.current_dir(names::workspace_root()).args(["compose", "--file", FILE, "--project-name", project]);
    command
}
