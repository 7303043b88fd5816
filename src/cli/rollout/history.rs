//! `rollout history`: the ControllerRevisions of a set.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use serde_json::Value;

use super::describe::pod_template;
use crate::cli::Exit;
use crate::cli::connect::Session;
use crate::cli::each::for_each;
use crate::cli::error::CliError;
use crate::cli::follow;
use crate::cli::output::clean;
use crate::cli::print::{PrintFlags, Printer};
use crate::cli::seen::RevisionSeen;
use crate::cli::target::{RESOURCE, Selection, Target};

/// Flags of `rollout history`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # The revisions of a set
  kubectl asts rollout history web

  # The Pod template of one of them
  kubectl asts rollout history web --revision=3")]
pub struct History {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    print: PrintFlags,
    /// Show the Pod template of this revision
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true, hide_default_value = true)]
    revision: i64,
}

impl History {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        super::check_revision(self.revision)?;
        let mut printer = self.print.printer()?;
        for_each(&self.selection, session, async |target| self.show(session, &target, &mut printer).await).await
    }

    async fn show(&self, session: &Session, target: &Target, printer: &mut Printer) -> Result<(), CliError> {
        let set = target.api(session).get(&target.name).await?;
        let revisions = follow::revisions(session, &set).await?;
        if self.print.is_given() {
            let object = target.raw_api(session).get(&target.name).await?;
            let object = serde_json::to_value(&object).unwrap_or_default();
            for revision in self.chosen(&revisions)? {
                printer.print(&with_template(&object, revision), "")?;
            }
            return Ok(());
        }
        let text = if revisions.is_empty() {
            "No rollout history found.".to_owned()
        } else if self.revision > 0 {
            self.chosen(&revisions)?.into_iter().map(|one| pod_template(&one.facts.template())).collect()
        } else {
            table(&revisions)
        };
        let which = if self.revision > 0 { format!("with revision #{}", self.revision) } else { String::new() };
        std::io::stdout().write_all(format!("{RESOURCE}/{} {which}\n{text}\n", target.name).as_bytes())?;
        Ok(())
    }

    /// Those that were asked for, by number.
    fn chosen<'a>(&self, revisions: &'a [RevisionSeen]) -> Result<Vec<&'a RevisionSeen>, CliError> {
        let by_number: BTreeMap<i64, &RevisionSeen> = revisions.iter().map(|one| (one.facts.number, one)).collect();
        if self.revision == 0 {
            return Ok(by_number.into_values().collect());
        }
        match by_number.get(&self.revision) {
            Some(revision) => Ok(vec![revision]),
            None => Err(CliError::Failed("unable to find the specified revision".into())),
        }
    }
}

/// The set as it would be at a revision.
fn with_template(set: &Value, revision: &RevisionSeen) -> Value {
    let mut set = set.clone();
    set["spec"]["template"] = revision.facts.template();
    set
}

/// Numbers and causes, by number.
fn table(revisions: &[RevisionSeen]) -> String {
    let rows: BTreeMap<i64, String> = revisions
        .iter()
        .map(|one| (one.facts.number, one.change_cause.as_deref().map_or_else(|| "<none>".to_owned(), clean)))
        .collect();
    let width = rows.keys().map(|number| number.to_string().len()).fold("REVISION".len(), usize::max) + 2;
    let mut text = format!("{:width$}CHANGE-CAUSE\n", "REVISION");
    for (number, cause) in rows {
        text += &format!("{number:<width$}{cause}\n");
    }
    text
}
