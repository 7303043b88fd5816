//! Who wrote how often: the apiserver's audit log names the user of each request.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::audit::Request;
use crate::harness::{Context, Result};

const CONFLICT: u16 = 409;
/// Nothing more is expected of somebody who has not written for this long.
const QUIET: Duration = Duration::from_millis(1500);
const QUIET_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// Whose requests: a user, and where several programs share one, the program's own name.
#[derive(Clone, Copy)]
pub struct Author {
    pub user: &'static str,
    pub agent: Option<&'static str>,
}

impl Author {
    pub const fn user(user: &'static str) -> Self {
        Self { user, agent: None }
    }

    fn wrote(&self, request: &Request) -> bool {
        request.is_write() && self.agent.is_none_or(|agent| request.user_agent == agent)
    }
}

/// The writes of one author.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// Without events, leases and dry runs.
    pub count: usize,
    pub conflicts: usize,
    /// Refused for other reasons.
    pub refused: usize,
    pub events: usize,
    pub dry_runs: usize,
    /// `patch pods/status` and how often.
    pub by_kind: BTreeMap<String, usize>,
}

impl Writes {
    fn add(&mut self, request: &Request) {
        let resource = request.resource();
        if resource == "leases" {
            return;
        }
        if resource == "events" {
            self.events += 1;
            return;
        }
        if request.request_uri.contains("dryRun=") {
            self.dry_runs += 1;
            return;
        }
        self.count += 1;
        match request.response_status.code {
            CONFLICT => self.conflicts += 1,
            400.. => self.refused += 1,
            _ => {}
        }
        *self.by_kind.entry(format!("{} {resource}", request.verb)).or_default() += 1;
    }
}

/// The log from a moment on.
pub struct Tail {
    log: PathBuf,
    offset: u64,
}

impl Tail {
    /// From now on.
    pub fn now(log: &Path) -> Result<Self> {
        Ok(Self { log: log.to_owned(), offset: std::fs::metadata(log)?.len() })
    }

    /// The requests of an author that change something, so far.
    pub fn requests(&self, author: Author) -> Result<Vec<Request>> {
        let mut file = std::fs::File::open(&self.log).context(self.log.display())?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let needle = format!("\"username\":\"{}\"", author.user);
        let lines = text.lines().filter(|line| line.contains(&needle));
        // The last line may be half written.
        let requests = lines.filter_map(|line| serde_json::from_str::<Request>(line).ok());
        Ok(requests.filter(|request| author.wrote(request)).collect())
    }

    fn writes(&self, author: Author) -> Result<Writes> {
        let mut writes = Writes::default();
        for request in self.requests(author)? {
            writes.add(&request);
        }
        Ok(writes)
    }

    /// The author's writes, once it has stopped writing.
    pub async fn settled(&self, author: Author) -> Result<Writes> {
        let started = Instant::now();
        let (mut writes, mut changed, mut length) = (self.writes(author)?, Instant::now(), self.length()?);
        while changed.elapsed() < QUIET && started.elapsed() < QUIET_LIMIT {
            tokio::time::sleep(POLL).await;
            if self.length()? == length {
                continue;
            }
            length = self.length()?;
            let now = self.writes(author)?;
            if now.count + now.events != writes.count + writes.events {
                changed = Instant::now();
            }
            writes = now;
        }
        Ok(writes)
    }

    fn length(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.log)?.len())
    }
}
