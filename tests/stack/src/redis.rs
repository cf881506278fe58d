//! How a Redis of the stack is started.

use std::path::Path;

/// Arguments of a Redis that listens on `port` of 127.0.0.1, writes only into `dir` and saves nothing by itself.
pub fn arguments(dir: &Path, port: u16) -> Vec<String> {
    let dir = dir.display();
    // The process title would replace the command line, by which we know our own processes.
    format!(
        "--bind 127.0.0.1 --port {port} --dir {dir} --appendonly no --daemonize no --set-proc-title no --loglevel notice"
    )
    .split(' ')
    .map(str::to_owned)
    .chain(["--save".to_owned(), String::new()])
    .collect()
}

/// True if the server's log says that it takes connections.
pub fn is_ready(log: &str) -> bool {
    log.contains("Ready to accept connections")
}
