//! How a hand-over is given up, while the old set is there.

use kube::api::DynamicObject;

use super::moving::Moving;
use super::patience::Patience;
use super::record::Record;
use super::retention;
use super::stage::Stage;
use crate::cli::output::say;

/// How long a last look may take after something went wrong.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Says so after a call that did not come to its end. Nothing is said where there is nothing to give up.
pub async fn hint<R: Record>(moving: &Moving) {
    let stage = Patience::of(LIMIT).bound(moving.stage::<R>()).await;
    if let Ok(Stage::Begun { old, .. }) = stage {
        let shown = (moving.old_shown(), moving.new_shown());
        commands(&moving.session.namespace, &shown, &old).iter().for_each(|it| say(&format!("to give up: {it}")));
    }
}

fn commands(namespace: &str, (old_shown, new_shown): &(String, String), old: &DynamicObject) -> Vec<String> {
    let mut commands = vec![format!("kubectl -n {namespace} delete {new_shown} --cascade=orphan")];
    if retention::is_noted(old) {
        let patch = retention::set_back();
        commands.push(format!("kubectl -n {namespace} patch {old_shown} --type=merge -p '{patch}'"));
    }
    commands
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_changed_is_set_back() {
        let old = |note: &str| -> DynamicObject {
            serde_json::from_value(json!({
                "metadata": {"annotations": {retention::NOTE: note}},
                "spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}},
            }))
            .unwrap()
        };
        let shown = ("statefulset.apps/web".to_owned(), "advancedstatefulset.apps.asts.dev/web".to_owned());
        let delete = "kubectl -n shop delete advancedstatefulset.apps.asts.dev/web --cascade=orphan";
        assert_eq!(commands("shop", &shown, &old("")), [delete]);
        let noted = commands("shop", &shown, &old("Delete"));
        assert_eq!(noted[0], delete);
        assert!(noted[1].starts_with("kubectl -n shop patch statefulset.apps/web --type=merge -p '{"), "{noted:?}");
    }
}
