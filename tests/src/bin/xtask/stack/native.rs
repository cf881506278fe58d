//! The servers as processes of this machine.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use cachefront_tests::{
    port,
    server::{mysql, redis},
    stack as names,
};

use super::{
    programs,
    state::{Server, State},
};
use crate::{
    exec,
    failure::{Context, Failure, Result},
};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(60);

/// Starts MySQL and adds it to `state`, which is saved as soon as there is a process to remember.
pub(super) fn start_mysql(dir: &Path, programs: &programs::MySql, state: &mut State) -> Result<()> {
    let data = dir.join("data/mysql");
    let _ = fs::remove_dir_all(&data);
    mysql::copy_data(&template(dir, programs)?, &data).context(|| "could not copy the data directory".to_owned())?;
    let port = port::free();
    let mut command = Command::new(&programs.server);
    command.args(mysql::arguments(&data, port));
    let server = spawn(dir, "mysql", command, port, &data, state)?;
    wait_until(dir, &server, || exec::block_on(mysql::answers(port, &data)))?;
    state.set(names::MYSQL_URL, format!("mysql://{}:{}@127.0.0.1:{port}", mysql::ADMIN, mysql::ADMIN_PASSWORD));
    Ok(())
}

/// Starts Redis and adds it to `state`, which is saved as soon as there is a process to remember.
pub(super) fn start_redis(dir: &Path, programs: &programs::Redis, state: &mut State) -> Result<()> {
    let data = dir.join("data/redis");
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let port = port::free();
    let mut command = Command::new(&programs.server);
    command.args(redis::arguments(&data, port));
    let server = spawn(dir, "redis", command, port, &data, state)?;
    wait_until(dir, &server, || exec::block_on(redis::answers(port, server.pid)))?;
    state.set(names::REDIS_URL, format!("redis://127.0.0.1:{port}"));
    Ok(())
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

fn wait_until(dir: &Path, server: &Server, mut answers: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + START;
    loop {
        exec::check_interrupted()?;
        if answers()? {
            return Ok(());
        }
        let ended = has_ended(server.pid);
        if ended || Instant::now() > deadline {
            let said = fs::read_to_string(log(dir, &server.name)).unwrap_or_default();
            let what = if ended { "ended at its start" } else { "does not answer" };
            return Err(Failure::new(format!("{} {what}:\n{}", server.name, exec::last_lines(&said, 20))));
        }
        // sleep: the pause between two looks; the loop is bounded by `deadline`.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// True if the child has ended: nobody has reaped it, so it is a zombie. Its command line says nothing: a program that
/// is being replaced by another (a wrapper's `exec`) has none for a moment.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |line| line.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

fn log(dir: &Path, name: &str) -> PathBuf {
    dir.join("log").join(format!("{name}.log"))
}
