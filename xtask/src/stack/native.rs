//! The servers as processes of this machine.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cachefront_stack::{connect, environment as names, kafka, mysql, port, redis};

use super::{
    maven, programs,
    state::{Server, State},
};
use crate::{
    exec,
    failure::{Context, Failure, Result},
};

/// How long a server may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// A server that was started and is remembered, but is not ready yet.
#[must_use]
pub(super) struct Starting {
    server: Server,
    is_ready: Box<dyn FnMut() -> Result<bool>>,
    /// What tests find it by.
    variable: (&'static str, String),
}

impl Starting {
    /// What tests will find it by.
    pub(super) fn address(&self) -> &str {
        &self.variable.1
    }

    /// Waits until the server is ready, and puts its address into the environment.
    pub(super) fn finish(mut self, dir: &Path, state: &mut State) -> Result<()> {
        wait_until(dir, &self.server, &mut self.is_ready)?;
        let (name, value) = self.variable;
        state.set(name, value);
        Ok(())
    }
}

/// Starts MySQL and adds it to `state`, which is saved as soon as there is a process to remember.
pub(super) fn start_mysql(dir: &Path, programs: &programs::MySql, state: &mut State) -> Result<Starting> {
    let data = dir.join("data/mysql");
    let _ = fs::remove_dir_all(&data);
    mysql::copy_data(&template(dir, programs)?, &data).context(|| "could not copy the data directory".to_owned())?;
    let port = port::free();
    let mut command = Command::new(&programs.server);
    command.args(mysql::arguments(&data, port));
    let server = spawn(dir, "mysql", command, port, &data, state)?;
    let url = format!("mysql://{}:{}@127.0.0.1:{port}", mysql::ADMIN, mysql::ADMIN_PASSWORD);
    let is_ready = by_log(dir, "mysql", move |log| mysql::is_ready(log, port));
    Ok(Starting { server, is_ready, variable: (names::MYSQL_URL, url) })
}

/// Starts Redis and adds it to `state`, which is saved as soon as there is a process to remember.
pub(super) fn start_redis(dir: &Path, programs: &programs::Redis, state: &mut State) -> Result<Starting> {
    let data = fresh(dir, "data/redis")?;
    let port = port::free();
    let mut command = Command::new(&programs.server);
    command.args(redis::arguments(&data, port));
    let server = spawn(dir, "redis", command, port, &data, state)?;
    let is_ready = by_log(dir, "redis", redis::is_ready);
    Ok(Starting { server, is_ready, variable: (names::REDIS_URL, format!("redis://127.0.0.1:{port}")) })
}

/// Starts Kafka and adds it to `state`, which is saved as soon as there is a process to remember.
pub(super) fn start_kafka(dir: &Path, programs: &maven::Kafka, state: &mut State) -> Result<Starting> {
    let data = fresh(dir, "data/kafka")?;
    kafka::copy_template(&kafka_template(dir, programs)?, &data)
        .context(|| "could not copy Kafka's log directory".to_owned())?;
    let ports = kafka::Ports::free();
    let config = kafka::write_config(&data, ports, &[])?;
    let mut command = programs.command(&data, kafka::CLASS)?;
    command.arg(config);
    let port = ports.broker;
    let server = spawn(dir, "kafka", command, port, &data, state)?;
    let is_ready = by_log(dir, "kafka", kafka::is_ready);
    Ok(Starting { server, is_ready, variable: (names::KAFKA_BROKERS, format!("127.0.0.1:{port}")) })
}

/// Starts Connect and adds it to `state`, which is saved as soon as there is a process to remember. It waits for its
/// broker by itself.
pub(super) fn start_connect(dir: &Path, programs: &maven::Kafka, brokers: &str, state: &mut State) -> Result<Starting> {
    let data = fresh(dir, "data/connect")?;
    let port = port::free();
    let config = connect::write_config(&data, port, brokers, "connect", programs.plugins())?;
    let mut command = programs.command(&data, connect::CLASS)?;
    command.arg(config);
    let server = spawn(dir, "connect", command, port, &data, state)?;
    let is_ready = Box::new(move || exec::block_on(is_healthy(port)));
    Ok(Starting { server, is_ready, variable: (names::CONNECT_URL, format!("http://127.0.0.1:{port}")) })
}

/// Asks the server's own log: a port that another program has taken in between might answer too.
fn by_log(dir: &Path, name: &str, is_ready: impl Fn(&str) -> bool + 'static) -> Box<dyn FnMut() -> Result<bool>> {
    let log = log(dir, name);
    Box::new(move || Ok(is_ready(&fs::read_to_string(&log).unwrap_or_default())))
}

/// True if the worker on `port` has read all its state and works.
async fn is_healthy(port: u16) -> bool {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(2)).no_proxy().build();
    let Ok(client) = client else { return false };
    let reply = client.get(format!("http://127.0.0.1:{port}/health")).send().await;
    reply.is_ok_and(|reply| reply.status().is_success())
}

