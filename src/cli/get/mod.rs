//! `kubectl asts get`: a set as a tree of its revisions and Pods, also as it changes.

mod layout;
mod list;
mod live;
pub mod table;

use std::io::Write;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use jiff::Timestamp;

use super::Exit;
use super::connect::{ConnectionFlags, Session};
use super::error::CliError;
use super::follow::{self, Follower, Step};
use super::output::clean;
use super::target::{Selection, Target};
use super::terminal::{self, Colour, Paint, Surroundings};
use super::tree::{Tree, tree};
use super::truth::Truth;
use list::Scope;
use table::Style;

/// Changes within this time are shown as one.
const SETTLING: Duration = Duration::from_millis(150);

/// Flags of `get`.
#[derive(Args, Debug)]
#[command(after_help = "\
The tree shows each revision that has Pods, and for each Pod what it is at, whether it was made on its revision or
updated in place, its restarts, age, node and IP; below it, why nothing happens where nothing does.

Examples:
  # The sets of the namespace, or of all
  kubectl asts get
  kubectl asts get -A

  # One set as a tree
  kubectl asts get web

  # The same as it changes, on the whole screen; q quits
  kubectl asts get web -w

  # For programs
  kubectl asts get web -o json")]
pub struct Get {
    #[command(flatten)]
    selection: Selection,
    /// List the sets of all namespaces
    #[arg(
        short = 'A', long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    all_namespaces: bool,
    /// Show it again whenever it changes: on the whole screen in a terminal of 80x24 or more, else line after line
    #[arg(
        short, long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    watch: bool,
    /// Print the tree for programs
    #[arg(short, long, value_enum)]
    output: Option<Form>,
    /// When to use colours
    #[arg(long, visible_alias = "colour", value_enum, value_name = "WHEN", default_value_t)]
    color: Colour,
}

/// A form for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Yaml,
}

impl Get {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let session = connection.session().await?;
        let paint = self.color.paint(&Surroundings::here());
        if self.all_namespaces || self.selection.is_empty() {
            return self.list(&session, paint).await;
        }
        let targets = self.selection.targets(&session).await?;
        match targets.as_slice() {
            [] => eprintln!("No resources found in {} namespace.", session.namespace),
            [target] if self.watch => return self.watch(&session, target, paint).await,
            _ if self.watch => return Err(CliError::Usage("--watch shows one set: name it".into())),
            many => return self.print_all(&session, many, paint).await,
        }
        Ok(Exit::SUCCESS)
    }

    async fn list(&self, session: &Session, paint: Paint) -> Result<Exit, CliError> {
        if self.watch || self.output.is_some() {
            let message =
                "name a set for its tree, as in: kubectl asts get NAME; for a list there is: kubectl get asts";
            return Err(CliError::Usage(message.into()));
        }
        if self.all_namespaces && !self.selection.names.is_empty() {
            return Err(CliError::Usage("a resource cannot be retrieved by name across all namespaces".into()));
        }
        let scope = if self.all_namespaces { Scope::All } else { Scope::Namespace };
        let sets = list::read(session, scope, self.selection.selector.as_deref()).await?;
        if sets.is_empty() {
            let place =
                if self.all_namespaces { String::new() } else { format!(" in {} namespace", session.namespace) };
            eprintln!("No resources found{place}.");
            return Ok(Exit::SUCCESS);
        }
        let style = Style { paint, width: None, now: Timestamp::now() };
        print(&list::lines(&sets, scope, style))?;
        Ok(Exit::SUCCESS)
    }

    async fn print_all(&self, session: &Session, targets: &[Target], paint: Paint) -> Result<Exit, CliError> {
        let mut failures = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            match follow::read(session, target).await {
                Ok(picture) => self.print(&tree(&picture, Timestamp::now()), index, paint)?,
                Err(error) => failures.push(error),
            }
        }
        if failures.is_empty() { Ok(Exit::SUCCESS) } else { Err(CliError::Many(failures)) }
    }

    fn print(&self, tree: &Tree, printed: usize, paint: Paint) -> Result<(), CliError> {
        let failed = |error: String| CliError::Failed(format!("cannot print the tree: {error}"));
        let text = match self.output {
            Some(Form::Json) => serde_json::to_string_pretty(tree).map_err(|error| failed(error.to_string()))? + "\n",
            Some(Form::Yaml) => {
                let text = serde_saphyr::to_string(tree).map_err(|error| failed(error.to_string()))?;
                if printed > 0 { format!("---\n{text}") } else { text }
            }
            None => {
                let width = terminal::size().map(|(columns, _)| columns);
                let lines = table::lines(tree, Style { paint, width, now: Timestamp::now() });
                let gap = if printed > 0 { "\n" } else { "" };
                format!("{gap}{}\n", lines.join("\n"))
            }
        };
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }

    async fn watch(&self, session: &Session, target: &Target, paint: Paint) -> Result<Exit, CliError> {
        let follower = Follower::start(session, target).await?;
        let is_large = terminal::size().is_some_and(|(columns, lines)| columns >= 80 && lines >= 24);
        if is_large && self.output.is_none() && !Surroundings::here().is_dumb {
            return live::show(follower, paint).await;
        }
        self.watch_lines(follower, paint).await
    }

    /// Prints the tree whenever it changed.
    async fn watch_lines(&self, mut follower: Follower, paint: Paint) -> Result<Exit, CliError> {
        let mut last: Option<Tree> = None;
        let mut printed = 0;
        loop {
            if follower.picture().is_some() {
                // One change seldom comes alone.
                tokio::time::sleep(SETTLING).await;
                while let Some(step) = futures::FutureExt::now_or_never(follower.step()) {
                    report(step?)?;
                }
            }
            if let Some(picture) = follower.picture() {
                let tree = tree(&picture, Timestamp::now());
                if last.as_ref() != Some(&tree) {
                    self.print(&tree, printed, paint)?;
                    printed += 1;
                    last = Some(tree);
                }
            }
            report(follower.step().await?)?;
        }
    }
}

fn report(step: Step) -> Result<(), CliError> {
    match step {
        Step::Changed => Ok(()),
        Step::Gone => Err(CliError::Failed("object has been deleted".into())),
        Step::Interrupted(words) => {
            eprintln!("Warning: {}; trying again", clean(&words));
            Ok(())
        }
    }
}

fn print(lines: &[String]) -> Result<(), CliError> {
    Ok(std::io::stdout().write_all((lines.join("\n") + "\n").as_bytes())?)
}
