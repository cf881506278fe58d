//! Kafka, Kafka Connect and Debezium, fetched by Maven with this machine's own configuration, and kept.
//!
//! The programs are jars: they run on any Java from 17 on.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use cachefront_stack::environment as names;

use super::state::State;
use crate::{
    exec,
    failure::{Context, Failure, Result},
    path::{given, on_path},
};

/// The broker, Connect and the tools, which belong together.
const KAFKA: &str = "4.3.1";
/// What Kafka's programs log through.
const LOG4J: &str = "2.25.4";
/// Debezium's connector for MySQL.
const DEBEZIUM: &str = "3.6.1.Final";
/// Oldest Java that runs them.
const JAVA_OLDEST: u32 = 17;

const KAFKA_ARTIFACTS: [&str; 5] =
    ["kafka_2.13", "kafka-tools", "connect-runtime", "connect-json", "connect-transforms"];

/// What runs Kafka and Connect.
#[derive(Debug, Clone)]
pub(super) struct Kafka {
    java: PathBuf,
    /// Folder of all jars of Kafka and Connect.
    libs: PathBuf,
    /// Folder of Connect's plug-ins.
    plugins: PathBuf,
}

impl Kafka {
    /// Finds the programs or gets them; the error names what is missing and how to get it.
    pub(super) fn find(dir: &Path) -> Result<Self> {
        let java = java()?;
        if let (Some(libs), Some(plugins)) = (given(names::KAFKA_LIBS), given(names::CONNECT_PLUGINS)) {
            return Ok(Self { java, libs, plugins });
        }
        let programs = dir.join("programs");
        // Two downloads that do not wait for each other.
        let (libs, plugins) = thread::scope(|scope| {
            let plugins = scope.spawn(|| debezium(&programs));
            let libs = kafka(&programs);
            let plugins = plugins.join().unwrap_or_else(|_| Err(Failure::new("the download of Debezium failed")));
            (libs, plugins)
        });
        Ok(Self { java, libs: libs?, plugins: plugins? })
    }

    pub(super) fn export(&self, state: &mut State) {
        state.set_path(names::JAVA, &self.java);
        state.set_path(names::KAFKA_LIBS, &self.libs);
        state.set_path(names::CONNECT_PLUGINS, &self.plugins);
    }

    /// A Java process of one of Kafka's classes; see [`cachefront_stack::jvm`].
    pub(super) fn command(&self, dir: &Path, class: &str) -> Result<Command> {
        cachefront_stack::jvm::command_of(&self.java, &self.libs, dir, class)
            .context(|| format!("could not write into {}", dir.display()))
    }

    /// Name of the programs' folder, which holds their version.
    pub(super) fn name(&self) -> String {
        self.libs.file_name().map_or_else(|| "given".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    pub(super) fn plugins(&self) -> &Path {
        &self.plugins
    }
}

fn java() -> Result<PathBuf> {
    let of_home = given("JAVA_HOME").map(|home| home.join("bin/java")).filter(|java| java.exists());
    let advice = format!(
        "Java {JAVA_OLDEST} or newer is missing, which Kafka needs: install it (Debian and Ubuntu: the package \
         openjdk-17-jre-headless), name it in {}, start a container engine, or name servers of your own in {} and {}",
        names::JAVA,
        names::KAFKA_BROKERS,
        names::CONNECT_URL
    );
    let Some(java) = given(names::JAVA).or(of_home).or_else(|| on_path("java")) else {
        return Err(Failure::new(advice));
    };
    // Java prints its version where errors go.
    let said = exec::output(Command::new(&java).arg("-version"))?;
    match version(&String::from_utf8_lossy(&said.stderr)) {
        Some(found) if found >= JAVA_OLDEST => Ok(java),
        found => Err(Failure::new(format!("{} is {found:?}: {advice}", java.display()))),
    }
}

/// The first number of `version "17.0.15"`; `1.8` is below every version that we accept.
fn version(text: &str) -> Option<u32> {
    text.split('"').nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

/// Folder of the broker's, Connect's and the tools' jars, with all that they need.
fn kafka(programs: &Path) -> Result<PathBuf> {
    fetch(programs, &format!("kafka-{KAFKA}"), |partial| {
        let dependency = |group: &str, artifact: &str, version: &str| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>\
                 </dependency>"
            )
        };
        let mut dependencies: String =
            KAFKA_ARTIFACTS.iter().map(|artifact| dependency("org.apache.kafka", artifact, KAFKA)).collect();
        dependencies.push_str(&dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J));
        let project = programs.join("kafka-pom.xml");
        fs::write(
            &project,
            format!(
                "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
                 <groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>\
                 <dependencies>{dependencies}</dependencies></project>\n"
            ),
        )?;
        exec::text(
            maven()?
                .arg("--file")
                .arg(&project)
                .args(["dependency:copy-dependencies", "-DincludeScope=runtime"])
                .arg(format!("-DoutputDirectory={}", partial.display())),
        )
    })
}

/// Folder that holds Debezium as Connect wants it: one folder for each plug-in.
fn debezium(programs: &Path) -> Result<PathBuf> {
    fetch(programs, &format!("debezium-{DEBEZIUM}"), |partial| {
        let archives = partial.join("archive");
        exec::text(
            maven()?
                .arg("dependency:copy")
                .arg(format!("-Dartifact=io.debezium:debezium-connector-mysql:{DEBEZIUM}:tar.gz:plugin"))
                .arg(format!("-DoutputDirectory={}", archives.display())),
        )?;
        for archive in fs::read_dir(&archives)? {
            exec::text(Command::new("tar").arg("-xzf").arg(archive?.path()).arg("-C").arg(partial))?;
        }
        fs::remove_dir_all(&archives)?;
        Ok(String::new())
    })
}

/// The folder `name`, made by `fill` unless it is there; a fill that was cut short leaves nothing that counts.
fn fetch(programs: &Path, name: &str, fill: impl FnOnce(&Path) -> Result<String>) -> Result<PathBuf> {
    let folder = programs.join(name);
    if folder.exists() {
        return Ok(folder);
    }
    eprintln!("stack: fetching {name} with Maven");
    let partial = programs.join(format!("{name}.partial"));
    let _ = fs::remove_dir_all(&partial);
    fs::create_dir_all(&partial)?;
    fill(&partial).context(|| {
        format!(
            "{name} could not be fetched: check the network and Maven's settings, or name servers of your own in {} \
             and {}",
            names::KAFKA_BROKERS,
            names::CONNECT_URL
        )
    })?;
    fs::rename(&partial, &folder).context(|| format!("could not move {}", partial.display()))?;
    Ok(folder)
}

fn maven() -> Result<Command> {
    let Some(program) = on_path("mvn") else {
        return Err(Failure::new(
            "Maven is missing: install it so that `mvn` is on the PATH (Debian: the package maven)",
        ));
    };
    let mut command = Command::new(program);
    command.args(["--batch-mode", "--quiet", "--no-transfer-progress"]);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_that_java_prints() {
        for (text, expected) in [
            ("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime Environment", Some(17)),
            ("openjdk version \"21\" 2023-09-19", Some(21)),
            ("java version \"1.8.0_392\"", Some(1)),
            ("nothing", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }
}
