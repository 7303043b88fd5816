//! How every story ends: each Pod is what the template says, and nothing more is written.

use std::time::Duration;

use asts::inplace::{differences, template_of_pod};

use super::audit::requests_of;
use super::install::MANAGER_USER;
use super::space::pod_name;
use super::wait::seconds;
use super::{Context, Result, Space, eventually};
use crate::{ensure, ensure_eq};

const QUIET: Duration = Duration::from_secs(5);
const PATIENCE_SECONDS: u64 = 60;

/// Every Pod of a set that is done has every field of its template.
pub async fn has_template(space: &Space, set: &str) -> Result {
    let template = space.sets().get(set).await?.data["spec"]["template"].take();
    for pod in space.pods_of(set).await? {
        let found = template_of_pod(&serde_json::to_value(&pod)?, &template);
        let differing = differences(&found, &template);
        let paths: Vec<&str> = differing.iter().map(|difference| difference.path.as_str()).collect();
        ensure!(paths.is_empty(), "{} differs from the template in {paths:?}", pod_name(&pod));
    }
    Ok(())
}

/// What managers have written in the namespace, events apart.
fn writes(space: &Space) -> Result<usize> {
    let requests = requests_of(&space.suite.cluster.info.audit_log, MANAGER_USER)?;
    let here = requests.iter().filter(|request| request.object_ref.namespace == space.namespace);
    Ok(here.filter(|request| request.changes_objects()).count())
}

/// Whichever manager works, it writes nothing for a while.
pub async fn is_quiet(space: &Space) -> Result {
    eventually(seconds(PATIENCE_SECONDS), "nothing is written any more", async || {
        let before = writes(space)?;
        tokio::time::sleep(QUIET).await;
        ensure_eq!(writes(space)?, before, "writes of managers");
        Ok(())
    })
    .await
}

/// Both, of a set that is done.
pub async fn at_rest(space: &Space, set: &str) -> Result {
    has_template(space, set).await.context(set)?;
    is_quiet(space).await
}
