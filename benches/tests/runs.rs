//! Every measurement runs to its end on the servers of the stack. How fast is another matter, and not a test's.

use std::process::Command;

#[test]
fn every_measurement_runs_to_its_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("--once").output().expect("the program starts");
    let (report, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    for name in ["l1_hit_time", "memory_per_entry", "stampede_two_processes_time", "get_many_50", "invalidations"] {
        assert!(report.contains(name), "{name} is missing: {report}");
    }
    for name in ["binlog_rows", "binlog_values", "kafka_events", "kafka_events_full"] {
        assert!(report.contains(name), "{name} is missing: {report}");
    }
}
