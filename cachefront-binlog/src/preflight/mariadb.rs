//! Checks the settings of a server of MariaDB:
//!
//! | variable | required | otherwise |
//! |---|---|---|
//! | `version` | 10.5 or later | refused |
//! | `log_bin` | `ON` | refused |
//! | `gtid_strict_mode` | `ON` | refused |
//! | `binlog_format` | `ROW` | refused |
//! | `binlog_row_image` | `FULL` | refused |
//! | `binlog_row_metadata` | `FULL` | warning |
//! | `binlog_checksum` | `CRC32` | warning |
//! | `binlog_expire_logs_seconds` | `retention_min` or longer | warning |
//! | `log_slave_updates` | `ON` | warning |

use crate::config::BinlogSettings;
use crate::preflight::finding::Finding;
use crate::preflight::kept::{Words, warnings};
use crate::preflight::queries::Variables;

/// How it names what the warnings are about.
const WORDS: Words = Words {
    set,
    updates: "log_slave_updates",
    updates_on: "start mariadbd with --log-slave-updates, or follow the primary",
};

/// Checks the global variables.
pub(crate) fn check(variables: &Variables, settings: &BinlogSettings) -> Vec<Finding> {
    if variables.version() < (10, 5) {
        return vec![Finding::refuse(
            format!("the server is {}", variables.get("version").unwrap_or_default()),
            "logs of MariaDB 10.5 or later are known",
            "use MariaDB 10.5 or later",
        )];
    }
    let mut findings = Vec::new();
    if !variables.is("log_bin", "ON") {
        findings.push(Finding::refuse(
            "log_bin=OFF",
            "the server writes no binary log, so it has no changes to read",
            "start mariadbd with --log-bin",
        ));
    }
    let required = [
        (
            "gtid_strict_mode",
            "ON",
            "numbers of transactions may go back, so a position does not show what a value contains",
        ),
        ("binlog_format", "ROW", "statements do not name the rows that they change"),
        ("binlog_row_image", "FULL", "the images lack columns that keys are made of"),
    ];
    for (name, value, why) in required {
        if let Some(found) = variables.get(name).filter(|_| !variables.is(name, value)) {
            findings.push(Finding::refuse(format!("{name}={found}"), why, set(name, value)));
        }
    }
    findings.extend(warnings(variables, settings, &WORDS));
    findings
}

/// The SQL that sets a variable. MariaDB has none that also keeps it over a restart.
fn set(name: &str, value: &str) -> String {
    format!(
        "SET GLOBAL {name}={value}, the same in the server's configuration file, then reconnect the applications: a session \
         keeps the value that it started with"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_setting_has_the_sql_that_fixes_it() {
        let good = [
            ("version", "10.11.19-MariaDB-log"),
            ("log_bin", "ON"),
            ("gtid_strict_mode", "ON"),
            ("binlog_format", "ROW"),
            ("binlog_row_image", "FULL"),
            ("binlog_row_metadata", "FULL"),
            ("binlog_expire_logs_seconds", "0"),
            ("log_slave_updates", "ON"),
        ];
        let findings = |change: (&str, &str)| -> Vec<Finding> {
            let variables =
                good.iter().chain([&change]).map(|(name, value)| ((*name).into(), (*value).into())).collect();
            check(&Variables(variables), &BinlogSettings::default())
        };
        assert!(findings(good[0]).is_empty());
        for (name, value, refuse, fix) in [
            ("version", "10.4.1-MariaDB", true, "use MariaDB 10.5"),
            ("log_bin", "OFF", true, "--log-bin"),
            ("gtid_strict_mode", "OFF", true, "SET GLOBAL gtid_strict_mode=ON"),
            ("binlog_format", "MIXED", true, "SET GLOBAL binlog_format=ROW"),
            ("binlog_row_image", "MINIMAL", true, "SET GLOBAL binlog_row_image=FULL"),
            ("binlog_row_metadata", "NO_LOG", false, "SET GLOBAL binlog_row_metadata=FULL"),
            ("binlog_checksum", "NONE", false, "SET GLOBAL binlog_checksum=CRC32"),
            ("binlog_expire_logs_seconds", "60", false, "SET GLOBAL binlog_expire_logs_seconds=86400"),
            ("log_slave_updates", "OFF", false, "--log-slave-updates"),
        ] {
            let found = findings((name, value));
            assert!(found.len() == 1 && found[0].refuse == refuse && found[0].fix.contains(fix), "{name}: {found:?}");
        }
    }
}
