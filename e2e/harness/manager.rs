//! The real manager, as a process that ends with this one.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Context, Failure, Result};

/// Starts the program after its name, tells its process id, and kills it by that id when the
/// standard input closes. A process of its own does this because the tests themselves can be
/// killed, and then nothing of them may stay.
const KEEPER: &str = r#"
log=$1; shift
exec 3<&0
"$@" </dev/null >"$log" 2>&1 3<&- &
pid=$!
echo "$pid"
exec >/dev/null 2>&1
(read -r _; kill -KILL "$pid") <&3 3<&- 2>/dev/null &
watcher=$!
exec 3<&-
wait "$pid"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"#;

const START_LIMIT: Duration = Duration::from_secs(20);

/// The manager's program: the one built with these tests, or another that the environment names.
pub fn program() -> OsString {
    std::env::var_os("ASTS_MANAGER").unwrap_or_else(|| env!("CARGO_BIN_EXE_asts-manager").into())
}

pub struct Manager {
    keeper: Child,
    /// The lifeline, see [`KEEPER`].
    lifeline: Option<ChildStdin>,
    pid: u32,
    pub log: PathBuf,
}

impl Manager {
    /// Starts a manager under the identity of a kubeconfig, on ports that it chooses itself.
    pub fn start(kubeconfig: &Path, log: PathBuf, arguments: &[&str]) -> Result<Self> {
        let mut command = vec![program(), "--kubeconfig".into(), kubeconfig.into()];
        command.extend(arguments.iter().map(OsString::from));
        Self::start_command(&command, &[], log)
    }

    /// The same with a command line and an environment of the caller's own: whatever stands before the program must
    /// become it in the end (`exec`).
    pub fn start_command(command: &[OsString], environment: &[(&str, OsString)], log: PathBuf) -> Result<Self> {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&log)
            .args(command)
            .args(["--metrics-address=127.0.0.1:0", "--health-address=127.0.0.1:0"])
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the manager's keeper")?;
        let lifeline = keeper.stdin.take();
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().context("the keeper's output")?).read_line(&mut line)?;
        let pid = line.trim().parse().context(format!("the manager's process id {line:?}"))?;
        Ok(Self { keeper, lifeline, pid, log })
    }

    /// The address that it logged under a name: `metrics_address`, `health_address`.
    fn address(&mut self, name: &str) -> Result<String> {
        self.wait_for_log(name)?;
        let log = std::fs::read_to_string(&self.log)?;
        let text = log.split_once(name).map(|(_, rest)| rest).context(name)?;
        let start = text.find("127.0.0.1:").context(format!("an address after {name}"))?;
        let end = |it: char| !(it.is_ascii_digit() || it == '.' || it == ':');
        Ok(text[start..].split(end).next().unwrap_or_default().to_owned())
    }

    /// Asks it over HTTP: the answer with its head.
    pub fn get(&mut self, address: &str, path: &str) -> Result<String> {
        let address = self.address(address)?;
        let mut stream = TcpStream::connect(&address).context(&address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Its process id, which the benchmark measures by.
    #[allow(dead_code)]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.keeper.try_wait(), Ok(None))
    }

    /// Waits until the log holds a text.
    pub fn wait_for_log(&mut self, text: &str) -> Result {
        let started = Instant::now();
        loop {
            if std::fs::read_to_string(&self.log).is_ok_and(|log| log.contains(text)) {
                return Ok(());
            }
            if !self.is_alive() || started.elapsed() > START_LIMIT {
                return Err(Failure(format!("the manager did not say {text:?}:\n{}", self.tail(20))));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends a signal by name to the manager, by its process id.
    pub fn signal(&mut self, name: &str) -> Result {
        if self.is_alive() {
            Command::new("kill").args([&format!("-{name}"), &self.pid.to_string()]).status()?;
        }
        Ok(())
    }

    /// Ends it as a crash would, and waits until it is gone.
    pub fn kill(&mut self) -> Result {
        self.lifeline = None;
        self.keeper.wait()?;
        Ok(())
    }

    /// Ends it as Kubernetes would, and says how long that took.
    pub fn terminate(&mut self) -> Result<Duration> {
        let started = Instant::now();
        self.signal("TERM")?;
        self.keeper.wait()?;
        Ok(started.elapsed())
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        self.lines_about("", lines)
    }

    /// The last lines of its log that hold a text.
    pub fn lines_about(&self, text: &str, lines: usize) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let matching: Vec<&str> = log.lines().filter(|line| line.contains(text)).collect();
        matching[matching.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("the manager (process {}) may still run: {error}", self.pid);
        }
    }
}
