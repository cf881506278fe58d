//! MariaDB's programs: found in the environment, or unpacked from Debian's packages. Tests start servers of their own.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use cachefront_stack::{environment as names, mysql};

use super::{
    debian::{Suite, Tree},
    programs::{first_arguments, require_debian},
    state::State,
};
use crate::{
    exec,
    failure::{Context, Failure, Result},
    path::given,
};

/// One release of MariaDB.
#[derive(Debug)]
pub(super) struct MariaDb {
    server: PathBuf,
    /// The folder of the scripts that make the system tables.
    share: PathBuf,
    name: &'static str,
}

impl MariaDb {
    /// That of this machine's Debian: 10.11 on Debian 12.
    pub(super) fn of_machine(dir: &Path, state: &mut State) -> Result<()> {
        Self::provide(dir, state, Suite::Machine, "mariadb", [names::MARIADBD, names::MARIADB_TEMPLATE])
    }

    /// That of Debian unstable: 11.8 or later.
    pub(super) fn of_sid(dir: &Path, state: &mut State) -> Result<()> {
        Self::provide(dir, state, Suite::Sid, "mariadb-new", [names::MARIADBD_NEW, names::MARIADB_NEW_TEMPLATE])
    }

    /// Exports the program and an initialised data directory.
    fn provide(
        dir: &Path,
        state: &mut State,
        suite: Suite,
        name: &'static str,
        [program, template]: [&'static str; 2],
    ) -> Result<()> {
        if let (Some(server), Some(data)) = (given(program), given(template)) {
            state.set_path(program, &server);
            state.set_path(template, &data);
            return Ok(());
        }
        let found = Self::unpack(dir, suite, name)?;
        let data = found.template(dir)?;
        state.set_path(program, &found.server);
        state.set_path(template, &data);
        Ok(())
    }

    fn unpack(dir: &Path, suite: Suite, name: &'static str) -> Result<Self> {
        require_debian()?;
        let tree = Tree::unpack(&dir.join("programs"), suite, name, &["mariadb-server-core"])?;
        let usr = tree.file("usr")?;
        let mut share = ["usr/share/mysql", "usr/share/mariadb"].into_iter().filter_map(|share| tree.file(share).ok());
        let share = share.find(|share| scripts(share).is_some());
        let share = share.ok_or_else(|| Failure::new("the packages of MariaDB hold no system tables"))?;
        let base = format!(
            "{} --basedir='{usr}' --lc-messages-dir='{share}' --character-sets-dir='{share}/charsets' \
             --plugin-dir='{usr}/lib/mysql/plugin'",
            first_arguments(),
            usr = usr.display(),
            share = share.display()
        );
        let server = dir.join("bin").join(format!("{name}d"));
        tree.wrap("usr/sbin/mariadbd", &base, &server)?;
        Ok(Self { server, share, name })
    }

    /// An initialised data directory with the administrator in it, made once.
    fn template(&self, dir: &Path) -> Result<PathBuf> {
        let version = exec::text(Command::new(&self.server).arg("--version"))
            .context(|| format!("{} does not run", self.server.display()))?;
        let template = dir.join(format!("template-{}", self.name));
        let (stamp, data) = (template.join("made-by"), template.join("data"));
        let made_by = format!("{} {} {}\n", version.trim(), mysql::ADMIN, mysql::ADMIN_PASSWORD);
        if fs::read_to_string(&stamp).is_ok_and(|found| found == made_by) {
            return Ok(data);
        }
        let _ = fs::remove_dir_all(&template);
        fs::create_dir_all(data.join("mysql"))?;
        let mut sql = String::from(
            "create database if not exists mysql;\nuse mysql;\nset @auth_root_socket=NULL;\nset @skip_auth_anonymous=1;\n",
        );
        for script in scripts(&self.share).unwrap_or_default() {
            sql.push_str(&fs::read_to_string(&script).context(|| format!("{} cannot be read", script.display()))?);
        }
        let admin = format!("'{}'@'%'", mysql::ADMIN);
        sql.push_str(&format!(
            "flush privileges;\ncreate user {admin} identified by '{}';\ngrant all on *.* to {admin} with grant option;\n",
            mysql::ADMIN_PASSWORD
        ));
        let script = template.join("bootstrap.sql");
        fs::write(&script, sql)?;
        let log = template.join("bootstrap.log");
        let output = File::create(&log)?;
        let made = Command::new(&self.server)
            .arg(format!("--datadir={}", data.display()))
            .args(["--bootstrap", "--skip-log-bin", "--innodb-log-file-size=8M"])
            .stdin(File::open(&script)?)
            .stdout(Stdio::from(output.try_clone()?))
            .stderr(Stdio::from(output))
            .status()?;
        if !made.success() {
            let text = format!("MariaDB could not make its data directory: see {}", log.display());
            return Err(Failure::new(text));
        }
        fs::write(stamp, made_by)?;
        Ok(data)
    }
}

/// The scripts that make the system tables. `None` if the folder has none.
fn scripts(share: &Path) -> Option<Vec<PathBuf>> {
    ["mysql", "mariadb"].iter().find_map(|prefix| {
        let scripts = ["system_tables", "performance_tables", "system_tables_data"]
            .map(|script| share.join(format!("{prefix}_{script}.sql")));
        scripts.iter().all(|script| script.exists()).then(|| scripts.to_vec())
    })
}
