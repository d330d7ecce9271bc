//! Signals to a server and to the processes it forked.

use std::{fs, process::Command};

use rustix::process::{Pid, Signal, kill_process};

/// Sends `signal` to `server` and then to its children. A process that is gone is fine.
pub(crate) fn signal_tree(server: Pid, signal: Signal) {
    for process in tree(server) {
        let _ = kill_process(process, signal);
    }
}

/// Whether a stop signal has reached every thread of `server` and its children. On a busy machine
/// that takes a moment. Where there is no `/proc` nobody can tell, and the answer is yes.
pub(crate) fn is_tree_paused(server: Pid) -> bool {
    tree(server).into_iter().all(|process| {
        let tasks = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()));
        tasks.into_iter().flatten().flatten().all(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            after_name(&stat).is_none_or(|rest| rest.trim_start().starts_with(['T', 'Z']))
        })
    })
}

fn tree(server: Pid) -> Vec<Pid> {
    let mut processes = children_of(server);
    processes.insert(0, server);
    processes
}

/// Postgres serves each connection by a child in a session of its own, so a signal to the process
/// group does not reach them.
fn children_of(parent: Pid) -> Vec<Pid> {
    let pairs = from_proc().unwrap_or_else(from_ps);
    let parent = parent.as_raw_nonzero().get();
    pairs
        .into_iter()
        .filter(|(_, above)| *above == parent)
        .filter_map(|(process, _)| Pid::from_raw(process))
        .collect()
}

/// Pairs of process id and parent's process id.
fn from_proc() -> Option<Vec<(i32, i32)>> {
    let entries = fs::read_dir("/proc").ok()?;
    let pairs: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = after_name(&stat)?.split_whitespace().nth(1)?;
            Some((process, parent.parse().ok()?))
        })
        .collect();
    (!pairs.is_empty()).then_some(pairs)
}

/// What follows the name in a `stat` file: the state, then the parent. The name is in brackets and
/// may hold anything, brackets too.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest)
}

/// The same where there is no `/proc`, as on macOS.
fn from_ps() -> Vec<(i32, i32)> {
    let Ok(output) = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output() else {
        return Vec::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect()
}
