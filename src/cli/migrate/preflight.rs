//! What is looked at before either way is begun.

use kube::api::DynamicObject;

use super::access::{self, Right};
use super::facts;
use super::findings::Findings;
use super::moving::Moving;
use super::record::{self, Record};
use crate::cli::error::CliError;

/// Whether the giving set lets its claims go with it.
pub fn deletes_claims(old: &DynamicObject) -> bool {
    facts::text(old, "/spec/persistentVolumeClaimRetentionPolicy/whenDeleted") == Some("Delete")
}

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
    if deletes_claims(old) {
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

/// Whether there is more to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    GoesOn,
    Ends,
}
