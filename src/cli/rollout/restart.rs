//! `rollout restart`: an annotation of the template whose change means "restart the containers".

use clap::Args;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::verdict::is_paused;
use crate::cli::Exit;
use crate::cli::connect::Session;
use crate::cli::each::for_each;
use crate::cli::error::CliError;
use crate::cli::print::{PrintFlags, Printer};
use crate::cli::target::{Selection, Target};

/// The annotation that `kubectl rollout restart` writes.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// Flags of `rollout restart`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Start the containers of a set again, in place where that can be
  kubectl asts rollout restart web

  # Those of every set with a label
  kubectl asts rollout restart --selector=app=web

  # Those of every set of the namespace
  kubectl asts rollout restart asts")]
pub struct Restart {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    print: PrintFlags,
    /// Name under which the fields are owned
    #[arg(long, value_name = "NAME", default_value = super::FIELD_MANAGER)]
    field_manager: String,
}

impl Restart {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let mut printer = self.print.printer()?;
        for_each(&self.selection, session, async |target| self.restart(session, &target, &mut printer).await).await
    }

    async fn restart(&self, session: &Session, target: &Target, printer: &mut Printer) -> Result<(), CliError> {
        let set = target.api(session).get(&target.name).await?;
        if is_paused(&set) {
            let message = "can't restart paused advancedstatefulset (run rollout resume first)";
            return Err(CliError::Failed(format!("{} {message}", target.in_errors())));
        }
        // Down to seconds: two restarts within one are one.
        let now = jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
        let annotations = set.spec.template.0.pointer("/metadata/annotations");
        if annotations.and_then(|all| all.get(RESTARTED_AT)?.as_str()) == Some(&now) {
            return Err(CliError::Failed(format!(
                "failed to create patch for {}: if restart has already been triggered within the past second, please wait before attempting to trigger another",
                target.name
            )));
        }
        let patch = json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now}}}}});
        let parameters = PatchParams { field_manager: Some(self.field_manager.clone()), ..PatchParams::default() };
        let restarted = target.raw_api(session).patch(&target.name, &parameters, &Patch::Merge(&patch)).await?;
        printer.print(&serde_json::to_value(&restarted).unwrap_or_default(), "restarted")
    }
}
