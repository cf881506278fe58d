//! What the last pass found, as gauges. A pass that failed makes them `NaN`: nothing is known, and no alert on a value
//! fires or resolves because of it; `cachefront_inspector_known` is then 0.
//!
//! - `cachefront_consistency_healthy`: 1 if no entry differs from its row, 0 if one does.
//! - `cachefront_stale_entries`: entries that differ from their rows.
//! - `cachefront_stale_entries_by_kind`: the same by `kind`: `aging`, `late`, `lost`, `mapping`.
//! - `cachefront_inspector_known`: 1 if the last pass succeeded.
//! - `cachefront_inspector_entries`: entries that the last pass compared.

use metrics::gauge;

use super::consistency::{Consistency, StaleKind, Verdict};

const CONSISTENCY_HEALTHY: &str = "cachefront_consistency_healthy";
const STALE_ENTRIES: &str = "cachefront_stale_entries";
const STALE_ENTRIES_BY_KIND: &str = "cachefront_stale_entries_by_kind";
const INSPECTOR_KNOWN: &str = "cachefront_inspector_known";
const INSPECTOR_ENTRIES: &str = "cachefront_inspector_entries";

pub(super) fn describe() {
    metrics::describe_gauge!(
        CONSISTENCY_HEALTHY,
        "1 if the last pass found no stale entry, 0 if it did, NaN if it failed"
    );
    metrics::describe_gauge!(STALE_ENTRIES, "Entries that differed from their rows at the last pass");
    metrics::describe_gauge!(STALE_ENTRIES_BY_KIND, "The same, by kind");
    metrics::describe_gauge!(INSPECTOR_KNOWN, "1 if the inspector's last pass succeeded");
    metrics::describe_gauge!(INSPECTOR_ENTRIES, "Entries that the inspector's last pass compared");
}

pub(super) fn publish(consistency: &Consistency) {
    let known = consistency.verdict != Verdict::Unknown;
    let or_nan = |value: f64| if known { value } else { f64::NAN };
    gauge!(CONSISTENCY_HEALTHY).set(or_nan(if consistency.verdict == Verdict::Stale { 0.0 } else { 1.0 }));
    gauge!(STALE_ENTRIES).set(or_nan(consistency.stale as f64));
    for kind in StaleKind::ALL {
        gauge!(STALE_ENTRIES_BY_KIND, "kind" => kind.as_str()).set(or_nan(consistency.count(kind) as f64));
    }
    gauge!(INSPECTOR_KNOWN).set(if known { 1.0 } else { 0.0 });
    gauge!(INSPECTOR_ENTRIES).set(or_nan(consistency.compared as f64));
}
