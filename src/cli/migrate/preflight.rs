//! What is looked at before either way is begun.

use kube::api::{DynamicObject, PostParams};

use super::access::{self, Right};
use super::findings::Findings;
use super::moving::Moving;
use super::record::{self, Record};
use super::retention;
use crate::cli::error::CliError;

/// The first of all checks. `R` is of the other way, in whose middle the giving set may
/// be; `under_way` says so.
pub async fn begin<R: Record>(
    moving: &Moving,
    old: &DynamicObject,
    rights: &[Right],
    under_way: &str,
) -> Result<(Findings, Verdict), CliError> {
    let mut findings = Findings::default();
    let from = moving.from;
    let mut rights = rights.to_vec();
    rights.push(Right::to("delete", from.group, from.plural));
    if old.data.pointer("/spec/volumeClaimTemplates").is_some() {
        rights.push(Right::to("list", "", "persistentvolumeclaims"));
    }
    if retention::deletes_claims(old) {
        rights.push(Right::to("patch", from.group, from.plural));
    }
    let missing = access::missing(&moving.session, &rights).await?;
    if !missing.is_empty() {
        findings.refuse(format!("you may not, in namespace {}: {}", moving.session.namespace, missing.join(", ")));
        return Ok((findings, Verdict::Ends));
    }
    findings.fine("you have the rights for it");
    if record::read::<R>(old).is_some() {
        findings.refuse(under_way);
        return Ok((findings, Verdict::Ends));
    }
    Ok((findings, Verdict::GoesOn))
}

/// Whether the new set is one that the apiserver takes.
pub async fn accepted(moving: &Moving, new: &DynamicObject, findings: &mut Findings) -> Result<(), CliError> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match moving.new.create(&dry_run, new).await {
        Ok(_) => findings.fine(format!("the apiserver takes {} (dry run)", moving.new_shown())),
        Err(kube::Error::Api(status)) if status.code < 500 => {
            findings.refuse(format!("the apiserver refuses {}: {}", moving.new_shown(), status.message));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// What becomes of claims that are to go with the set.
pub fn retained(old: &DynamicObject, shown: &str, findings: &mut Findings) {
    if retention::deletes_claims(old) {
        findings
            .note("whenDeleted is Delete: the old set lets its claims go before it is deleted, the new one takes them");
    } else if retention::is_noted(old) {
        findings.note(format!(
            "whenDeleted was Delete before an earlier call set it to Retain, and the new set has Delete again. To keep Retain: \
             kubectl -n {} annotate {shown} {}-",
            old.metadata.namespace.as_deref().unwrap_or_default(),
            retention::NOTE
        ));
    }
}

/// Whether there is more to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoesOn,
    Ends,
}
