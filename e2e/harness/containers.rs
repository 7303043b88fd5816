//! What became of the containers of a Pod that was changed in place.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::space::{pod_name, uid};
use super::{Context, Result};
use crate::ensure_eq;

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let main = status.and_then(|status| status.container_statuses.as_ref());
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    main.into_iter().chain(init).flatten()
}

/// The status of a container, by its name.
pub fn container_status<'a>(pod: &'a Pod, container: &str) -> Result<&'a ContainerStatus> {
    statuses(pod).find(|status| status.name == container).context(format!("container {container} of {}", pod_name(pod)))
}

/// The image that the Pod's spec gives a container.
pub fn image_in_spec(pod: &Pod, container: &str) -> String {
    let spec = pod.spec.as_ref();
    let all = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    all.filter(|one| one.name == container).find_map(|one| one.image.clone()).unwrap_or_default()
}

/// The names of the containers that are others by now, in alphabetical order; the Pods must be the same.
pub fn restarted(old: &Pod, new: &Pod) -> Result<Vec<String>> {
    ensure_eq!(uid(new), uid(old), "UID of {}", pod_name(new));
    let address = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    ensure_eq!(address(new), address(old), "address of {}", pod_name(new));
    let ids = |pod: &Pod| -> BTreeMap<String, Option<String>> {
        statuses(pod).map(|status| (status.name.clone(), status.container_id.clone())).collect()
    };
    let before = ids(old);
    Ok(ids(new).into_iter().filter(|(name, id)| before.get(name) != Some(id)).map(|(name, _)| name).collect())
}

/// How often each container was started again, by its name.
pub fn restart_counts(pod: &Pod) -> BTreeMap<String, i32> {
    statuses(pod).map(|status| (status.name.clone(), status.restart_count)).collect()
}
