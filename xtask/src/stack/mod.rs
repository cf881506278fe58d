//! The servers that tests and examples use.
//!
//! Taken from the environment where it names them, run as containers where an engine responds, else run natively.

mod compose;
pub(crate) mod debian;
mod mariadb;
mod maven;
mod native;
mod programs;
mod state;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
};

use cachefront_stack::environment as names;
use clap::Subcommand;

pub(crate) use self::state::State;
use crate::failure::{Context, Failure, Result};

/// What to do with the servers.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// Starts the servers, unless they run already.
    ///
    /// Servers named by CACHEFRONT_MYSQL_URL, CACHEFRONT_REDIS_URL, CACHEFRONT_KAFKA_BROKERS and CACHEFRONT_CONNECT_URL
    /// are taken as they are (CACHEFRONT_CONNECT_MYSQL_URL and CACHEFRONT_CONNECT_KAFKA_BROKERS say what Connect sees,
    /// if that differs). Else, where `docker info` succeeds, they are containers (CACHEFRONT_STACK=native forbids it).
    /// Else they are processes of this machine: of the programs named by CACHEFRONT_MYSQLD, CACHEFRONT_MYSQL_CLIENT
    /// and CACHEFRONT_REDIS_SERVER, found on the PATH, or unpacked from Debian's packages; Kafka, Connect and Debezium
    /// come through Maven and need Java (JAVA_HOME, CACHEFRONT_JAVA). All they write lies in CACHEFRONT_STACK_DIR
    /// (default: target/stack), and they listen on 127.0.0.1 only.
    Up,
    /// Stops the servers that `up` started, and removes their data.
    Down,
    /// Says what runs. Fails if something that should run does not.
    Status,
    /// Prints what tests need in their environment: `eval "$(cargo xtask stack env)"`.
    Env,
}

/// Runs one command.
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Up => {
            up()?.keep()?;
            status()
        }
        Command::Down => {
            let _lock = lock()?;
            down()
        }
        Command::Status => status(),
        Command::Env => env(),
    }
}

/// A stack that is up, and in use as long as the value lives. The last user stops it, unless [`Up::keep`] was called.
#[derive(Debug)]
pub(crate) struct Up {
    pub(crate) state: State,
    in_use: Option<File>,
}

impl Up {
    /// Leaves the stack running until `down`.
    fn keep(mut self) -> Result<()> {
        self.state.keep = true;
        self.state.save()
    }

    /// Sweeps up after the last user.
    fn end(&mut self) -> Result<()> {
        let _lock = lock()?;
        self.in_use = None;
        let others = use_lock()?;
        if others.try_lock().is_err() {
            return Ok(());
        }
        sweep();
        match State::load()? {
            Some(state) if !state.keep => down(),
            _ => Ok(()),
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        if let Err(failure) = self.end() {
            eprintln!("xtask: {failure}");
        }
    }
}

/// True if a container engine responds.
pub(crate) fn has_engine() -> bool {
    compose::is_available()
}

/// Brings the stack up, or finds it up. On failure nothing stays behind.
pub(crate) fn up() -> Result<Up> {
    let in_use = use_lock()?;
    in_use.lock_shared().context(|| "could not lock the stack".to_owned())?;
    // Before the lock, so that it is dropped after it: on failure and panic it cleans up, and takes the lock for that.
    let mut up = Up { state: State::default(), in_use: Some(in_use) };
    let _lock = lock()?;
    find_or_start(&mut up.state)?;
    Ok(up)
}

fn find_or_start(state: &mut State) -> Result<()> {
    if let Some(found) = State::load()? {
        let alive = !found.servers.is_empty() && found.servers.iter().all(state::Server::is_alive);
        if found.project.is_some() || alive {
            *state = found;
            take_given(state);
            return Ok(());
        }
        down()?;
    }
    start(&dir()?, state)?;
    state.save()
}

fn start(dir: &Path, state: &mut State) -> Result<()> {
    state.set_path(names::STACK_DIR, dir);
    let wanted = take_given(state);
    let contained = !wanted.is_empty() && compose::is_available();
    if contained {
        compose::up(dir, &wanted, state)?;
    }
    // Tests of faults start servers of their own, so the programs are wanted in any case.
    let (mysql, redis, kafka) = thread::scope(|scope| {
        let kafka = scope.spawn(|| maven::Kafka::find(dir));
        let (mysql, redis) = (programs::MySql::find(dir), programs::Redis::find(dir));
        let kafka = kafka.join().unwrap_or_else(|_| Err(Failure::new("the search for Kafka's programs failed")));
        (mysql, redis, kafka)
    });
    let native = |service: &str| !contained && wanted.contains(&service);
    let kafka_wanted = native("kafka") || native("connect");
    // All are started before the first is waited for.
    let mut starting = Vec::new();
    if let Some(programs) = usable(mysql, "a MySQL", native("mysql"))? {
        programs.export(state);
        state.set_path(names::MYSQL_TEMPLATE, &native::template(dir, &programs)?);
        if native("mysql") {
            starting.push(native::start_mysql(dir, &programs, state)?);
        }
    }
    if let Some(valkey) = usable(programs::Valkey::find(dir), "a Valkey", false)? {
        valkey.export(state);
    }
    usable(mariadb::MariaDb::of_machine(dir, state), "a MariaDB", false)?;
    usable(mariadb::MariaDb::of_sid(dir, state), "a newer MariaDB", false)?;
    if let Some(programs) = usable(redis, "a Redis", native("redis"))? {
        programs.export(state);
        if native("redis") {
            starting.push(native::start_redis(dir, &programs, state)?);
        }
    }
    if let Some(programs) = usable(kafka, "a Kafka or a Connect", kafka_wanted)? {
        programs.export(state);
        state.set_path(names::KAFKA_TEMPLATE, &native::kafka_template(dir, &programs)?);
        starting.extend(start_kafka(dir, &programs, native, state)?);
    }
    starting.into_iter().try_for_each(|server| server.finish(dir, state))
}

/// Starts Kafka and Connect as far as they are wanted.
fn start_kafka(
    dir: &Path,
    programs: &maven::Kafka,
    wanted: impl Fn(&str) -> bool,
    state: &mut State,
) -> Result<Vec<native::Starting>> {
    let mut starting = Vec::new();
    if wanted("kafka") {
        starting.push(native::start_kafka(dir, programs, state)?);
    }
    if wanted("connect") {
        let of_environment = || state.environment.get(names::KAFKA_BROKERS).map(String::as_str);
        let brokers =
            starting.first().map(native::Starting::address).or_else(of_environment).unwrap_or_default().to_owned();
        starting.push(native::start_connect(dir, programs, &brokers, state)?);
    }
    Ok(starting)
}

/// The programs, if they were found. Only what is to be started now must be.
fn usable<T>(found: Result<T>, server: &str, needed: bool) -> Result<Option<T>> {
    match found {
        Ok(programs) => Ok(Some(programs)),
        Err(failure) if needed => Err(failure),
        Err(failure) => {
            eprintln!("stack: tests that start {server} of their own will fail: {failure}");
            Ok(None)
        }
    }
}

/// Takes the addresses that the environment names, and returns the services it does not name.
fn take_given(state: &mut State) -> Vec<&'static str> {
    let mut wanted = Vec::new();
    let services = [
        ("mysql", names::MYSQL_URL),
        ("redis", names::REDIS_URL),
        ("kafka", names::KAFKA_BROKERS),
        ("connect", names::CONNECT_URL),
    ];
    for (service, name) in services {
        match std::env::var(name) {
            Ok(url) if !url.is_empty() => state.set(name, url),
            _ => wanted.push(service),
        }
    }
    for name in [names::CONNECT_MYSQL_URL, names::CONNECT_KAFKA_BROKERS] {
        if let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) {
            state.set(name, value);
        }
    }
    wanted
}

