//! `rollout undo`: the Pod template of an earlier revision, and its claim templates by name. Claims never shrink.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::Value;

use super::describe::pod_template;
use super::rollback::{self, Rollback};
use super::verdict::is_paused;
use crate::api::AdvancedStatefulSet;
use crate::cli::Exit;
use crate::cli::connect::Session;
use crate::cli::each::for_each;
use crate::cli::error::CliError;
use crate::cli::follow;
use crate::cli::print::{PrintFlags, Printer};
use crate::cli::seen::RevisionSeen;
use crate::cli::target::{Selection, Target};
use crate::model::pod::ordinal_in;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How often it is tried where others change the set at the same time.
const ATTEMPTS_MAX: usize = 5;

/// Flags of `rollout undo`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  # Back to the revision before
  kubectl asts rollout undo web

  # Back to revision 3
  kubectl asts rollout undo web --to-revision=3

  # What that would do: ask the server, change nothing
  kubectl asts rollout undo web --dry-run=server")]
pub struct Undo {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    print: PrintFlags,
    /// Revision to go back to; 0 is the last one that is not the present template
    #[arg(long, value_name = "NUMBER", default_value_t = 0, allow_negative_numbers = true, hide_default_value = true)]
    to_revision: i64,
    /// Change nothing: print what would be (client), or have the server check it (server)
    #[arg(long, value_enum, default_value_t = DryRun::None, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: DryRun,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    None,
    Client,
    Server,
}

impl Undo {
    pub(super) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let mut printer = self.print.printer()?;
        for_each(&self.selection, session, async |target| self.undo(session, &target, &mut printer).await).await
    }

    async fn undo(&self, session: &Session, target: &Target, printer: &mut Printer) -> Result<(), CliError> {
        let mut attempt = 1;
        loop {
            match self.try_once(session, target, printer).await {
                Err(CliError::Api(error)) if attempt < ATTEMPTS_MAX && is_conflict(&error) => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_once(&self, session: &Session, target: &Target, printer: &mut Printer) -> Result<(), CliError> {
        let set = target.api(session).get(&target.name).await?;
        let history = follow::revisions(session, &set).await?;
        let no_way = |why: rollback::NoWay| CliError::Failed(why.to_string());
        let revision = rollback::choose(&set, &history, self.to_revision).map_err(no_way)?;
        let found = found_claims(session, target, &set, revision).await?;
        let back = rollback::rollback(&set, revision, &found).map_err(no_way)?;
        if self.dry_run == DryRun::Client {
            let would_be = self.would_be(session, target, &back).await?;
            let words = format!("will roll back to {} (dry run)", pod_template(&back.template));
            return printer.print(&would_be, &words);
        }
        if is_paused(&set) {
            return Err(CliError::Failed(
                "you cannot rollback a paused advancedstatefulset; resume it first with 'kubectl asts rollout resume' and try again".into(),
            ));
        }
        warn(&set, target, &back);
        let ending = if self.dry_run == DryRun::Server { " (server dry run)" } else { "" };
        if back.is_there {
            let words = format!("skipped rollback (current template already matches revision {}){ending}", back.to);
            return printer.print(&raw(session, target).await?, &words);
        }
        let parameters = PatchParams { dry_run: self.dry_run == DryRun::Server, ..PatchParams::default() };
        let patch = Patch::Merge(rollback::patch(&set, &back));
        let patched = target.raw_api(session).patch(&target.name, &parameters, &patch).await?;
        printer.print(&serde_json::to_value(&patched).unwrap_or_default(), &format!("rolled back{ending}"))
    }

    async fn would_be(&self, session: &Session, target: &Target, back: &Rollback) -> Result<Value, CliError> {
        let mut object = raw(session, target).await?;
        object["spec"]["template"] = back.template.clone();
        if let Some(claims) = &back.claims {
            object["spec"]["volumeClaimTemplates"] = Value::Array(claims.clone());
        }
        Ok(object)
    }
}

async fn raw(session: &Session, target: &Target) -> Result<Value, CliError> {
    Ok(serde_json::to_value(target.raw_api(session).get(&target.name).await?).unwrap_or_default())
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn warn(set: &AdvancedStatefulSet, target: &Target, back: &Rollback) {
    if set.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LAST_APPLIED)) {
        eprintln!(
            "Warning: resource advancedstatefulsets/{} was previously managed with 'kubectl apply'. Rolling back will not update the {LAST_APPLIED} annotation, which may cause unexpected behavior on future 'kubectl apply' operations. Consider using 'kubectl apply' with your previous configuration file instead.",
            target.name
        );
    }
    if !back.kept_sizes.is_empty() {
        eprintln!("Warning: claims are never shrunk: {}", back.kept_sizes.join("; "));
    }
}

/// Templates for the claim templates that the revision had and the set has not, as the claims that are left show them.
async fn found_claims(
    session: &Session,
    target: &Target,
    set: &AdvancedStatefulSet,
    revision: &RevisionSeen,
) -> Result<BTreeMap<String, Value>, CliError> {
    let missing = rollback::missing_claims(set, revision);
    if missing.is_empty() {
        return Ok(BTreeMap::new());
    }
    let api: Api<PersistentVolumeClaim> = Api::namespaced(session.client.clone(), &target.namespace);
    let claims = api.list(&ListParams::default()).await?.items;
    let sizes = revision.facts.claim_sizes().unwrap_or_default();
    let of = |name: &str| {
        let stem = format!("{name}-{}", target.name);
        let is_of = |claim: &&PersistentVolumeClaim| {
            claim.metadata.name.as_deref().is_some_and(|name| ordinal_in(name, &stem).is_some())
        };
        let claims: Vec<Value> =
            claims.iter().filter(is_of).filter_map(|claim| serde_json::to_value(claim).ok()).collect();
        rollback::template_of_claims(name, &claims, sizes.get(name))
    };
    Ok(missing.into_iter().filter_map(|name| of(&name).map(|template| (name, template))).collect())
}
