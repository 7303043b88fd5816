//! Who a Pod is: its name, labels, hostname and owner, now and after it was re-created.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::space::{hash_in, is_ready, label, ordinal, own_labels, pod_name, revision_label, uid};
use crate::harness::{Context, Result, Space, set};
use crate::{ensure, ensure_eq, test_list};

test_list![
    pods_have_names_labels_hostname_and_owner,
    the_revision_label_is_the_hash_alone_of_the_revision,
    a_deleted_pod_comes_back_as_itself,
    pods_that_may_be_updated_in_place_have_the_gate_and_it_is_open,
    the_template_may_set_no_identity,
];

async fn pods_have_names_labels_hostname_and_owner(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let owner_uid = space.set("web").await?.metadata.uid;
    let pods = space.pods_of("web").await?;
    ensure_eq!(pods.iter().map(pod_name).collect::<Vec<_>>(), ["web-0", "web-1", "web-2"], "names");
    for (index, pod) in pods.iter().enumerate() {
        let name = pod_name(pod);
        ensure_eq!(label(pod, "app"), Some("web"), "the template's label of {name}");
        ensure_eq!(label(pod, "statefulset.kubernetes.io/pod-name"), Some(name), "pod-name label");
        ensure_eq!(label(pod, "apps.kubernetes.io/pod-index"), Some(index.to_string().as_str()), "index of {name}");
        let spec = pod.spec.as_ref().context("spec")?;
        ensure_eq!(spec.hostname.as_deref(), Some(name), "hostname");
        ensure_eq!(spec.subdomain.as_deref(), Some("peers"), "subdomain of {name}");
        let owners = pod.metadata.owner_references.clone().unwrap_or_default();
        ensure_eq!(owners.len(), 1, "owners of {name}");
        let owner = &owners[0];
        ensure_eq!(
            (owner.kind.as_str(), owner.api_version.as_str(), owner.name.as_str()),
            ("AdvancedStatefulSet", "apps.asts.dev/v1beta1", "web"),
            "owner of {name}"
        );
        ensure!(owner.controller == Some(true) && Some(&owner.uid) == owner_uid.as_ref(), "{owner:?} of {name}");
    }
    Ok(())
}

async fn the_revision_label_is_the_hash_alone_of_the_revision(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let status = space.status("web").await?;
    let revisions = space.revisions_of("web").await?;
    ensure_eq!(revisions.len(), 1, "revisions");
    let name = revisions[0].metadata.name.clone();
    ensure_eq!(status.update_revision, name, "updateRevision");
    ensure_eq!(status.current_revision, name, "currentRevision");
    let name = name.context("a name")?;
    ensure!(name.starts_with("web-"), "the revision is called {name}");
    for pod in space.pods_of("web").await? {
        ensure_eq!(revision_label(&pod), hash_in(Some(&name)), "revision label of {}", pod_name(&pod));
    }
    Ok(())
}

async fn a_deleted_pod_comes_back_as_itself(space: Space) -> Result {
    space.create_settled(set("web", json!({}))).await?;
    let recorder = space.record().await?;
    let before = space.pods_of("web").await?;
    let after = space.delete_and_wait("web-1").await?;
    ensure_eq!(own_labels(&after), own_labels(&before[1]), "labels");
    ensure_eq!(after.spec.as_ref().and_then(|spec| spec.hostname.as_deref()), Some("web-1"), "hostname");
    space.settled("web").await?;
    let others = space.pods_of("web").await?;
    ensure_eq!(uid(&others[0]), uid(&before[0]), "web-0's UID");
    ensure_eq!(uid(&others[2]), uid(&before[2]), "web-2's UID");
    recorder.keeps_identity()
}

async fn pods_that_may_be_updated_in_place_have_the_gate_and_it_is_open(space: Space) -> Result {
    let gates = async |name: &str| -> Result<BTreeSet<String>> {
        let pod = space.pod(name).await?;
        let gates = pod.spec.and_then(|spec| spec.readiness_gates).unwrap_or_default();
        Ok(gates.into_iter().map(|gate| gate.condition_type).collect())
    };
    space.create_settled(set("web", json!({"replicas": 1}))).await?;
    ensure_eq!(gates("web-0").await?, BTreeSet::from(["InPlaceUpdateReady".to_owned()]), "gates by default");
    let recreate = crate::harness::manifest::rolling_update(json!({"podUpdatePolicy": "ReCreate"}));
    space.create_settled(set("plain", crate::harness::manifest::with(json!({"replicas": 1}), recreate))).await?;
    ensure_eq!(gates("plain-0").await?, BTreeSet::new(), "gates under ReCreate");
    Ok(())
}

/// As natively: what the template says of the Pod's own name is overwritten.
async fn the_template_may_set_no_identity(space: Space) -> Result {
    let template = json!({"template": {"spec": {"hostname": "mine", "subdomain": "mine"}}, "replicas": 2});
    space.create_settled(set("web", template)).await?;
    for pod in space.pods_of("web").await? {
        ensure!(is_ready(&pod) && ordinal(pod_name(&pod)) >= 0, "{} is not ready", pod_name(&pod));
        let spec = pod.spec.as_ref().context("spec")?;
        ensure_eq!(spec.hostname.as_deref(), Some(pod_name(&pod)), "hostname");
        ensure_eq!(spec.subdomain.as_deref(), Some("peers"), "subdomain");
    }
    Ok(())
}
