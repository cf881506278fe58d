//! Checks the settings of a server of MySQL:
//!
//! | variable | required | otherwise |
//! |---|---|---|
//! | `version` | 8.0 or later | refused |
//! | `log_bin` | `ON` | refused |
//! | `gtid_mode`, `enforce_gtid_consistency` | `ON` | refused |
//! | `binlog_format` | `ROW` | refused |
//! | `binlog_row_image` | `FULL` | refused |
//! | `binlog_row_metadata` | `FULL` | warning |
//! | `binlog_checksum` | `CRC32` | warning |
//! | `binlog_row_value_options` | empty | warning |
//! | `binlog_expire_logs_seconds` | `retention_min` or longer | warning |
//! | `log_replica_updates` | `ON` | warning |

use crate::config::BinlogSettings;
use crate::preflight::finding::Finding;
use crate::preflight::kept::{Words, warnings};
use crate::preflight::queries::Variables;

/// How it names what the warnings are about.
const WORDS: Words = Words {
    set: |name, value| format!("SET PERSIST {name}={value}"),
    updates: "log_replica_updates",
    updates_on: "start mysqld with --log-replica-updates, or follow the primary",
};

/// Checks the global variables.
pub(crate) fn check(variables: &Variables, settings: &BinlogSettings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let version = variables.get("version").unwrap_or_default();
    if variables.version() < (8, 0) {
        findings.push(Finding::refuse(
            format!("the server is {version}"),
            "GTIDs of MySQL 8.0 or later, or those of MariaDB 10.5 or later, are needed",
            "use MySQL 8.0 or later",
        ));
        return findings;
    }
    if !variables.is("log_bin", "ON") {
        findings.push(Finding::refuse(
            "log_bin=OFF",
            "the server writes no binary log, so it has no changes to read",
            "start mysqld with --log-bin (and without --skip-log-bin)",
        ));
    }
    findings.extend(gtid(variables));
    findings.extend(format(variables));
    findings.extend(warnings(variables, settings, &WORDS));
    findings.extend(differences(variables));
    findings
}

/// Warns of documents that are logged as differences: without the former document they cannot be read.
fn differences(variables: &Variables) -> Option<Finding> {
    let options = variables.get("binlog_row_value_options").filter(|options| !options.is_empty())?;
    Some(Finding::warn(
        format!("binlog_row_value_options={options}"),
        "an update of a JSON column is logged as a difference, which flushes the caches whose mapping reads that column",
        "SET PERSIST binlog_row_value_options=''",
    ))
}

/// Checks that GTIDs are on, and names the remaining steps to turn them on.
fn gtid(variables: &Variables) -> Option<Finding> {
    let mode = variables.get("gtid_mode").unwrap_or("OFF");
    let consistent = variables.is("enforce_gtid_consistency", "ON");
    if mode == "ON" && consistent {
        return None;
    }
    // The server permits each step only after the previous one.
    let steps = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    let reached = steps.iter().position(|step| *step == mode).unwrap_or(0);
    let mut fix: Vec<String> = Vec::new();
    if !consistent {
        fix.push("SET PERSIST enforce_gtid_consistency=ON".into());
    }
    fix.extend(steps.iter().skip(reached + 1).map(|step| format!("SET PERSIST gtid_mode={step}")));
    let what = match consistent {
        true => format!("gtid_mode={mode}"),
        false => format!("gtid_mode={mode}, enforce_gtid_consistency={}", variables.get("enforce_gtid_consistency")?),
    };
    Some(Finding::refuse(
        what,
        "only GTIDs show which commits a value contains, and where to continue after a failover",
        fix.join("; "),
    ))
}

/// Checks that rows are logged as complete images.
fn format(variables: &Variables) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(format) = variables.get("binlog_format").filter(|format| *format != "ROW") {
        findings.push(Finding::refuse(
            format!("binlog_format={format}"),
            "statements do not name the rows that they change",
            "SET PERSIST binlog_format=ROW, then reconnect the applications: a session keeps the value that it started with",
        ));
    }
    if let Some(image) = variables.get("binlog_row_image").filter(|image| *image != "FULL") {
        findings.push(Finding::refuse(
            format!("binlog_row_image={image}"),
            "the images lack columns that keys are made of",
            "SET PERSIST binlog_row_image=FULL, then reconnect the applications: a session keeps the value that it started with",
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(changes: &[(&str, &str)]) -> Vec<String> {
        let good = [
            ("version", "9.7.4"),
            ("log_bin", "ON"),
            ("gtid_mode", "ON"),
            ("enforce_gtid_consistency", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_value_options", ""),
            ("binlog_row_metadata", "FULL"),
            ("binlog_expire_logs_seconds", "2592000"),
        ];
        let variables = good.iter().chain(changes).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        check(&Variables(variables), &BinlogSettings::default()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_server_with_the_right_settings_has_no_findings() {
        assert!(findings(&[]).is_empty());
        assert!(findings(&[("binlog_expire_logs_seconds", "0")]).is_empty(), "0 keeps the logs forever");
    }

    #[test]
    fn each_wrong_setting_has_the_sql_that_fixes_it() {
        for (name, value, fix) in [
            ("log_bin", "OFF", "--log-bin"),
            ("binlog_format", "STATEMENT", "SET PERSIST binlog_format=ROW"),
            ("binlog_row_image", "MINIMAL", "SET PERSIST binlog_row_image=FULL"),
            ("binlog_row_value_options", "PARTIAL_JSON", "SET PERSIST binlog_row_value_options=''"),
            ("binlog_row_metadata", "MINIMAL", "SET PERSIST binlog_row_metadata=FULL"),
            ("binlog_checksum", "NONE", "SET PERSIST binlog_checksum=CRC32"),
            ("binlog_expire_logs_seconds", "600", "SET PERSIST binlog_expire_logs_seconds=86400"),
            ("version", "5.7.44", "MySQL 8.0"),
        ] {
            let findings = findings(&[(name, value)]);
            assert_eq!(findings.len(), 1, "{name}");
            assert!(findings[0].contains(fix), "{}", findings[0]);
        }
    }

    #[test]
    fn gtids_are_turned_on_step_by_step_from_the_current_mode() {
        let off = findings(&[("gtid_mode", "OFF"), ("enforce_gtid_consistency", "OFF")]);
        assert!(off[0].ends_with(
            "SET PERSIST enforce_gtid_consistency=ON; SET PERSIST gtid_mode=OFF_PERMISSIVE; SET PERSIST \
             gtid_mode=ON_PERMISSIVE; SET PERSIST gtid_mode=ON"
        ));
        assert!(findings(&[("gtid_mode", "ON_PERMISSIVE")])[0].ends_with("fix it: SET PERSIST gtid_mode=ON"));
    }
}
