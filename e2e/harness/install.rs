//! Puts the project into a cluster as its users do: the resource, the rights, an identity.

use std::path::PathBuf;
use std::process::Command;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use serde_json::json;

use super::cluster::Info;
use super::{Context, Failure, Result};

/// Where the manager lives.
pub const SYSTEM_NAMESPACE: &str = "asts-system";
/// The manager's ServiceAccount.
pub const SERVICE_ACCOUNT: &str = "asts-manager";
/// The manager as the apiserver names it.
pub const MANAGER_USER: &str = "system:serviceaccount:asts-system:asts-manager";

const TOKEN_SECONDS: i64 = 24 * 3600;

/// Runs kubectl as the cluster's administrator and returns what it printed.
pub fn kubectl(info: &Info, arguments: &[&str], input: Option<&str>) -> Result<String> {
    let (program, first) = info.kubectl.split_first().context("kubectl")?;
    let mut command = Command::new(program);
    command.args(first).arg("--kubeconfig").arg(&info.kubeconfig).args(arguments);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("HOME", &info.dir);
    run(command, input)
}

/// Runs a command to its end; an exit code other than 0 is a failure with what it printed.
pub fn run(mut command: Command, input: Option<&str>) -> Result<String> {
    use std::io::Write;
    use std::process::Stdio;
    let shown = format!("{command:?}");
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context(&shown)?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(Failure(format!("{shown}: {}: {}", output.status, String::from_utf8_lossy(&printed))))
}

/// Installs the resource and the manager's rights.
pub fn install(info: &Info) -> Result {
    kubectl(info, &["apply", "-k", "config/crd"], None)?;
    kubectl(info, &["apply", "-k", "config/namespace"], None)?;
    kubectl(info, &["apply", "-k", "config/rbac"], None)?;
    kubectl(
        info,
        &["wait", "--for=condition=Established", "--timeout=30s", "crd/advancedstatefulsets.apps.asts.dev"],
        None,
    )?;
    Ok(())
}

/// Writes a kubeconfig that acts as a ServiceAccount.
pub async fn identity(info: &Info, client: &kube::Client, namespace: &str, account: &str) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..Default::default() },
        ..Default::default()
    };
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    let token = answer.status.context("the token's status")?.token;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "asts",
        "clusters": [{"name": "asts", "cluster": {"server": info.server, "certificate-authority": info.ca}}],
        "users": [{"name": "asts", "user": {"token": token}}],
        "contexts": [{"name": "asts", "context": {"cluster": "asts", "user": "asts", "namespace": namespace}}],
    });
    let file = info.dir.join(format!("{namespace}-{account}.kubeconfig"));
    std::fs::write(&file, serde_json::to_string_pretty(&config)?)?;
    Ok(file)
}

/// A client under a kubeconfig's identity.
pub async fn client(kubeconfig: &std::path::Path) -> Result<kube::Client> {
    let config = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(config, &options).await?;
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}
