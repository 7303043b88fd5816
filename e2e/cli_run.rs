//! The plugin as users call it: through the real kubectl, which finds it on the PATH.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::harness::cluster::Info;
use crate::harness::wait::seconds;
use crate::harness::{Context, Failure, Result, Space, eventually};

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
    programs_of(&space.suite.cluster.info, &space.namespace)
}

/// The same for a cluster, by any name.
pub fn programs_of(info: &Info, name: &str) -> Result<PathBuf> {
    let folder = info.dir.join(format!("programs-{name}"));
    std::fs::create_dir_all(&folder)?;
    let kubectl = info.kubectl.first().context("kubectl")?;
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

/// Columns and lines of a terminal that has room for what is printed line by line.
pub const PLAIN: (u16, u16) = (200, 200);

/// A program in a terminal, and what is on the screen.
pub struct Screen {
    parser: Arc<Mutex<vt100::Parser>>,
    /// Every byte that came.
    bytes: Arc<Mutex<Vec<u8>>>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    // Closed with the test, which ends the program.
    terminal: Box<dyn portable_pty::MasterPty + Send>,
}

impl Screen {
    /// Runs `kubectl asts …` in a terminal of so many columns and lines.
    pub fn open(space: &Space, size: (u16, u16), arguments: &[&str], variables: &[(&str, &str)]) -> Result<Self> {
        let mut command = portable_pty::CommandBuilder::new(programs(space)?.join("kubectl"));
        command.arg("asts");
        command.args(arguments);
        command.args(["--namespace", &space.namespace]);
        Self::start(space, size, command, variables)
    }

    /// A shell in a terminal, with kubectl and the plugin on its PATH.
    pub fn shell(space: &Space, size: (u16, u16), kubeconfig: &Path) -> Result<Self> {
        let mut command = portable_pty::CommandBuilder::new("bash");
        command.args(["--norc", "--noprofile", "-i"]);
        let kubeconfig = kubeconfig.display().to_string();
        Self::start(space, size, command, &[("KUBECONFIG", &kubeconfig), ("PS1", "$ "), ("HISTFILE", "")])
    }

    fn start(
        space: &Space,
        size: (u16, u16),
        mut command: portable_pty::CommandBuilder,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let (cols, rows) = size;
        let size = portable_pty::PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pair = portable_pty::native_pty_system()
            .openpty(size)
            .map_err(|error| Failure(format!("the terminal: {error}")))?;
        command.env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", programs(space)?.display()));
        command.env("KUBECONFIG", &space.suite.cluster.info.kubeconfig);
        command.env("HOME", &space.suite.cluster.info.dir);
        command.env("TERM", "xterm-256color");
        variables.iter().for_each(|(name, value)| command.env(name, value));
        command.cwd(&space.suite.cluster.info.dir);
        let child = pair.slave.spawn_command(command).map_err(|error| Failure(format!("the terminal: {error}")))?;
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().map_err(|error| Failure(format!("the terminal: {error}")))?;
        let keys = pair.master.take_writer().map_err(|error| Failure(format!("the terminal: {error}")))?;
        let [lines, columns] = [rows, cols].map(std::num::NonZero::new);
        let (lines, columns) = lines.zip(columns).context("a size")?;
        let parser = Arc::new(Mutex::new(vt100::Parser::new(lines, columns, 1000)));
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let (shown, kept) = (Arc::clone(&parser), Arc::clone(&bytes));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if let (Ok(mut parser), Ok(mut bytes)) = (shown.lock(), kept.lock()) {
                    parser.process(&buffer[..count]);
                    bytes.extend_from_slice(&buffer[..count]);
                }
            }
        });
        Ok(Self { parser, bytes, keys, child, terminal: pair.master })
    }

    /// The lines on the screen.
    pub fn text(&self) -> String {
        self.parser.lock().map(|parser| parser.screen().contents()).unwrap_or_default()
    }

    /// Everything that was written, with what steers the terminal.
    pub fn written(&self) -> String {
        self.bytes.lock().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// It has taken the whole screen.
    pub fn is_full(&self) -> bool {
        self.parser.lock().is_ok_and(|parser| parser.screen().alternate_screen())
    }

    pub fn press(&mut self, keys: &str) -> Result {
        self.keys.write_all(keys.as_bytes())?;
        Ok(self.keys.flush()?)
    }

    /// Gives the terminal so many columns and lines, as somebody who drags its edge.
    pub fn resize(&mut self, (cols, rows): (u16, u16)) -> Result {
        let [lines, columns] = [rows, cols].map(std::num::NonZero::new);
        let (lines, columns) = lines.zip(columns).context("a size")?;
        if let Ok(mut parser) = self.parser.lock() {
            parser.set_size(lines, columns);
        }
        let size = portable_pty::PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        self.terminal.resize(size).map_err(|error| Failure(format!("the terminal: {error}")))
    }

    /// Sends a signal by its name. kubectl has become the plugin by the time that it draws.
    pub fn signal(&self, name: &str) -> Result {
        let id = self.child.process_id().context("its process")?.to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &id]).status()?;
        if status.success() { Ok(()) } else { Err(Failure(format!("kill -{name} {id}: {status}"))) }
    }

    /// How the terminal takes keys: `stty -a` of it, as the shell would find it.
    pub fn settings(&self) -> Result<String> {
        let path = self.terminal.tty_name().context("the terminal's name")?;
        let output = Command::new("stty").args(["-a", "-F"]).arg(path).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until the screen is as the check wants it.
    pub async fn shows(&self, what: &str, check: impl Fn(&str) -> bool) -> Result<String> {
        eventually(seconds(60), &format!("the screen: {what}"), async || {
            let text = self.text();
            if check(&text) { Ok(text) } else { Err(Failure(format!("\n{text}"))) }
        })
        .await
    }

    /// Types a command into a shell that waits for one.
    pub async fn type_line(&mut self, line: &str) -> Result {
        self.shows("a prompt", |text| text.trim_end().ends_with('$')).await?;
        self.press(&format!("{line}\r"))
    }

    /// The screen with its colours, once it is as the check wants it and all of a drawing has come.
    pub async fn stands(&self, what: &str, check: impl Fn(&str) -> bool) -> Result<vt100::Screen> {
        let look = || {
            let screen = self.parser.lock().map(|parser| parser.screen().clone());
            screen.map_err(|error| Failure(error.to_string())).map(|screen| (screen, self.written().len()))
        };
        eventually(seconds(60), &format!("the screen: {what}"), async || {
            let (screen, count) = look()?;
            tokio::time::sleep(std::time::Duration::from_millis(40)).await;
            let text = screen.contents();
            if check(text.trim_end()) && look()?.1 == count { Ok(screen) } else { Err(Failure(format!("\n{text}"))) }
        })
        .await
    }

    /// Waits until the program has ended, and says how.
    pub async fn ended(&mut self) -> Result<u32> {
        for _ in 0..1200 {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.exit_code());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        Err(Failure(format!("it did not end; the screen:\n{}", self.text())))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
    }
}
