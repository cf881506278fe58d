//! The processes of this machine, as `/proc` shows them: who started whom, and what was left running.

use std::{
    collections::{HashMap, HashSet},
    fs, thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Time between two reads of the process table.
const PAUSE: Duration = Duration::from_millis(10);
/// Maximum length of a command line in a message, in characters.
const COMMAND_LEN: usize = 120;

/// A living process. A zombie is none: it has ended, and only its parent has not noticed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub id: u32,
    /// The number of the process that started it; 1 or a subreaper once that one has ended.
    pub parent: u32,
    /// The beginning of its command line.
    pub command: String,
    /// In clock ticks since the machine started: a number that is used again belongs to a later process.
    started: u64,
}

impl Process {
    fn is_same(&self, other: &Self) -> bool {
        (self.id, self.started) == (other.id, other.started)
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.id).ok().and_then(Pid::from_raw) {
            // A failure means that it has ended.
            let _ = kill_process(pid, signal);
        }
    }
}

/// All living processes.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The process `root` and all that it has started, directly or indirectly, as far as the ties are still known: a process
/// whose parent has ended is lost.
pub fn family(root: u32) -> Vec<Process> {
    descendants(all(), |process| process.id == root)
}

/// The processes that were started with the variable `name` set to `value`, and all that they have started. This process
/// itself is never among them.
///
/// A process that has overwritten its environment (Chromium's do) is found by its ancestors.
pub fn marked(name: &str, value: &str) -> Vec<Process> {
    let mark = format!("{name}={value}");
    let own = std::process::id();
    let mut found = descendants(all(), |process| process.id != own && has_variable(process.id, &mark));
    found.retain(|process| process.id != own);
    found
}

/// Kills all processes that `find` finds, and returns those that still live after `patience`.
///
/// They are stopped first, until none is found that was not known, so that none can start another one meanwhile.
pub fn kill_all(find: impl Fn() -> Vec<Process>, patience: Duration) -> Vec<Process> {
    let mut known: Vec<Process> = Vec::new();
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        let new: Vec<Process> =
            find().into_iter().filter(|found| !known.iter().any(|process| process.is_same(found))).collect();
        if new.is_empty() {
            break;
        }
        new.iter().for_each(|process| process.signal(Signal::STOP));
        known.extend(new);
    }
    loop {
        let living = all();
        known.retain(|process| living.iter().any(|other| other.is_same(process)));
        if known.is_empty() || Instant::now() >= deadline {
            return known;
        }
        known.iter().for_each(|process| process.signal(Signal::KILL));
        // sleep: the pause between two reads of the process table; the loop is bounded by `deadline`.
        thread::sleep(PAUSE);
    }
}

fn descendants(all: Vec<Process>, is_root: impl Fn(&Process) -> bool) -> Vec<Process> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for process in &all {
        children.entry(process.parent).or_default().push(process.id);
    }
    let mut pending: Vec<u32> = all.iter().filter(|process| is_root(process)).map(|process| process.id).collect();
    let mut family = HashSet::new();
    while let Some(id) = pending.pop() {
        if family.insert(id) {
            pending.extend(children.get(&id).into_iter().flatten());
        }
    }
    all.into_iter().filter(|process| family.contains(&process.id)).collect()
}

fn read(id: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name of the program may hold anything, a parenthesis included: the fields begin after the last one.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    let command = String::from_utf8_lossy(&command).replace('\0', " ").chars().take(COMMAND_LEN).collect();
    Some(Process { id, parent: fields.get(1)?.parse().ok()?, command, started: fields.get(19)?.parse().ok()? })
}

fn has_variable(id: u32, mark: &str) -> bool {
    fs::read(format!("/proc/{id}/environ"))
        .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell that has started another program and waits for it.
    fn shell(value: &str) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & wait"]).env("CACHEFRONT_PROCESSES_TEST", value).stdout(Stdio::null());
        command.spawn().expect("a shell")
    }

    fn wait_for_two(find: impl Fn() -> Vec<Process>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while find().iter().filter(|process| process.command.contains("sleep 600")).count() < 2 {
            assert!(Instant::now() < deadline, "the shell has started nothing");
            // sleep: the pause of a bounded wait.
            thread::sleep(PAUSE);
        }
    }

    #[test]
    fn a_family_is_killed_as_a_whole() {
        let mut child = shell("family");
        wait_for_two(|| family(child.id()));
        assert_eq!(kill_all(|| family(child.id()), Duration::from_secs(10)), []);
        child.wait().expect("the shell has ended");
    }

    #[test]
    fn what_an_ended_parent_has_left_is_found_by_its_mark() {
        let value = format!("orphan-{}", std::process::id());
        let marked = || marked("CACHEFRONT_PROCESSES_TEST", &value);
        let mut child = shell(&value);
        wait_for_two(marked);
        child.kill().expect("the shell can be killed");
        child.wait().expect("the shell has ended");
        assert_eq!(marked().len(), 1, "{:?}", marked());
        assert_eq!(kill_all(marked, Duration::from_secs(10)), []);
        assert_eq!(marked(), []);
    }
}