/// A formatted, empty log directory of Kafka, made once.
pub(super) fn kafka_template(dir: &Path, programs: &maven::Kafka) -> Result<PathBuf> {
    let template = dir.join("template-kafka").join(programs.name());
    if template.join("meta.properties").exists() {
        return Ok(template);
    }
    let partial = fresh(dir, "template-kafka/partial")?;
    let config = kafka::write_config(&partial, kafka::Ports::free(), &[])?;
    // Any 16 bytes in base64 do: clusters that never meet may share their identity.
    let identity = "Y2FjaGVmcm9udC10ZXN0cw";
    exec::text(
        programs
            .command(&partial, "kafka.tools.StorageTool")?
            .args(["format", "--cluster-id", identity, "--config"])
            .arg(config),
    )
    .context(|| "Kafka could not format its log directory".to_owned())?;
    let _ = fs::remove_dir_all(&template);
    fs::rename(kafka::data_of(&partial), &template).context(|| "could not keep Kafka's log directory".to_owned())?;
    Ok(template)
}

/// An empty folder below `dir`.
fn fresh(dir: &Path, name: &str) -> Result<PathBuf> {
    let folder = dir.join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// An initialised data directory of this version with the administrator in it, made once.
pub(super) fn template(dir: &Path, programs: &programs::MySql) -> Result<PathBuf> {
    let template = dir.join("template");
    let stamp = template.join("made-by");
    let made_by = format!("{} {} {}\n", programs.version, mysql::ADMIN, mysql::ADMIN_PASSWORD);
    let data = template.join("data");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == made_by) {
        return Ok(data);
    }
    let _ = fs::remove_dir_all(&template);
    fs::create_dir_all(&template)?;
    let users = template.join("users.sql");
    let admin = format!("'{}'@'%'", mysql::ADMIN);
    fs::write(
        &users,
        format!(
            "CREATE USER {admin} IDENTIFIED BY '{}';\nGRANT ALL ON *.* TO {admin} WITH GRANT OPTION;\n",
            mysql::ADMIN_PASSWORD
        ),
    )?;
    exec::text(
        Command::new(&programs.server)
            .arg(format!("--datadir={}", data.display()))
            .arg("--initialize-insecure")
            .arg(format!("--init-file={}", users.display()))
            .args(["--skip-log-bin", "--innodb-redo-log-capacity=16M", "--mysqlx=OFF", "--secure-file-priv=NULL"]),
    )
    .context(|| "MySQL could not make its data directory".to_owned())?;
    fs::write(stamp, made_by)?;
    Ok(data)
}

/// Starts a server in a process group of its own, so that it outlives this program and the terminal's Ctrl-C.
fn spawn(dir: &Path, name: &str, mut command: Command, port: u16, data: &Path, state: &mut State) -> Result<Server> {
    exec::check_interrupted()?;
    let log = File::create(log(dir, name))?;
    let child = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context(|| format!("could not start {name}"))?;
    let server = Server { name: name.to_owned(), pid: child.id(), port, mark: data.to_owned() };
    state.servers.push(server.clone());
    state.save()?;
    Ok(server)
}

fn wait_until(dir: &Path, server: &Server, mut is_ready: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        exec::check_interrupted()?;
        if is_ready()? {
            return Ok(());
        }
        let ended = has_ended(server.pid);
        if ended || Instant::now() > deadline {
            let said = fs::read_to_string(log(dir, &server.name)).unwrap_or_default();
            let what = if ended { "ended at its start" } else { "is not ready in time" };
            return Err(Failure::new(format!("{} {what}:\n{}", server.name, exec::last_lines(&said, 20))));
        }
        // sleep: the poll interval; the loop is bounded by `deadline`.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// True if the child has ended: it was not reaped, so it is a zombie. Its command line says nothing: a program that
/// is being replaced by another (a wrapper's `exec`) has none for a moment.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |line| line.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join("log").join(format!("{name}.log"))
}
