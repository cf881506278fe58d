//! Whether the machine can do it.

use std::{fs, net::TcpListener};

use crate::{
    failure::{Context, Failure, Result},
    path::on_path,
    stack,
};

/// What the whole stack in containers takes, and what the servers take as processes, in MiB.
const MEMORY_MIB: [(bool, u64); 2] = [(true, 6_144), (false, 3_072)];

/// The ports of compose.yaml.
const PORTS: [(u16, &str); 8] = [
    (3000, "Grafana"),
    (3306, "MySQL"),
    (6379, "Redis"),
    (8000, "the API"),
    (8083, "Kafka Connect"),
    (8501, "the control panel"),
    (9090, "Prometheus"),
    (29092, "Kafka"),
];

/// Enough memory that is not in use.
pub(super) fn memory(containers: bool) -> Result<String> {
    let text = fs::read_to_string("/proc/meminfo").context(|| "the memory cannot be read".to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default();
    let needed = MEMORY_MIB.iter().find(|(case, _)| *case == containers).map_or(0, |(_, needed)| *needed);
    match kib / 1024 {
        free if free >= needed => Ok(format!("{free} MiB free, {needed} needed")),
        free => Err(Failure::new(format!("{free} MiB free, {needed} needed: close something, or run `--embedded`"))),
    }
}

/// No other program on our ports.
pub(super) fn ports() -> Result<String> {
    let taken: Vec<String> = PORTS
        .iter()
        .filter(|(port, _)| TcpListener::bind(("127.0.0.1", *port)).is_err())
        .map(|(port, what)| format!("{port} ({what})"))
        .collect();
    match taken.is_empty() {
        true => Ok("3000, 3306, 6379, 8000, 8083, 8501, 9090, 29092 are free".to_owned()),
        false => Err(Failure::new(format!(
            "taken: {}. See who listens: ss -ltnp; is a stack of yours up? docker compose --profile '*' stop",
            taken.join(", ")
        ))),
    }
}

/// What the chosen way needs.
pub(super) fn tools(containers: bool, embedded: bool) -> Result<String> {
    if embedded {
        return Ok("none needed".to_owned());
    }
    if stack::has_engine() {
        return Ok("a container engine responds".to_owned());
    }
    if containers {
        return Err(Failure::new(
            "`docker info` and `docker compose version` must both succeed: start the engine, install the plugin \
             `compose`, or leave out --containers",
        ));
    }
    if on_path("mysqld").is_some() && on_path("redis-server").is_some() {
        return Ok("mysqld and redis-server".to_owned());
    }
    match on_path("apt-get").is_some() && on_path("dpkg").is_some() {
        true => Ok("the servers come out of Debian's packages".to_owned()),
        false => {
            Err(Failure::new("neither a container engine, nor mysqld and redis-server, nor apt-get to unpack them"))
        }
    }
}
