//! `rollout status`: waits until a rollout is done, and says how far it is.

use std::io::Write;
use std::time::Duration;

use clap::{ArgAction, Args};
use futures::StreamExt;
use jiff::Timestamp;
use kube::Api;

use super::board::{board, redrawn};
use super::verdict::{Verdict, condition, failure, unseen, verdict, with_failure};
use crate::api::AdvancedStatefulSet;
use crate::api::names::conditions as types;
use crate::cli::Exit;
use crate::cli::connect::Session;
use crate::cli::each::for_each;
use crate::cli::error::CliError;
use crate::cli::follow::{self, Follower, News, Step};
use crate::cli::get::table::Style;
use crate::cli::output::clean;
use crate::cli::seen::{Picture, RevisionSeen};
use crate::cli::target::{Selection, Target};
use crate::cli::terminal::{self, Colour, Surroundings};
use crate::cli::tree::tree;
use crate::cli::truth::Truth;

/// How often the terminal is drawn: times go on, and changes come in crowds.
const FRAME: Duration = Duration::from_millis(400);
/// How long a change may go unseen until it is asked whether a manager runs.
const UNSEEN_LIMIT: Duration = Duration::from_secs(10);
/// Most lines that are drawn.
const LINES_MAX: usize = 15;

/// Flags of `rollout status`.
#[derive(Args, Debug)]
#[command(after_help = "\
Ends with 0 when the rollout is done, with 1 when it cannot be done, passed its progress deadline, or is not done
within --timeout. A paused rollout is waited for. In a terminal the Pods under way are drawn; else a line is printed
whenever the count changes.

Examples:
  # Watch a rollout until it is done
  kubectl asts rollout status web

  # For scripts: at most five minutes
  kubectl asts rollout status web --timeout=5m

  # How far it is now
  kubectl asts rollout status web --watch=false")]
pub struct Status {
    #[command(flatten)]
    selection: Selection,
    /// Wait until the rollout is done
    #[arg(
        short, long, value_name = "BOOL", default_value_t = true, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true
    )]
    watch: bool,
    /// Fail when another revision than this one is being rolled out; 0: any
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true, hide_default_value = true)]
    revision: i64,
    /// How long to wait, such as 30s or 5m; 0: for ever
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = crate::duration::parse, hide_default_value = true)]
    timeout: Duration,
    /// When to use colours
    #[arg(long, visible_alias = "colour", value_enum, value_name = "WHEN", default_value_t)]
    color: Colour,
}

/// What was found and printed last.
#[derive(Default)]
struct Said {
    text: String,
    failure: String,
    /// The revision, by name, that is known to be the wanted one.
    checked: String,
}

