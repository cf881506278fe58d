//! The summary of a result for the terminal.

use super::outcome::LoadResult;
use super::plan::Model;
use super::tally::Quantiles;

/// Formats the summary, with the verdict first.
pub(super) fn text(result: &LoadResult) -> String {
    let mut lines = vec![result.verdict.sentence.clone(), String::new()];
    let plan = &result.plan;
    let model = match plan.model {
        Model::Open { .. } => "open model: latency from the moment a request was due".to_owned(),
        Model::Closed { clients } => {
            format!("closed model, {clients} clients: a slow server is asked less, and looks faster than it is")
        }
    };
    lines.push(format!("{model}; {} rows, {}; seed {}", plan.users, plan.keys, plan.seed));
    let requests = &result.requests;
    lines.push(format!(
        "sent {}  answered {}  failed {}  dropped {}  {:.0}/s{}",
        requests.sent,
        requests.answered,
        requests.failed,
        requests.dropped,
        requests.rate,
        requests.rate_wanted.map_or(String::new(), |rate| format!(" of {rate:.0}/s wanted")),
    ));
    let latency = &result.latency;
    for (name, quantiles) in [
        ("all", latency.all),
        ("reads", latency.reads),
        ("writes", latency.writes),
        ("cached", latency.cached),
        ("loaded", latency.loaded),
        ("service", latency.service),
    ] {
        if quantiles.count > 0 {
            lines.push(row(name, &quantiles));
        }
    }
    for (status, count) in requests.statuses.iter().filter(|(status, _)| !(200..300).contains(*status)) {
        let name = if *status == 0 { "no answer".to_owned() } else { format!("status {status}") };
        lines.push(format!("{name}: {count}"));
    }
    lines.push(cache(result));
    lines.push(freshness(result));
    for goal in &result.goals {
        let sign = if goal.met { "met   " } else { "MISSED" };
        lines.push(format!("{sign} {} ({})", goal.threshold, goal.shown));
    }
    if requests.dropped > 0 {
        lines.push("Not valid: the rate could not be kept, so the latencies are those of a lower rate.".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

fn row(name: &str, quantiles: &Quantiles) -> String {
    format!(
        "{name:<8} {:>8}   p50 {:>8.2} ms   p90 {:>8.2} ms   p99 {:>8.2} ms   p99.9 {:>8.2} ms   max {:>8.2} ms",
        quantiles.count, quantiles.p50_ms, quantiles.p90_ms, quantiles.p99_ms, quantiles.p999_ms, quantiles.max_ms
    )
}

fn cache(result: &LoadResult) -> String {
    let mode = result.mode.as_deref().unwrap_or("unknown");
    let hits = result.cache.hit_ratio.map_or("not reported".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0));
    let not_measured = || format!("not measured: {}", result.cache.not_measured.unwrap_or("unknown"));
    let loads = result.cache.database_loads.map_or_else(not_measured, |loads| loads.to_string());
    format!("mode {mode}  hits {hits}  loads from the database {loads}")
}

fn freshness(result: &LoadResult) -> String {
    let fresh = &result.freshness;
    let windows = &fresh.windows;
    let open = match fresh.windows_open {
        0 => String::new(),
        open => format!(", {open} still stale at the end"),
    };
    format!(
        "stale reads {} (later than {:.0} ms: {}), the probe's {} ({})  windows {}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms{open}",
        fresh.load.stale,
        fresh.grace_ms,
        fresh.load.late,
        fresh.probe.stale,
        fresh.probe.late,
        windows.count,
        windows.p50_ms,
        windows.p99_ms,
        windows.max_ms
    )
}
