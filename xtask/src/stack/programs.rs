//! The programs of the servers: named in the environment, found on the PATH, or unpacked from Debian's packages.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use cachefront_stack::environment as names;

use super::{
    debian::{self, Suite, Tree},
    state::State,
};
use crate::{
    exec,
    failure::{Context, Failure, Result},
    path::{given, on_path},
};

/// Oldest server whose binary log names the columns (`binlog_row_metadata`) and whose redo log has one size.
const MYSQL_OLDEST: (u32, u32, u32) = (8, 0, 30);
/// Oldest server that we test with.
const REDIS_OLDEST: (u32, u32, u32) = (6, 2, 0);

/// MySQL's programs.
#[derive(Debug)]
pub(super) struct MySql {
    pub(super) server: PathBuf,
    pub(super) client: PathBuf,
    pub(super) binlog: Option<PathBuf>,
    /// The server's version, as it prints it.
    pub(super) version: String,
}

/// Redis's programs.
#[derive(Debug)]
pub(super) struct Redis {
    pub(super) server: PathBuf,
    pub(super) cli: Option<PathBuf>,
}

impl MySql {
    /// Finds the programs or gets them; the error names what is missing and how to get it.
    pub(super) fn find(dir: &Path) -> Result<Self> {
        match (Self::from_environment(), Self::from_path(dir)?) {
            (Some(found), _) | (None, Some(found)) => found.checked(),
            (None, None) => Self::unpack(dir)
                .context(|| {
                    missing("MySQL 8.0.30 or newer", "mysqld and mysql", "mysql-server-core and mysql-client-core")
                })?
                .checked(),
        }
    }

    pub(super) fn export(&self, state: &mut State) {
        state.set_path(names::MYSQLD, &self.server);
        state.set_path(names::MYSQL_CLIENT, &self.client);
        if let Some(binlog) = &self.binlog {
            state.set_path(names::MYSQLBINLOG, binlog);
        }
    }

    fn from_environment() -> Option<Self> {
        let server = given(names::MYSQLD)?;
        let client = given(names::MYSQL_CLIENT).or_else(|| on_path("mysql"))?;
        let binlog = given(names::MYSQLBINLOG).or_else(|| on_path("mysqlbinlog"));
        Some(Self { server, client, binlog, version: String::new() })
    }

    fn from_path(dir: &Path) -> Result<Option<Self>> {
        let (Some(server), Some(client)) = (on_path("mysqld"), on_path("mysql")) else { return Ok(None) };
        let said = exec::text(Command::new(&server).args(["--no-defaults", "--version"])).unwrap_or_default();
        if said.contains("MariaDB") || version(&said) < Some(MYSQL_OLDEST) {
            return Ok(None);
        }
        let script = dir.join("bin/mysqld");
        debian::write_script(&script, &format!("exec '{}' {} \"$@\"\n", server.display(), first_arguments()))?;
        Ok(Some(Self { server: script, client, binlog: on_path("mysqlbinlog"), version: String::new() }))
    }

    fn unpack(dir: &Path) -> Result<Self> {
        require_debian()?;
        let packages = ["mysql-server-core", "mysql-client-core"];
        let tree = Tree::unpack(&dir.join("programs"), Suite::Sid, "mysql", &packages)?;
        let usr = tree.file("usr")?;
        let base = format!(
            "{} --basedir='{usr}' --lc-messages-dir='{usr}/share/mysql' --character-sets-dir='{usr}/share/mysql/charsets' \
             --plugin-dir='{usr}/lib/mysql/plugin'",
            first_arguments(),
            usr = usr.display()
        );
        let script = |name: &str| dir.join("bin").join(name);
        tree.wrap("usr/sbin/mysqld", &base, &script("mysqld"))?;
        tree.wrap("usr/bin/mysql", "", &script("mysql"))?;
        tree.wrap("usr/bin/mysqlbinlog", "", &script("mysqlbinlog"))?;
        Ok(Self {
            server: script("mysqld"),
            client: script("mysql"),
            binlog: Some(script("mysqlbinlog")),
            version: String::new(),
        })
    }

