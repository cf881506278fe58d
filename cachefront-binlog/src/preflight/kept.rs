//! Checks the settings that a source can do without: what the log names, how long it is kept, and whether it has all changes.

use crate::config::BinlogSettings;
use crate::preflight::finding::Finding;
use crate::preflight::queries::Variables;

/// What servers of MySQL and MariaDB name differently.
pub(super) struct Words {
    /// Returns the SQL that sets a variable.
    pub(super) set: fn(&str, &str) -> String,
    /// The variable by which a replica logs what it replicates.
    pub(super) updates: &'static str,
    /// How it is turned on.
    pub(super) updates_on: &'static str,
}

/// Checks these settings.
pub(super) fn warnings(variables: &Variables, settings: &BinlogSettings, words: &Words) -> Vec<Finding> {
    let mut findings = Vec::new();
    let metadata = variables.get("binlog_row_metadata");
    if let Some(metadata) = metadata.filter(|_| !variables.is("binlog_row_metadata", "FULL")) {
        findings.push(Finding::warn(
            format!("binlog_row_metadata={metadata}"),
            "the log does not name the columns, so they are looked up, and changes before the lookup flush the whole cache",
            (words.set)("binlog_row_metadata", "FULL"),
        ));
    }
    let wanted = settings.retention_min.as_secs();
    let kept = variables.get("binlog_expire_logs_seconds").and_then(|seconds| seconds.parse::<u64>().ok());
    if let Some(kept) = kept.filter(|&kept| kept != 0 && kept < wanted) {
        findings.push(Finding::warn(
            format!("binlog_expire_logs_seconds={kept}"),
            "the position of an invalidator that was down for longer is purged, which flushes the whole cache",
            (words.set)("binlog_expire_logs_seconds", &wanted.to_string()),
        ));
    }
    if variables.is("binlog_checksum", "NONE") {
        findings.push(Finding::warn(
            "binlog_checksum=NONE",
            "damage of the log on its way to the cache is not detected, so a change may be lost or decoded wrongly",
            (words.set)("binlog_checksum", "CRC32"),
        ));
    }
    if variables.is(words.updates, "OFF") {
        findings.push(Finding::warn(
            format!("{}=OFF", words.updates),
            "if this server is a replica, its log lacks all changes that it replicates",
            words.updates_on,
        ));
    }
    findings
}
