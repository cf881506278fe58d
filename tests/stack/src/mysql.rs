//! How a MySQL of the stack is started.

use std::{fs, io, path::Path};

/// User of every server of the stack who may do everything.
pub const ADMIN: &str = "cachefront";
/// Password of [`ADMIN`]. The servers listen on 127.0.0.1 only.
pub const ADMIN_PASSWORD: &str = "cachefront";

/// Arguments, after those of the installation, of a MySQL that listens on `port` of 127.0.0.1, writes only into `data`
/// and logs every row change in full.
///
/// Durability is low, for speed: a test that needs it sets `sync_binlog` and `innodb_flush_log_at_trx_commit` to 1.
pub fn arguments(data: &Path, port: u16) -> Vec<String> {
    let mut arguments = vec![format!("--datadir={}", data.display()), format!("--port={port}")];
    // Relative paths are relative to the data directory; the socket's would soon be too long otherwise.
    let fixed = "--socket=mysqld.sock --pid-file=mysqld.pid --bind-address=127.0.0.1 --skip-name-resolve --mysqlx=OFF \
        --secure-file-priv=NULL --server-id=1 --log-bin=binlog --binlog-format=ROW --binlog-row-image=FULL \
        --binlog-row-metadata=FULL --gtid-mode=ON --enforce-gtid-consistency=ON --sync-binlog=0 \
        --innodb-flush-log-at-trx-commit=2 --innodb-buffer-pool-size=128M --innodb-redo-log-capacity=128M \
        --max-connections=500 --max-allowed-packet=256M --log-error-verbosity=2";
    arguments.extend(fixed.split_whitespace().map(str::to_owned));
    arguments
}

/// Copies the data directory of a stopped server, without its identity.
///
/// # Errors
/// If a file cannot be copied.
pub fn copy_data(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_data(&source, &target)?;
        } else if entry.file_name() != "auto.cnf" {
            // `fs::copy` lets the file system share the blocks where it can.
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// True if the server's log says that it takes connections on `port`.
pub fn is_ready(log: &str, port: u16) -> bool {
    let listens = format!("port: {port} ");
    log.lines().any(|line| line.contains(": ready for connections.") && line.contains(&listens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_on_its_own_port() {
        let log = "[Server] mysqld: ready for connections. Version: '9.7.4'  socket: 'mysqld.sock'  port: 20750  (x).";
        assert!(is_ready(log, 20750));
        assert!(!is_ready(log, 2075));
        assert!(!is_ready("[Server] mysqld (mysqld 9.7.4) starting as process 1", 20750));
    }
}
