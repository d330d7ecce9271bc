//! Runs short-lived helper programs (initdb, pip, …) with a deadline and a readable error.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::error::{Doing, LocalError};

/// Runs `command` to its end and returns what it printed.
pub(crate) async fn run(command: Command, deadline: Duration) -> Result<String, LocalError> {
    run_with_input(command, "", deadline).await
}

/// Like [`run`], with `input` on the program's standard input.
pub(crate) async fn run_with_input(
    mut command: Command,
    input: &str,
    deadline: Duration,
) -> Result<String, LocalError> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let work = async {
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that fails at once does not read: its exit status says more than that.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = timeout(deadline, work)
        .await
        .map_err(|_| LocalError::Deadline { what: program.clone(), after: deadline })?
        .doing(|| format!("run {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let said = if errors.trim().is_empty() { text.as_str() } else { errors.as_ref() };
    Err(LocalError::Program {
        program,
        output: format!("{} ({})", last_lines(said, 8), output.status),
    })
}

/// The last `count` non-empty lines, for an error message.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
