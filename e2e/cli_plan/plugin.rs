//! The plugin as a program, as users run it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Context, Failure, Result, Space};

/// What a call came to.
#[derive(Debug)]
pub struct Called {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Called {
    /// The output, where the call ended with this code.
    pub fn ended(self, code: i32) -> Result<String> {
        if self.code == code {
            Ok(self.out)
        } else {
            Err(Failure(format!("it ended otherwise than with {code}: {self:?}")))
        }
    }

    /// The same as JSON.
    pub fn json(self, code: i32) -> Result<Value> {
        let text = self.ended(code)?;
        serde_json::from_str(&text).context(text)
    }
}

/// `kubectl asts plan` in the space's namespace, as the administrator.
pub fn plan(space: &Space, arguments: &[&str], input: Option<&str>) -> Result<Called> {
    plan_as(space, &space.suite.cluster.info.kubeconfig, arguments, input)
}

/// The same under another identity.
pub fn plan_as(space: &Space, kubeconfig: &Path, arguments: &[&str], input: Option<&str>) -> Result<Called> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-asts"));
    command.arg("plan").args(["-n", &space.namespace]).arg("--kubeconfig").arg(kubeconfig).args(arguments);
    call(command, input)
}

/// Runs a command to its end, whatever that is.
pub fn call(mut command: Command, input: Option<&str>) -> Result<Called> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("start the plugin")?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    Ok(Called {
        code: output.status.code().context("an exit code")?,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
