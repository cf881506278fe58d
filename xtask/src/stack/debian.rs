//! Debian packages unpacked into a folder of their own, and run from there. Nothing is installed.
//!
//! apt gets a state of its own with an empty list of installed packages, so that it names everything that a program
//! needs, the C library included; the program then runs under that library's own loader. So a server of Debian's
//! unstable suite runs on any older Debian.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    exec,
    failure::{Context, Failure, Result},
    path::on_path,
};

/// Packages whose names begin so are needed by maintainer scripts, never by a server that is merely run.
const NOT_LOADED: [&str; 4] = ["libperl", "libc-l10n", "libpam", "libc-dev"];

/// Where packages are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suite {
    /// What this machine's own apt is set up for.
    Machine,
    /// Debian unstable, from the mirror that this machine's apt uses.
    Sid,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Sid => "sid",
        }
    }
}

/// True if this machine has the two programs that this module drives.
pub(super) fn is_available() -> bool {
    on_path("apt-get").is_some() && on_path("dpkg").is_some()
}

/// An unpacked tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Unpacks `packages` and all that they load into `<dir>/<suite>-<name>`, unless that is there already.
    pub(crate) fn unpack(dir: &Path, suite: Suite, name: &str, packages: &[&str]) -> Result<Self> {
        let root = dir.join(format!("{}-{name}", suite.name()));
        if root.exists() {
            return Ok(Self { root });
        }
        eprintln!("stack: unpacking {} from Debian ({})", packages.join(", "), suite.name());
        let apt = Apt::new(&dir.join(format!("apt-{}", suite.name())), suite)?;
        let archives = match apt.download(packages) {
            Ok(archives) => archives,
            // Unstable moves several times a day: a list of this morning may name packages that are gone.
            Err(_) => {
                exec::check_interrupted()?;
                apt.update()?;
                apt.download(packages)?
            }
        };
        let partial = root.with_extension("partial");
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(&partial)?;
        for archive in &archives {
            exec::text(Command::new("dpkg").arg("-x").arg(archive).arg(&partial))?;
            let _ = fs::remove_file(archive);
        }
        fs::rename(&partial, &root).context(|| format!("could not move {}", partial.display()))?;
        Ok(Self { root })
    }

    /// A path inside the tree, if it is there.
    pub(super) fn file(&self, path: &str) -> Result<PathBuf> {
        let path = self.root.join(path);
        if path.exists() { Ok(path) } else { Err(Failure::new(format!("the packages hold no {}", path.display()))) }
    }

    /// Writes a script that runs `program` of this tree under the tree's own loader, with `arguments` first.
    pub(crate) fn wrap(&self, program: &str, arguments: &str, script: &Path) -> Result<()> {
        let program = self.file(program)?;
        let program = program.display();
        let root = self.root.display();
        let libraries = self.library_dirs();
        let paths: Vec<String> = libraries.iter().map(|dir| dir.display().to_string()).collect();
        let loader = self.loader()?;
        let modules = libraries.iter().map(|dir| dir.join("ossl-modules")).find(|dir| dir.exists());
        let export = modules.map_or_else(String::new, |dir| format!("export OPENSSL_MODULES='{}'\n", dir.display()));
        write_script(
            script,
            &format!(
                "# runs a program of {root} with that folder's own C library\n{export}exec '{}' --library-path '{}' \
                 --argv0 '{program}' '{program}' {arguments} \"$@\"\n",
                loader.display(),
                paths.join(":"),
            ),
        )
    }

    fn library_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = Vec::new();
        for parent in ["usr/lib", "lib"] {
            for entry in fs::read_dir(self.root.join(parent)).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().contains("-linux-gnu") {
                    dirs.push(entry.path());
                }
            }
        }
        dirs.extend(Some(self.root.join("usr/lib/mysql/private")).filter(|dir| dir.exists()));
        dirs
    }

    fn loader(&self) -> Result<PathBuf> {
        let places = ["usr/lib64", "lib64", "usr/lib", "lib"].map(|place| self.root.join(place));
        for place in places.into_iter().chain(self.library_dirs()) {
            for entry in fs::read_dir(place).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name.starts_with("ld-linux") && name.contains(".so.") && entry.path().exists() {
                    return Ok(entry.path());
                }
            }
        }
        Err(Failure::new(format!("no loader in {}: is this a machine type that Debian has?", self.root.display())))
    }
}