    fn checked(mut self) -> Result<Self> {
        self.version = exec::text(Command::new(&self.server).arg("--version"))
            .context(|| format!("{} does not run", self.server.display()))?
            .trim()
            .to_owned();
        Ok(self)
    }
}

impl Redis {
    /// Finds the programs or gets them; the error names what is missing and how to get it.
    pub(super) fn find(dir: &Path) -> Result<Self> {
        if let Some(server) = given(names::REDIS_SERVER) {
            return Ok(Self { server, cli: given(names::REDIS_CLI).or_else(|| on_path("redis-cli")) });
        }
        let server = on_path("redis-server").or_else(|| on_path("valkey-server"));
        if let Some(server) = server {
            let said = exec::text(Command::new(&server).arg("--version")).unwrap_or_default();
            if version(&said) >= Some(REDIS_OLDEST) {
                return Ok(Self { server, cli: on_path("redis-cli").or_else(|| on_path("valkey-cli")) });
            }
        }
        Self::unpack(dir).context(|| missing("Redis 6.2 or newer", "redis-server", "redis-server"))
    }

    pub(super) fn export(&self, state: &mut State) {
        state.set_path(names::REDIS_SERVER, &self.server);
        if let Some(cli) = &self.cli {
            state.set_path(names::REDIS_CLI, cli);
        }
    }

    fn unpack(dir: &Path) -> Result<Self> {
        require_debian()?;
        let packages = ["redis-server", "redis-tools"];
        let tree = Tree::unpack(&dir.join("programs"), Suite::Machine, "redis", &packages)?;
        let (server, cli) = (dir.join("bin/redis-server"), dir.join("bin/redis-cli"));
        tree.wrap("usr/bin/redis-server", "", &server)?;
        tree.wrap("usr/bin/redis-cli", "", &cli)?;
        Ok(Self { server, cli: Some(cli) })
    }
}

/// Valkey, which tests start next to Redis.
pub(super) struct Valkey(PathBuf);

impl Valkey {
    /// Finds the program or gets it: the newest is in Debian unstable.
    pub(super) fn find(dir: &Path) -> Result<Self> {
        if let Some(server) = given(names::VALKEY_SERVER).or_else(|| on_path("valkey-server")) {
            return Ok(Self(server));
        }
        require_debian()?;
        let packages = ["valkey-server", "valkey-tools"];
        let tree = Tree::unpack(&dir.join("programs"), Suite::Sid, "valkey", &packages)?;
        let server = dir.join("bin/valkey-server");
        tree.wrap("usr/bin/valkey-server", "", &server)?;
        Ok(Self(server))
    }

    pub(super) fn export(&self, state: &mut State) {
        state.set_path(names::VALKEY_SERVER, &self.0);
    }
}

/// What every `mysqld` gets before all else: no configuration of this machine, and leave to run as root in a container.
pub(super) fn first_arguments() -> &'static str {
    if rustix::process::getuid().is_root() { "--no-defaults --user=root" } else { "--no-defaults" }
}

pub(super) fn require_debian() -> Result<()> {
    if debian::is_available() { Ok(()) } else { Err(Failure::new("apt-get and dpkg are not there to unpack it")) }
}

fn missing(what: &str, programs: &str, packages: &str) -> String {
    format!(
        "{what} is missing: there is no container engine that responds (`docker info`), no {programs} on the PATH \
         (Debian and Ubuntu: the packages {packages}), and unpacking those failed"
    )
}

/// The first `a.b.c` in a text.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(|word| {
        let mut parts = word.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??, parts.next()??))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_version_in_what_servers_print() {
        for (text, expected) in [
            ("/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", Some((9, 7, 4))),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", Some((7, 0, 15))),
            ("mysqld  Ver 10.11.6-MariaDB", Some((10, 11, 6))),
            ("nothing", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }
}
