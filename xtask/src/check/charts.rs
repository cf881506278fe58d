//! The Helm chart and the Terraform files.

use std::{fs, path::PathBuf};

use cachefront_stack::environment as names;

use super::run::{files, must};
use crate::{
    exec,
    failure::{Context, Failure, Result},
    tools,
};

const CHART: &str = "deploy/helm/cachefront";
const TERRAFORM: &str = "deploy/terraform";
/// The oldest and the newest Kubernetes that the manifests are held against.
const KUBERNETES: [&str; 2] = ["1.31", "1.37"];

/// Values that the chart needs, and everything that can be turned on.
const EVERYTHING: &str = "ci/everything-values.yaml";
/// As few as possible.
const LITTLE: &str = "ci/little-values.yaml";

pub(super) fn lint() -> Result<()> {
    for values in [LITTLE, EVERYTHING] {
        must(tools::command("helm")?.args(["lint", "--strict", "--quiet", CHART, "--values"]).arg(file(values)))
            .context(|| values.to_owned())?;
    }
    refuses_wrong_values()
}

/// The schema must say no to what cannot work.
fn refuses_wrong_values() -> Result<()> {
    for wrong in [
        "api.replicas=two",
        "database.existingSecret=",
        "unknown=1",
        "kafka.connectUrl=ftp://connect",
        "cache.onLag=later",
        "store.morePorts={70000}",
        "ui.runs.countMax=0",
        "ui.persistence.size=much",
    ] {
        let mut command = tools::command("helm")?;
        command.args(["template", "cachefront", CHART, "--values"]).arg(file(LITTLE)).args(["--set", wrong]);
        if must(&mut command).is_ok() {
            return Err(Failure::new(format!("values.schema.json takes {wrong}")));
        }
    }
    Ok(())
}

pub(super) fn template() -> Result<()> {
    for values in [LITTLE, EVERYTHING] {
        let rendered = render(values, &[])?;
        if !rendered.contains("kind: Deployment") {
            return Err(Failure::new(format!("{values} renders no Deployment")));
        }
    }
    let rendered = render(EVERYTHING, &[])?;
    stays_ready_without_the_store(&rendered)?;
    keeps_runs(&rendered, "claimName: cachefront-runs")?;
    keeps_runs(&render(LITTLE, &["--set", "ui.enabled=true"])?, "emptyDir: {}")?;
    keeps_runs(&render(EVERYTHING, &["--set", "ui.persistence.existingClaim=mine"])?, "claimName: mine")?;
    admits_only_who_is_named()?;
    for kind in [
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "PersistentVolumeClaim",
        "NetworkPolicy",
        "ServiceMonitor",
        "PrometheusRule",
        "Service",
    ] {
        if !rendered.contains(&format!("kind: {kind}\n")) {
            return Err(Failure::new(format!("{EVERYTHING} renders no {kind}")));
        }
    }
    Ok(())
}

/// An outage of the store costs latency, never the service: the API's readiness must not ask for it.
fn stays_ready_without_the_store(rendered: &str) -> Result<()> {
    let pods =
        rendered.split("\n---").filter(|one| one.contains("kind: Deployment") && one.contains("component: api\n"));
    let probes: Vec<&str> = pods.filter_map(|pod| pod.split("readinessProbe:").nth(1)?.split('}').next()).collect();
    match probes.as_slice() {
        [probe] if probe.contains("path: /healthz") => Ok(()),
        probes => Err(Failure::new(format!("the API's readiness is not its own health alone: {probes:?}"))),
    }
}

/// The rules of a policy add up: none may let in who is not named. And the pods reach every port of their servers.
fn admits_only_who_is_named() -> Result<()> {
    let rules = |more: &[&str], role: &str| -> Result<String> {
        let rendered = render(EVERYTHING, more)?;
        let is_of_role =
            |one: &&str| one.contains("kind: NetworkPolicy") && one.contains(&format!("component: {role}\n"));
        rendered
            .split("\n---")
            .find(is_of_role)
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("{EVERYTHING} renders no NetworkPolicy of {role}")))
    };
    let nowhere = ["--set", "networkPolicy.prometheus=null"];
    for role in ["api", "ui"] {
        let policy = rules(&nowhere, role)?;
        for open in ["podSelector: {}", "namespaceSelector: {}"] {
            if policy.contains(open) {
                return Err(Failure::new(format!("the policy of {role} lets in more than `clients`: {open}")));
            }
        }
        for (named, by) in [("metadata.name: ingress", "clients"), ("metadata.name: monitoring", "prometheus")] {
            if !rules(&[], role)?.contains(named) {
                return Err(Failure::new(format!("the policy of {role} does not let in {by}")));
            }
        }
        for port in ["3306", "6379", "26379", "9092", "9093", "8083"] {
            if !policy.contains(&format!("port: {port}}}")) {
                return Err(Failure::new(format!("the pods of {role} do not reach port {port}")));
            }
        }
    }
    if !rules(&nowhere, "consumer")?.contains("podSelector: {}") {
        return Err(Failure::new("no pod of the namespace reads the consumer's metrics"));
    }
    Ok(())
}

/// The panel's file system is read-only but for a volume, and there it keeps its runs.
fn keeps_runs(rendered: &str, volume: &str) -> Result<()> {
    let is_panel = |one: &&str| one.contains("kind: Deployment") && one.contains("component: ui\n");
    let panel = rendered.split("\n---").find(is_panel).unwrap_or_default();
    let parts = ["readOnlyRootFilesystem: true", "name: CACHEFRONT_DATA_DIR", "mountPath: /data", volume];
    match parts.into_iter().find(|part| !panel.contains(part)) {
        None => Ok(()),
        Some(part) => Err(Failure::new(format!("the panel's pod has no {part}"))),
    }
}

/// Without the kinds of the Prometheus operator, which Kubernetes itself does not know.
pub(super) fn kubernetes() -> Result<()> {
    for values in [LITTLE, EVERYTHING] {
        let rendered = render(values, &["--set", "monitoring.enabled=false"])?;
        let dir = names::target_dir().join("check");
        fs::create_dir_all(&dir)?;
        let manifests = dir.join("manifests.yaml");
        fs::write(&manifests, rendered)?;
        for version in KUBERNETES {
            let mut command = tools::command("kubernetes-validate")?;
            must(command.args(["--kubernetes-version", version, "--strict"]).arg(&manifests))
                .context(|| format!("{values}, Kubernetes {version}"))?;
        }
    }
    Ok(())
}

pub(super) fn terraform_format() -> Result<()> {
    files(TERRAFORM, &[".tf"])?;
    must(tools::command("terraform")?.args(["fmt", "-check", "-diff", "-recursive", TERRAFORM])).map(drop)
}

pub(super) fn tflint() -> Result<()> {
    must(tools::command("tflint")?.args(["--no-color", "--recursive", "--chdir", TERRAFORM])).map(drop)
}

fn render(values: &str, more: &[&str]) -> Result<String> {
    let mut command = tools::command("helm")?;
    command.args(["template", "cachefront", CHART, "--namespace", "shop", "--values"]).arg(file(values)).args(more);
    // Notes about symbolic links go to stderr.
    exec::text(&mut command).context(|| values.to_owned())
}

fn file(values: &str) -> PathBuf {
    names::workspace_root().join(CHART).join(values)
}
