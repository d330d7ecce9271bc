//! What the system says of a process.

use std::path::PathBuf;

fn entry(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}

/// Whether there is a process of this id.
pub(super) fn exists(pid: u32) -> bool {
    entry(pid, "stat").exists()
}

/// Whether it was stopped from running.
pub(super) fn stands_still(pid: u32) -> bool {
    let stat = std::fs::read_to_string(entry(pid, "stat")).unwrap_or_default();
    // The name before may have spaces, and is in brackets.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state == Some('T')
}

/// The numbers of the user and the group that it runs as.
pub(super) fn owner(pid: u32) -> Option<(String, String)> {
    let status = std::fs::read_to_string(entry(pid, "status")).ok()?;
    let first = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    Some((first("Uid:")?, first("Gid:")?))
}

/// The bytes up to which it may write a file; none if there is no bound.
pub(super) fn file_limit(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(entry(pid, "limits")).unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file size"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The processes that it has started.
pub(super) fn children(pid: u32) -> Vec<u32> {
    let list = entry(pid, &format!("task/{pid}/children"));
    let text = std::fs::read_to_string(list).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
