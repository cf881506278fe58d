//! Programs and variables of this machine.

use std::{
    env,
    path::{Path, PathBuf},
};

/// Where servers are installed although the PATH of a user may lack it.
const SERVERS: [&str; 3] = ["/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin"];

/// The first program of that name on the PATH or where servers are installed.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(SERVERS.iter().map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|file| is_program(file))
}

/// True if the file can be run.
pub(crate) fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The value of a variable that is set and not empty.
pub(crate) fn given(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
