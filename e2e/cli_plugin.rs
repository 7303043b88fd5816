//! The plugin as a program: called, read line by line, and killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};

use crate::harness::{Context, Failure, Result, Space};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kubectl-asts");

/// What a call has printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// What it printed, where it went well.
    pub fn fine(self) -> Result<String> {
        if self.code == Some(0) { Ok(self.out) } else { Err(Failure(format!("{self:?}"))) }
    }

    /// What it said, all of it, where it went wrong with 1.
    pub fn refused(self) -> Result<String> {
        if self.code == Some(1) { Ok(self.out + &self.err) } else { Err(Failure(format!("{self:?}"))) }
    }
}

fn command(space: &Space, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).args(["-n", &space.namespace]);
    command.env("KUBECONFIG", &space.suite.cluster.info.kubeconfig);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn end(mut child: Child, input: &str) -> Result<Ran> {
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) })
}

/// Runs the plugin to its end, while the test goes on to breathe.
async fn ended(command: Command, input: &str) -> Result<Ran> {
    let (mut command, input) = (command, input.to_owned());
    tokio::task::spawn_blocking(move || end(command.spawn()?, &input)).await.context("the plugin's thread")?
}

/// Calls the plugin in the test's namespace.
pub async fn asts(space: &Space, arguments: &[&str]) -> Result<Ran> {
    ended(command(space, arguments), "").await
}

/// The same with standard input.
pub async fn asts_with(space: &Space, arguments: &[&str], input: &str) -> Result<Ran> {
    ended(command(space, arguments), input).await
}

/// The same with another kubeconfig.
pub async fn asts_as(space: &Space, kubeconfig: &std::path::Path, arguments: &[&str]) -> Result<Ran> {
    let mut command = command(space, arguments);
    command.env("KUBECONFIG", kubeconfig);
    ended(command, "").await
}

/// Calls it as users do: kubectl finds it in the PATH.
pub async fn kubectl_asts(space: &Space, arguments: &[&str]) -> Result<Ran> {
    let info = &space.suite.cluster.info;
    let (program, first) = info.kubectl.split_first().context("kubectl")?;
    let folder = std::path::Path::new(PROGRAM).parent().context("the plugin's folder")?;
    let mut command = Command::new(program);
    command.args(first).arg("asts").args(arguments).args(["-n", &space.namespace]);
    command.env("KUBECONFIG", &info.kubeconfig).env("HOME", &info.dir).env("PATH", folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ended(command, "").await
}

/// Calls the plugin, and does something when a line begins with `mark`, before it reads on to the end.
pub async fn asts_at(
    space: &Space,
    arguments: &[&str],
    mark: &str,
    act: impl FnOnce(&mut Child) -> Result + Send + 'static,
) -> Result<Ran> {
    let (mut command, mark) = (command(space, arguments), mark.to_owned());
    let run = move || {
        let mut child = command.spawn()?;
        drop(child.stdin.take());
        let mut reader = BufReader::new(child.stdout.take().context("its output")?);
        let mut out = String::new();
        while !out.lines().next_back().is_some_and(|line| line.starts_with(&mark)) {
            if reader.read_line(&mut out)? == 0 {
                let mut err = String::new();
                child.stderr.take().context("its errors")?.read_to_string(&mut err)?;
                return Err(Failure(format!("it never printed {mark:?}: {out}{err}")));
            }
        }
        act(&mut child)?;
        reader.read_to_string(&mut out)?;
        let rest = child.wait_with_output()?;
        Ok(Ran { code: rest.status.code(), out, err: String::from_utf8_lossy(&rest.stderr).into_owned() })
    };
    tokio::task::spawn_blocking(run).await.context("the plugin's thread")?
}

/// Kills the plugin when a line begins with `mark`.
pub async fn asts_killed_at(space: &Space, arguments: &[&str], mark: &str) -> Result {
    let kill = |child: &mut Child| child.kill().context("kill the plugin");
    let ran = asts_at(space, arguments, mark, kill).await?;
    if ran.code.is_none() { Ok(()) } else { Err(Failure(format!("it was not killed at {mark:?}: {ran:?}"))) }
}

/// The same when something is so. `code`: none where it was killed, which it is not where it ends before.
pub async fn asts_killed_when(
    space: &Space,
    kubeconfig: &std::path::Path,
    arguments: &[&str],
    is: impl Fn() -> bool,
) -> Result<Ran> {
    let mut command = command(space, arguments);
    command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    let mut child = command.spawn()?;
    while child.try_wait()?.is_none() {
        if is() {
            child.kill()?;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    end(child, "")
}