impl Status {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        super::check_revision(self.revision)?;
        for_each(&self.selection, session, async |target| self.of_one(session, &target).await).await
    }

    async fn of_one(&self, session: &Session, target: &Target) -> Result<(), CliError> {
        let mut last = None;
        let around = Surroundings::here();
        let draws = self.watch && terminal::size().is_some() && !around.is_dumb;
        let waiting = async {
            if draws {
                self.draw(session, target, &mut last).await
            } else {
                self.wait(session, target, &mut last).await
            }
        };
        if self.timeout.is_zero() {
            return waiting.await;
        }
        match tokio::time::timeout(self.timeout, waiting).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CliError::Failed(timed_out(last.as_ref()))),
        }
    }

    async fn wait(
        &self,
        session: &Session,
        target: &Target,
        last: &mut Option<AdvancedStatefulSet>,
    ) -> Result<(), CliError> {
        let mut said = Said::default();
        let set = target.api(session).get(&target.name).await?;
        if self.judge(session, &set, &mut said).await? {
            return Ok(());
        }
        *last = Some(set);
        if !self.watch {
            return Ok(());
        }
        let mut news = Box::pin(follow::one_set(session, target));
        let mut doubted = false;
        loop {
            let unseen = last.as_ref().and_then(unseen).filter(|_| !doubted);
            let one = match unseen {
                None => news.next().await,
                Some(words) => {
                    let Ok(one) = tokio::time::timeout(UNSEEN_LIMIT, news.next()).await else {
                        eprintln!("Warning: {words}");
                        doubted = true;
                        continue;
                    };
                    one
                }
            };
            let Some(one) = one else { break };
            match one? {
                News::Gone => break,
                News::Interrupted(words) => eprintln!("Warning: {}; trying again", clean(&words)),
                News::Is(set) => {
                    if self.judge(session, &set, &mut said).await? {
                        return Ok(());
                    }
                    *last = Some(*set);
                }
            }
        }
        Err(CliError::Failed("object has been deleted".into()))
    }

    /// The same, drawn.
    async fn draw(
        &self,
        session: &Session,
        target: &Target,
        last: &mut Option<AdvancedStatefulSet>,
    ) -> Result<(), CliError> {
        let mut follower = Follower::start(session, target).await?;
        let (paint, began) = (self.color.paint(&Surroundings::here()), Timestamp::now());
        let (mut drawn, mut said) = (0, Said::default());
        let mut frames = tokio::time::interval(FRAME);
        loop {
            tokio::select! {
                _ = frames.tick() => {}
                step = follower.step() => {
                    match step? {
                        Step::Changed => {}
                        Step::Gone => return Err(CliError::Failed("object has been deleted".into())),
                        Step::Interrupted(words) => {
                            print(&redrawn(&[format!("Warning: {}; trying again", clean(&words))], drawn))?;
                            drawn = 0;
                        }
                    }
                    continue;
                }
            }
            self.check_revision(session, follower.set(), &mut said).await?;
            *last = Some(follower.set().clone());
            match verdict(follower.set()) {
                Verdict::Failed(text) => return Err(CliError::Failed(clean(&text))),
                Verdict::Done(text) => return print(&redrawn(&[text], drawn)),
                Verdict::Waiting(_) => {}
            }
            if let Some((columns, lines)) = terminal::size() {
                // A slow server has not shown all Pods yet: the bar needs the set alone.
                let picture = follower.picture().unwrap_or_else(|| Picture::of_set(follower.set().clone()));
                let now = Timestamp::now();
                // A line that fills the last column would be followed by an empty one in some terminals.
                let style = Style { paint, width: Some(columns.saturating_sub(1)), now };
                let lines = board(&tree(&picture, now), began, style, LINES_MAX.min(lines.saturating_sub(1)));
                print(&redrawn(&lines, drawn))?;
                drawn = lines.len();
            }
        }
    }

    /// Says how the rollout stands, where that is new; whether it is done.
    async fn judge(&self, session: &Session, set: &AdvancedStatefulSet, said: &mut Said) -> Result<bool, CliError> {
        self.check_revision(session, set, said).await?;
        let (text, is_done) = match verdict(set) {
            Verdict::Failed(text) => return Err(CliError::Failed(clean(&text))),
            Verdict::Done(text) => (text, true),
            Verdict::Waiting(text) => (text, false),
        };
        let failure = failure(set).filter(|_| !is_done).unwrap_or_default();
        if said.failure != failure {
            if !failure.is_empty() {
                eprintln!("Warning: {}", clean(&failure));
            }
            said.failure = failure;
        }
        if said.text != text {
            writeln!(std::io::stdout(), "{text}")?;
            said.text = text;
        }
        Ok(is_done)
    }

    /// Asks for the number of a revision once: it does not change under a name that is being rolled out.
    async fn check_revision(
        &self,
        session: &Session,
        set: &AdvancedStatefulSet,
        said: &mut Said,
    ) -> Result<(), CliError> {
        let running = set.status.as_ref().and_then(|status| status.update_revision.clone());
        let (Some(running), true) = (running, self.revision > 0) else { return Ok(()) };
        if said.checked == running {
            return Ok(());
        }
        let namespace = set.metadata.namespace.clone().unwrap_or_default();
        let api: Api<RevisionSeen> = Api::namespaced(session.client.clone(), &namespace);
        let number = api.get(&running).await?.facts.number;
        if number == self.revision {
            said.checked = running;
            return Ok(());
        }
        Err(CliError::Failed(format!(
            "desired revision ({}) is different from the running revision ({number})",
            self.revision
        )))
    }
}

fn print(text: &str) -> Result<(), CliError> {
    let mut output = std::io::stdout();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}

/// What is said when the time is over: also what was waited for.
fn timed_out(last: Option<&AdvancedStatefulSet>) -> String {
    let message = last.map(|set| {
        let progress = condition(set, types::PROGRESSING).and_then(|one| one.message.as_deref());
        unseen(set).unwrap_or_else(|| with_failure(set, progress.unwrap_or_default()))
    });
    match message.filter(|message| !message.is_empty()) {
        Some(message) => format!("timed out waiting for the condition: {}", clean(&message)),
        None => "timed out waiting for the condition".to_owned(),
    }
}
