//! The plugin as users call it: through the real kubectl, which finds it on the PATH.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::{Context, Failure, Result, Space};

/// What a call printed, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    /// What it printed, where it ended well.
    pub fn fine(self) -> Result<String> {
        if self.code == 0 { Ok(self.out) } else { Err(Failure(format!("it ended with {}: {self:?}", self.code))) }
    }

    /// What it complained of, where it ended with 1.
    pub fn refused(self) -> Result<String> {
        if self.code == 1 { Ok(self.err) } else { Err(Failure(format!("it ended with {}: {self:?}", self.code))) }
    }
}

/// A folder with nothing but kubectl and the plugin in it.
pub fn programs(space: &Space) -> Result<PathBuf> {
    let folder = space.suite.cluster.info.dir.join(format!("programs-{}", space.namespace));
    std::fs::create_dir_all(&folder)?;
    let kubectl = space.suite.cluster.info.kubectl.first().context("kubectl")?;
    for (name, program) in [("kubectl", kubectl.as_str()), ("kubectl-asts", env!("CARGO_BIN_EXE_kubectl-asts"))] {
        let link = folder.join(name);
        if !link.exists() {
            // A link by this name is what the cluster's program goes by too.
            std::os::unix::fs::symlink(program, &link)?;
        }
    }
    Ok(folder)
}

/// `kubectl` with the plugin on its PATH, in the namespace of the test.
pub fn kubectl(space: &Space, arguments: &[&str]) -> Result<Command> {
    let folder = programs(space)?;
    let mut command = Command::new(folder.join("kubectl"));
    command.args(arguments).env_clear().env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
    command.env("KUBECONFIG", &space.suite.cluster.info.kubeconfig).env("HOME", &space.suite.cluster.info.dir);
    command.current_dir(&space.suite.cluster.info.dir);
    Ok(command)
}

/// Runs `kubectl asts …` in the namespace of the test.
pub async fn asts(space: &Space, arguments: &[&str]) -> Result<Said> {
    asts_with(space, arguments, "", &[]).await
}

/// The same with something to read, and environment variables.
pub async fn asts_with(space: &Space, arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Result<Said> {
    let arguments = [&["asts"], arguments, &["--namespace", &space.namespace]].concat();
    let mut command = kubectl(space, &arguments)?;
    command.envs(variables.iter().copied());
    run(command, input).await
}

/// Runs a command to its end, away from the test's own thread.
pub async fn run(mut command: Command, input: &str) -> Result<Said> {
    use std::io::Write;
    let input = input.to_owned();
    let task = tokio::task::spawn_blocking(move || -> Result<Said> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context(format!("{command:?}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            // It may end without reading.
            let _ = pipe.write_all(input.as_bytes());
        }
        let output = child.wait_with_output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Said { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) })
    });
    task.await.map_err(|error| Failure(error.to_string()))?
}
