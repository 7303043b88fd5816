//! Whether a manager is at work: its Lease is renewed while one looks.

use std::time::Duration;

use clap::Args;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::findings::Findings;
use super::patience::{Look, Patience};
use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::error::CliError;

/// Where the manager's Lease is.
#[derive(Args, Clone, Debug)]
pub struct LeaseFlags {
    /// Namespace of the manager's Lease, where it is not asts-system
    #[arg(long, value_name = "NAME")]
    lease_namespace: Option<String>,
    /// Name of the manager's Lease, where it is not asts-manager
    #[arg(long, value_name = "NAME")]
    lease_name: Option<String>,
}

impl LeaseFlags {
    /// Somebody says where the Lease is, so that there must be one.
    fn names_one(&self) -> bool {
        self.lease_namespace.is_some() || self.lease_name.is_some()
    }
}

/// Adds what the Lease tells. Clocks may differ, so that only a renewal that is seen counts.
pub async fn look(session: &Session, flags: &LeaseFlags, findings: &mut Findings) -> Result<(), CliError> {
    let namespace = flags.lease_namespace.as_deref().unwrap_or(names::MANAGER_NAMESPACE);
    let name = flags.lease_name.as_deref().unwrap_or(names::MANAGER_LEASE);
    let api: Api<Lease> = Api::namespaced(session.client.clone(), namespace);
    let shown = format!("Lease {namespace}/{name}");
    let lease = match api.get_opt(name).await {
        Ok(Some(lease)) => lease,
        Ok(None) if flags.names_one() => {
            findings.doubt(format!("no manager is known: there is no {shown}"));
            return Ok(());
        }
        // One without leader election has none, and one outside of the cluster another.
        Ok(None) => {
            findings.note(format!(
                "there is no {shown} (--lease-namespace and --lease-name name another): whether a manager runs shows in the \
                 steps"
            ));
            return Ok(());
        }
        Err(kube::Error::Api(status)) if status.code == 403 => {
            findings.note(format!("{shown} may not be read: whether a manager runs shows in the steps"));
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(15);
    let patience = Patience::of(Duration::from_secs(seconds.max(1)));
    let renewed = patience
        .until(async || {
            let now = api.get_opt(name).await?;
            let version = now.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
            let holder = now.and_then(|lease| lease.spec?.holder_identity).filter(|holder| !holder.is_empty());
            Ok(match holder {
                Some(holder) if version != lease.metadata.resource_version => Look::Done(holder),
                _ => Look::Waiting(String::new()),
            })
        })
        .await;
    match renewed {
        Ok(holder) => findings.fine(format!("the manager {holder} is at work ({shown})")),
        Err(CliError::Failed(_)) => {
            let holder = spec.holder_identity.unwrap_or_default();
            findings
                .doubt(format!("no manager is at work: {shown}, held by {holder:?}, was not renewed for {seconds} s"));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
