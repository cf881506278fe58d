//! How Kafka's Java programs are started: little memory, and a start that is fast rather than a peak that is high.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Memory of one program's heap.
const HEAP: &str = "-Xmx384m";

const FLAGS: [&str; 6] = [
    "-Xms64m",
    "-XX:+UseSerialGC",
    // The second compiler pays for itself only after minutes.
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.net.preferIPv4Stack=true",
];

const LOGGING: &str = "status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
";

/// A process of Kafka's `class` that logs to its standard output; its logging is set up by a file in `dir`.
///
/// # Errors
/// If the file cannot be written.
pub fn command_of(java: &Path, libs: &Path, dir: &Path, class: &str) -> io::Result<Command> {
    let logging = dir.join("log4j2.properties");
    fs::write(&logging, LOGGING)?;
    let mut command = Command::new(java);
    command
        .arg(HEAP)
        .args(FLAGS)
        .arg(format!("-Dlog4j2.configurationFile={}", logging.display()))
        .arg("-cp")
        .arg(libs.join("*"))
        .arg(class);
    Ok(command)
}

/// Writes a file of `name=value` lines.
///
/// # Errors
/// If the file cannot be written.
pub fn write_properties(file: &Path, properties: &[(&str, String)]) -> io::Result<PathBuf> {
    let lines: String = properties.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    fs::write(file, lines)?;
    Ok(file.to_owned())
}
