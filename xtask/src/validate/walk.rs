//! The walk through the containers: each server is killed and comes back, then all are stopped, and replaced by new
//! containers over the same volumes.

use std::time::{Duration, Instant};

use reqwest::Method;

use super::{
    demo::{self, Api},
    list::List,
    service::Service,
};
use crate::{
    exec,
    failure::{Failure, Result},
};

/// The services that are killed, in this order: those that hold data first.
const KILLED: [&str; 7] = ["mysql", "redis", "kafka", "connect", "consumer", "api", "ui"];
/// Without these no user can be written while they are away.
const NEEDED_TO_WRITE: [&str; 2] = ["mysql", "api"];
/// How long change capture may take to be within its objective again, a rebalance of Kafka's consumers included.
const HEALED: Duration = Duration::from_secs(120);
/// The poll interval.
const PAUSE: Duration = Duration::from_millis(200);
/// The poll interval of alerts: Prometheus evaluates its rules every 15 s.
const EVALUATION: Duration = Duration::from_secs(5);

/// Kills each service and brings it back. While it is away a cached user is renamed, if that is possible without it.
pub(super) fn kill_each(list: &mut List, service: &Service) -> Result<()> {
    for name in KILLED {
        list.check(&format!("{name} is killed and comes back"), || killed(service, name))?;
    }
    Ok(())
}

fn killed(service: &Service, name: &str) -> Result<String> {
    let user = exec::block_on(service.api.warm_user("cdc"))??;
    service.kill(name)?;
    let written = !NEEDED_TO_WRITE.contains(&name);
    if written {
        exec::block_on(service.api.rename(user))??;
    }
    let started = Instant::now();
    service.bring_back(name)?;
    exec::block_on(healed(&service.api))??;
    let healed = started.elapsed();
    if !written {
        exec::block_on(service.api.rename(user))??;
    }
    let fresh = exec::block_on(demo::fresh(&service.api, user))??;
    let when = if written { "renamed while it was away" } else { "renamed afterwards" };
    Ok(format!("healed after {:.1} s; a user {when}: fresh {} ms later", healed.as_secs_f64(), fresh.as_millis()))
}

/// Stops all containers and starts them; then removes them and makes new ones. Volumes remain, so rows do.
pub(super) fn restart(list: &mut List, service: &Service) -> Result<()> {
    list.check("all are stopped and started", || again(service, &["stop"]))?;
    list.check("all are removed and created again", || again(service, &["--profile", "*", "down"]))
}

fn again(service: &Service, end: &[&str]) -> Result<String> {
    let user = exec::block_on(service.api.warm_user("cdc"))??;
    service.end(end)?;
    let started = Instant::now();
    service.start()?;
    exec::block_on(healed(&service.api))??;
    let healed = started.elapsed();
    // A user that is not there any more is an error here.
    exec::block_on(service.api.rename(user))??;
    let fresh = exec::block_on(demo::fresh(&service.api, user))??;
    Ok(format!(
        "healed after {:.1} s; an earlier user, renamed: fresh {} ms later",
        healed.as_secs_f64(),
        fresh.as_millis()
    ))
}

/// Waits until change capture runs within its objective.
async fn healed(api: &Api) -> Result<()> {
    let started = Instant::now();
    loop {
        exec::check_interrupted()?;
        let answer = api.ask(Method::GET, "/pipeline", None).await;
        if let Ok((status, view)) = &answer
            && status.is_success()
            && view["running"] == true
            && view["freshness"]["state"] == "met"
        {
            return Ok(());
        }
        if started.elapsed() > HEALED {
            let said = answer.map_or_else(|failure| failure.to_string(), |(status, view)| format!("{status} {view}"));
            return Err(Failure::new(format!("change capture is not within its objective after {HEALED:?}: {said}")));
        }
        // sleep: the poll interval of a bounded wait.
        tokio::time::sleep(PAUSE).await;
    }
}

/// Watches the alerts of Prometheus for a time. Fails on the first that fires.
pub(super) async fn quiet(api: &Api, time: Duration) -> Result<String> {
    let started = Instant::now();
    let mut pending = Vec::new();
    while started.elapsed() < time {
        exec::check_interrupted()?;
        let (status, answer) = api.ask(Method::GET, "http://127.0.0.1:9090/api/v1/alerts", None).await?;
        let alerts = answer["data"]["alerts"].as_array();
        let alerts = alerts.ok_or_else(|| Failure::new(format!("Prometheus responds {status} without alerts")))?;
        for alert in alerts {
            let name = alert["labels"]["alertname"].as_str().unwrap_or_default();
            if alert["state"] == "firing" {
                let after = started.elapsed().as_secs();
                return Err(Failure::new(format!("{name} fires after {after} s: {}", alert["labels"])));
            }
            if !pending.iter().any(|known| known == name) {
                pending.push(name.to_owned());
            }
        }
        // sleep: the poll interval of a bounded wait.
        tokio::time::sleep(EVALUATION).await;
    }
    let minutes = time.as_secs_f64() / 60.0;
    match pending.is_empty() {
        true => Ok(format!("none fired and none was pending in {minutes:.0} min")),
        false => Ok(format!("none fired in {minutes:.0} min; pending for a while: {}", pending.join(", "))),
    }
}
