//! Admission policies of the apiserver's own that forbid something in one namespace.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use serde_json::json;

use super::wait::{eventually, seconds};
use super::{Failure, Result, Space, install};
use crate::ensure;

/// Denies, with this message, requests for Pods of the namespace that the expression (CEL) is false for. Returns
/// when it is in force, which an apiserver needs a moment for.
pub async fn forbid(space: &Space, operation: &str, allowed: &str, message: &str) -> Result {
    let name = &space.namespace;
    // A ConfigMap shows, without a trace, whether it is in force.
    let expression = format!("request.resource.resource == 'pods' && ({allowed})");
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": ["pods"]},
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
            ]},
            "validations": [{"expression": expression, "message": message}],
        },
    });
    let here = json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here},
        },
    });
    for object in [policy, binding] {
        install::kubectl(&space.suite.cluster.info, &["create", "-f", "-"], Some(&object.to_string()))?;
    }
    eventually(seconds(30), "the policy is in force", async || {
        let probe: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "probe"}}))?;
        let parameters = PostParams { dry_run: true, ..Default::default() };
        match space.api().create(&parameters, &probe).await {
            Ok(_) => Err(Failure("not yet".to_owned())),
            Err(error) => {
                let told = error.to_string();
                ensure!(told.contains(message), "{told}");
                Ok(())
            }
        }
    })
    .await
}

/// Takes it away again.
pub fn forbid_no_more(space: &Space) -> Result {
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        install::kubectl(&space.suite.cluster.info, &["delete", kind, &space.namespace], None)?;
    }
    Ok(())
}
