//! From flags and kubeconfig to a client, as kubectl does it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::{HeaderValue, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::error::CliError;

/// The flags of kubectl that say which cluster, and who asks.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionFlags {
    /// Kubeconfig file; else those that KUBECONFIG names, else ~/.kube/config, else the Pod's own service account
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
    /// Cluster of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub cluster: Option<String>,
    /// User of the kubeconfig
    #[arg(long, value_name = "NAME", global = true)]
    pub user: Option<String>,
    /// Namespace to work in
    #[arg(short, long, value_name = "NAME", global = true)]
    pub namespace: Option<String>,
    /// Address of the apiserver
    #[arg(short, long, value_name = "URL", global = true)]
    pub server: Option<String>,
    /// Bearer token
    #[arg(long, value_name = "TOKEN", global = true)]
    pub token: Option<String>,
    /// User to act as
    #[arg(long = "as", value_name = "NAME", global = true)]
    pub impersonate: Option<String>,
    /// Group to act as; may be given many times
    #[arg(long = "as-group", value_name = "NAME", global = true)]
    pub impersonate_groups: Vec<String>,
    /// UID to act as
    #[arg(long = "as-uid", value_name = "UID", global = true)]
    pub impersonate_uid: Option<String>,
    /// Do not check the apiserver's certificate
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    /// Name to expect in the apiserver's certificate
    #[arg(long, value_name = "NAME", global = true)]
    pub tls_server_name: Option<String>,
    /// How long one request may take, such as 30s; 0 waits for ever
    #[arg(long, value_name = "TIME", global = true, value_parser = crate::duration::parse)]
    pub request_timeout: Option<Duration>,
}

/// A connection to one cluster, and the namespace to work in.
#[derive(Clone)]
pub struct Session {
    pub client: Client,
    pub namespace: String,
    /// It was given by a flag: objects of another are refused.
    pub namespace_is_given: bool,
}

impl ConnectionFlags {
    /// Connects. Nothing is asked of the apiserver yet.
    pub async fn session(&self) -> Result<Session, CliError> {
        let mut config = self.config().await?;
        if let Some(server) = &self.server {
            let wrong = |error: http::uri::InvalidUri| CliError::Flag { flag: "--server", message: error.to_string() };
            config.cluster_url = server.parse().map_err(wrong)?;
        }
        if let Some(token) = &self.token {
            config.auth_info.token = Some(token.clone().into());
        }
        if self.impersonate.is_some() {
            config.auth_info.impersonate = self.impersonate.clone();
        }
        if !self.impersonate_groups.is_empty() {
            config.auth_info.impersonate_groups = Some(self.impersonate_groups.clone());
        }
        if self.impersonate_uid.is_some() {
            config.auth_info.impersonate_uid = self.impersonate_uid.clone();
        }
        config.accept_invalid_certs |= self.insecure_skip_tls_verify;
        if self.tls_server_name.is_some() {
            config.tls_server_name = self.tls_server_name.clone();
        }
        if let Some(timeout) = self.request_timeout {
            config.read_timeout = (!timeout.is_zero()).then_some(timeout);
        }
        let agent = concat!("kubectl-asts/", env!("CARGO_PKG_VERSION"));
        config.headers.push((header::USER_AGENT, HeaderValue::from_static(agent)));
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let namespace = super::target::checked(&namespace)?;
        let client = Client::try_from(config).map_err(|error| CliError::Client(Box::new(error)))?;
        Ok(Session { client, namespace, namespace_is_given: self.namespace.is_some() })
    }

    async fn config(&self) -> Result<Config, CliError> {
        let options =
            KubeConfigOptions { context: self.context.clone(), cluster: self.cluster.clone(), user: self.user.clone() };
        let wrong = |error| CliError::Kubeconfig(Box::new(error));
        match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(wrong)?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(wrong)
            }
            None => match Config::from_kubeconfig(&options).await {
                Ok(config) => Ok(config),
                // Only where nobody asked for a part of a kubeconfig.
                Err(error) => match Config::incluster() {
                    Ok(config) if self.context.is_none() && self.cluster.is_none() && self.user.is_none() => Ok(config),
                    _ => Err(wrong(error)),
                },
            },
        }
    }
}