/// Writes an executable shell script.
pub(super) fn write_script(path: &Path, body: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{body}")).context(|| format!("could not write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// apt with a state of its own.
struct Apt {
    dir: PathBuf,
    suite: Suite,
}

impl Apt {
    fn new(dir: &Path, suite: Suite) -> Result<Self> {
        let apt = Self { dir: dir.to_owned(), suite };
        for part in ["state/lists/partial", "cache/archives/partial", "none", "archives"] {
            fs::create_dir_all(dir.join(part))?;
        }
        fs::write(dir.join("status"), "")?;
        if suite == Suite::Sid {
            let mirror = mirror()?;
            fs::write(
                dir.join("sources.list"),
                format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} sid main\n"),
            )?;
        }
        if !dir.join("updated").exists() {
            apt.update()?;
        }
        Ok(apt)
    }

    fn update(&self) -> Result<()> {
        exec::text(self.command().arg("update"))
            .context(|| format!("the package lists of Debian ({}) could not be fetched", self.suite.name()))?;
        fs::write(self.dir.join("updated"), "")?;
        Ok(())
    }

    /// Downloads what `packages` need in order to run.
    fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let names = self.closure(packages)?;
        let archives = self.dir.join("archives");
        exec::text(self.command().arg("download").args(&names).current_dir(&archives))?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&archives)? {
            found.push(entry?.path());
        }
        if found.len() < names.len() {
            return Err(Failure::new(format!("apt brought {} of {} packages", found.len(), names.len())));
        }
        Ok(found)
    }

    /// Names of `packages` and of all libraries that they load.
    fn closure(&self, packages: &[&str]) -> Result<Vec<String>> {
        let plan = exec::text(self.command().arg("--simulate").arg("install").args(packages)).context(|| {
            format!(
                "Debian ({}) cannot install {} at the moment. Wait for its archive to settle, or give servers of \
                 your own (see `cargo xtask stack up --help`)",
                self.suite.name(),
                packages.join(", ")
            )
        })?;
        let planned = plan.lines().filter_map(|line| line.strip_prefix("Inst ")?.split([' ', ':']).next());
        let is_loaded = |name: &&str| {
            let is_library =
                name.starts_with("lib") || name.starts_with("zlib") || name.starts_with("openssl-provider");
            packages.contains(name) || (is_library && !NOT_LOADED.iter().any(|prefix| name.starts_with(prefix)))
        };
        Ok(planned.filter(is_loaded).map(str::to_owned).collect())
    }

    fn command(&self) -> Command {
        let dir = self.dir.display();
        let mut options = vec![
            format!("Dir::State={dir}/state"),
            format!("Dir::State::status={dir}/status"),
            format!("Dir::Cache={dir}/cache"),
            "APT::Sandbox::User=root".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false".to_owned(),
        ];
        if self.suite == Suite::Sid {
            options.extend([
                format!("Dir::Etc::sourcelist={dir}/sources.list"),
                format!("Dir::Etc::sourceparts={dir}/none"),
                format!("Dir::Etc::preferences={dir}/none/preferences"),
                format!("Dir::Etc::preferencesparts={dir}/none"),
            ]);
        }
        let mut command = Command::new("apt-get");
        command.env("LC_ALL", "C").env("DEBIAN_FRONTEND", "noninteractive").arg("--quiet");
        for option in options {
            command.arg("--option").arg(option);
        }
        command
    }
}

/// The mirror from which this machine gets Debian itself. `CACHEFRONT_DEBIAN_MIRROR` overrides it.
fn mirror() -> Result<String> {
    if let Some(mirror) = env::var("CACHEFRONT_DEBIAN_MIRROR").ok().filter(|mirror| !mirror.is_empty()) {
        return Ok(mirror);
    }
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| line == "ID=debian") {
        return Err(Failure::new(
            "this machine is not Debian, so its package mirror has no MySQL that we could unpack. Install MySQL 8.0.30 or \
             newer so that `mysqld` is on the PATH, start a container engine, or set CACHEFRONT_DEBIAN_MIRROR",
        ));
    }
    let targets = exec::text(
        // Without release information the targets are named even before the first `apt-get update`.
        Command::new("apt-get").args(["indextargets", "--no-release-info", "--format", "$(REPO_URI) $(RELEASE)"]),
    )?;
    let of_suite = |line: &str| -> Option<String> {
        let (uri, suite) = line.split_once(' ')?;
        (!suite.contains('-') && !uri.contains("security")).then(|| uri.to_owned())
    };
    targets
        .lines()
        .find_map(of_suite)
        .ok_or_else(|| Failure::new("apt knows no mirror of Debian: is /etc/apt/sources.list.d empty?"))
}