/// Stops everything that is remembered, and forgets it.
fn down() -> Result<()> {
    sweep();
    let Some(state) = State::load()? else { return Ok(()) };
    for server in state.servers.iter().rev() {
        server.stop();
        if server.is_alive() {
            return Err(Failure::new(format!("{} (process {}) does not end", server.name, server.pid)));
        }
        let _ = fs::remove_dir_all(&server.mark);
    }
    if let Some(project) = &state.project {
        compose::down(project)?;
    }
    State::forget();
    Ok(())
}

fn status() -> Result<()> {
    let Some(state) = State::load()? else { return Err(Failure::new("no stack is up: `cargo xtask stack up`")) };
    let mut dead = Vec::new();
    for server in &state.servers {
        let alive = server.is_alive();
        let word = if alive { "up" } else { "DOWN" };
        say(&format!("{:<7} {word:<5} 127.0.0.1:{} process {}", server.name, server.port, server.pid));
        if !alive {
            dead.push(server.name.as_str());
        }
    }
    if let Some(project) = &state.project {
        say(compose::status(project)?.trim_end());
    }
    if state.servers.is_empty() && state.project.is_none() {
        say("the servers are those that the environment names");
    }
    if dead.is_empty() { Ok(()) } else { Err(Failure::new(format!("not running: {}", dead.join(", ")))) }
}

fn env() -> Result<()> {
    let Some(state) = State::load()? else { return Err(Failure::new("no stack is up: `cargo xtask stack up`")) };
    for (name, value) in &state.environment {
        say(&format!("export {name}='{}'", value.replace('\'', r"'\''")));
    }
    Ok(())
}

/// Ends private servers of tests that were cut short, and removes their folders.
fn sweep() {
    for entry in fs::read_dir(names::private_dir()).into_iter().flatten().flatten() {
        let dir = entry.path();
        let pid = fs::read_to_string(dir.join("pid")).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid {
            state::stop(pid, &dir);
        }
        let _ = fs::remove_dir_all(dir);
    }
}

/// The stack's folder, made if need be.
fn dir() -> Result<PathBuf> {
    let dir = names::dir();
    for part in ["bin", "data", "log", "programs", "private"] {
        fs::create_dir_all(dir.join(part)).context(|| format!("could not make {}", dir.display()))?;
    }
    dir.canonicalize().context(|| format!("could not read {}", dir.display()))
}

/// Keeps two calls from starting or stopping at the same time; released when dropped.
fn lock() -> Result<File> {
    let dir = dir()?;
    let file = File::create(dir.join("lock"))?;
    file.lock().context(|| format!("could not lock {}", dir.display()))?;
    Ok(file)
}

/// Held shared by all who use the stack, so that the last of them is known.
fn use_lock() -> Result<File> {
    Ok(File::create(dir()?.join("in-use"))?)
}

#[expect(clippy::print_stdout, reason = "this is what the command was called for")]
fn say(line: &str) {
    println!("{line}");
}
