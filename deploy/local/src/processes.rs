//! Signals to a server and to the processes it forked.

use std::{fs, process::Command};

use rustix::process::{Pid, Signal, kill_process};

/// Sends `signal` to `server` and then to its children. A process that is gone is fine.
pub(crate) fn signal_tree(server: Pid, signal: Signal) {
    let children = children_of(server);
    for process in std::iter::once(server).chain(children) {
        let _ = kill_process(process, signal);
    }
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
            // The name in brackets may hold anything, so count from its end: state, then parent.
            let (_, rest) = stat.rsplit_once(')')?;
            Some((process, rest.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect();
    (!pairs.is_empty()).then_some(pairs)
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
