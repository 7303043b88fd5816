//! What a Pod and its containers are, from outside and from inside, before and after a change.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolume, Pod};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::harness::space::{pod_name, uid};
use crate::harness::{Context, Result, Space, eventually, image};
use crate::{ensure, ensure_eq};

/// Real containers take their time.
pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A container of the test image.
pub fn container(name: &str, port: u16, more: Value) -> Value {
    let container = json!({
        "name": name, "image": image("v1"), "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "PORT", "value": port.to_string()}],
    });
    crate::harness::manifest::with(container, more)
}

/// What stays when a Pod is updated in place, and what tells which containers were re-created.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub uid: String,
    pub ip: String,
    pub node: String,
    /// ID and count of restarts by name, restartable init containers too.
    pub containers: BTreeMap<String, (String, i32)>,
}

impl Seen {
    pub fn of(pod: &Pod) -> Self {
        let text = |value: Option<&String>| value.cloned().unwrap_or_default();
        let status = pod.status.as_ref();
        let id = |status: &ContainerStatus| (text(status.container_id.as_ref()), status.restart_count);
        Self {
            uid: uid(pod),
            ip: text(status.and_then(|status| status.pod_ip.as_ref())),
            node: text(pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref())),
            containers: statuses(pod).map(|status| (status.name.clone(), id(status))).collect(),
        }
    }

    /// The same Pod, in which exactly these containers were re-created, once each.
    pub fn rebuilt(&self, now: &Pod, names: &[&str]) -> Result {
        let seen = Seen::of(now);
        let name = pod_name(now);
        ensure_eq!(
            (&seen.uid, &seen.ip, &seen.node),
            (&self.uid, &self.ip, &self.node),
            "UID, address and node of {name}"
        );
        for (container, (id, restarts)) in &self.containers {
            let (new_id, new_restarts) = seen.containers.get(container).context(container)?;
            if names.contains(&container.as_str()) {
                ensure!(new_id != id && !new_id.is_empty(), "{name}: {container} still has the old container");
                ensure_eq!(*new_restarts, restarts + 1, "{name}: restarts of {container}");
            } else {
                ensure_eq!((new_id, new_restarts), (id, restarts), "{name}: {container} was to go on");
            }
        }
        Ok(())
    }
}

pub fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let main = status.and_then(|status| status.container_statuses.as_ref());
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    main.into_iter().flatten().chain(init.into_iter().flatten())
}

/// The value of a variable that the process in a container has; empty where it has none.
pub fn env_in(space: &Space, pod: &str, container: &str, name: &str) -> Result<String> {
    let printed = space.kubectl(&["exec", pod, "-c", container, "--", "env", name], None)?;
    Ok(printed.trim_end_matches('\n').to_owned())
}

/// The content of a file as the process in a container sees it.
pub fn file_in(space: &Space, pod: &str, container: &str, path: &str) -> Result<String> {
    space.kubectl(&["exec", pod, "-c", container, "--", "cat", path], None)
}

/// Waits until a file has this content: the kubelet swaps files a moment after a patch.
pub async fn file_becomes(space: &Space, pod: &str, container: &str, path: &str, wanted: &str) -> Result {
    eventually(PATIENCE, &format!("{path} in {pod} says {wanted:?}"), async || {
        ensure_eq!(file_in(space, pod, container, path)?, wanted, "{path}");
        Ok(())
    })
    .await
}

pub async fn make_config_map(space: &Space, name: &str, data: Value) -> Result {
    make(space, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}))
}

pub async fn make_secret(space: &Space, name: &str, data: Value) -> Result {
    make(space, json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}))
}

/// Creates any object with kubectl.
pub fn make(space: &Space, manifest: Value) -> Result {
    space.kubectl(&["create", "-f", "-"], Some(&manifest.to_string())).map(|_| ())
}

/// A volume with one file, and a claim that is bound to it.
pub async fn make_bound_claim(space: &Space, name: &str, file: &str, content: &str) -> Result {
    let folder = space.suite.cluster.info.volumes.join(format!("{}-{name}", space.namespace));
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(file), content)?;
    let volume: PersistentVolume = serde_json::from_value(json!({
        "metadata": {"name": format!("{}-{name}", space.namespace)},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "claimRef": {"namespace": space.namespace, "name": name}, "hostPath": {"path": folder},
        },
    }))?;
    Api::all(space.client.clone()).create(&PostParams::default(), &volume).await?;
    let mut claim = crate::harness::manifest::claim_template(name, "1Mi");
    claim["apiVersion"] = json!("v1");
    claim["kind"] = json!("PersistentVolumeClaim");
    make(space, claim)?;
    eventually(PATIENCE, "the claim is bound", async || {
        let phase = space.claim(name).await?.status.and_then(|status| status.phase);
        ensure_eq!(phase.as_deref(), Some("Bound"), "phase of {name}");
        Ok(())
    })
    .await
}
