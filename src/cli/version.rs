//! `kubectl asts version`: of the plugin, of the manager by its Lease, and of the server.

use std::io::Write;

use clap::{ArgAction, Args, ValueEnum};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde::Serialize;

use super::Exit;
use super::connect::{ConnectionFlags, Session};
use super::error::{CliError, of_client};
use super::output::clean;
use super::phase::{seconds_between, short_span};
use super::truth::Truth;
use crate::api::names;

/// Flags of `version`.
#[derive(Args, Debug)]
#[command(after_help = "\
The manager that leads writes its version to its Lease, which everybody may read where config/rbac is installed.

Examples:
  # All versions
  kubectl asts version

  # For programs
  kubectl asts version -o json")]
pub struct Version {
    /// Do not ask the cluster
    #[arg(
        long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    client: bool,
    /// Form of the output
    #[arg(short, long, value_enum)]
    output: Option<Form>,
    /// Namespace of the manager's Lease
    #[arg(long, value_name = "NAME", default_value = names::MANAGER_NAMESPACE)]
    lease_namespace: String,
    /// Name of the manager's Lease
    #[arg(long, value_name = "NAME", default_value = names::MANAGER_LEASE)]
    lease_name: String,
}

/// A form for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Yaml,
}

/// What was found out.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    plugin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<Manager>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

/// The manager that leads.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manager {
    /// `None`: not known.
    version: Option<String>,
    /// Who holds the Lease; `None`: nobody.
    holder: Option<String>,
    /// It has not renewed the Lease in time: it may be gone.
    is_late: bool,
    /// Why there is no version, or what is odd with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Version {
    pub(super) async fn run(self, connection: &ConnectionFlags) -> Result<Exit, CliError> {
        let mut versions = Versions { plugin: env!("CARGO_PKG_VERSION"), manager: None, server: None };
        // What is known is told, whatever the cluster says.
        let asked = if self.client { Ok(()) } else { self.ask(connection, &mut versions).await };
        self.print(&versions)?;
        asked.map(|()| Exit::SUCCESS)
    }

    async fn ask(&self, connection: &ConnectionFlags, versions: &mut Versions) -> Result<(), CliError> {
        let session = connection.session().await?;
        versions.server = Some(session.client.apiserver_version().await?.git_version);
        versions.manager = Some(self.manager(&session).await?);
        Ok(())
    }

    fn print(&self, versions: &Versions) -> Result<(), CliError> {
        let failed = |error: String| CliError::Failed(format!("cannot print the versions: {error}"));
        let text = match self.output {
            None => text(versions),
            Some(Form::Json) => {
                serde_json::to_string_pretty(versions).map_err(|error| failed(error.to_string()))? + "\n"
            }
            Some(Form::Yaml) => serde_saphyr::to_string(versions).map_err(|error| failed(error.to_string()))?,
        };
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }

    async fn manager(&self, session: &Session) -> Result<Manager, CliError> {
        let api: Api<Lease> = Api::namespaced(session.client.clone(), &super::target::checked(&self.lease_namespace)?);
        match api.get_opt(&super::target::checked(&self.lease_name)?).await {
            Ok(Some(lease)) => Ok(of_lease(&lease, Timestamp::now())),
            Ok(None) => {
                let place = format!("{}/{}", self.lease_namespace, self.lease_name);
                Ok(unknown(format!("there is no Lease {place}: no manager, or one with --leader-elect=false")))
            }
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(unknown(status.message.clone())),
            Err(error) => Ok(unknown(of_client(&error))),
        }
    }
}

fn unknown(note: String) -> Manager {
    Manager { version: None, holder: None, is_late: false, note: Some(note) }
}

fn of_lease(lease: &Lease, now: Timestamp) -> Manager {
    let spec = lease.spec.clone().unwrap_or_default();
    let annotations = lease.metadata.annotations.as_ref();
    let version = annotations.and_then(|all| all.get(names::MANAGER_VERSION_ANNOTATION)).cloned();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let silent_seconds = spec.renew_time.map(|time| seconds_between(time.0, now));
    let is_late = silent_seconds.is_some_and(|silent| silent > i64::from(spec.lease_duration_seconds.unwrap_or(0)));
    let note = match (&version, &holder, is_late) {
        (_, None, _) => Some("no manager holds the Lease".to_owned()),
        (_, Some(_), true) => {
            Some(format!("the Lease was not renewed for {}", short_span(silent_seconds.unwrap_or(0))))
        }
        (None, Some(_), false) => Some("the manager does not say its version".to_owned()),
        (Some(_), Some(_), false) => None,
    };
    Manager { version, holder, is_late, note }
}

fn text(versions: &Versions) -> String {
    let mut text = format!("Plugin Version: {}\n", versions.plugin);
    if let Some(manager) = &versions.manager {
        let version = manager.version.as_deref().unwrap_or("unknown");
        let note = manager.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
        text += &format!("Manager Version: {}\n", clean(&format!("{version}{note}")));
    }
    if let Some(server) = &versions.server {
        text += &format!("Server Version: {}\n", clean(server));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(annotations: Value, holder: &str, renewed: &str) -> String {
        let lease = serde_json::from_value(json!({
            "metadata": {"annotations": annotations},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": renewed},
        }))
        .unwrap();
        let manager = of_lease(&lease, "2026-01-01T00:01:00Z".parse().unwrap());
        text(&Versions { plugin: "1", manager: Some(manager), server: None }).lines().nth(1).unwrap().to_owned()
    }

    #[test]
    fn the_lease_says_which_manager_leads() {
        let version = json!({"apps.asts.dev/manager-version": "0.1.0"});
        let recent = "2026-01-01T00:00:50.000000Z";
        assert_eq!(told(version.clone(), "a", recent), "Manager Version: 0.1.0");
        assert_eq!(
            told(version.clone(), "a", "2026-01-01T00:00:00.000000Z"),
            "Manager Version: 0.1.0 (the Lease was not renewed for 60s)"
        );
        assert_eq!(told(version, "", recent), "Manager Version: 0.1.0 (no manager holds the Lease)");
        assert_eq!(told(json!({}), "a", recent), "Manager Version: unknown (the manager does not say its version)");
    }
}
