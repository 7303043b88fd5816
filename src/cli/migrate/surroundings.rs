//! What stands around a set and speaks of it: autoscalers, disruption budgets, Services, tools that deploy it.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use serde::de::DeserializeOwned;

use super::facts::{self, counted};
use super::findings::Findings;
use super::kinds::SetKind;
use super::marks;
use crate::api::names;
use crate::cli::connect::Session;
use crate::cli::error::CliError;
use crate::model::Selector;

/// Looks at all of them. `from` and `to`: whose the Pods are, and whose they are to be.
pub async fn look(
    session: &Session,
    set: &DynamicObject,
    (from, to): (SetKind, SetKind),
    findings: &mut Findings,
) -> Result<(), CliError> {
    tools(set, findings);
    services(session, set, findings).await?;
    budgets(session, set, findings).await?;
    for hint in autoscalers(session, set, (from, to)).await? {
        findings.note(hint);
    }
    Ok(())
}

fn tools(set: &DynamicObject, findings: &mut Findings) {
    for tool in marks::tools(&set.metadata) {
        findings.note(format!(
            "{tool} deploys this set: change its manifests and stop its sync first, or it makes the old one again"
        ));
    }
}

async fn services(session: &Session, set: &DynamicObject, findings: &mut Findings) -> Result<(), CliError> {
    let Some(services) = listed::<Service>(session, "Services", findings).await? else { return Ok(()) };
    let labels = facts::template_labels(set);
    let mut selecting = Vec::new();
    for service in &services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        if selector.contains_key(names::REVISION_LABEL) {
            findings.note(format!("Service {name} selects Pods by {}, whose values change", names::REVISION_LABEL));
        } else if !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            selecting.push(name);
        }
    }
    if let Some(wanted) = facts::text(set, "/spec/serviceName").filter(|name| !name.is_empty())
        && !services.iter().any(|service| service.metadata.name.as_deref() == Some(wanted))
    {
        findings.note(format!("spec.serviceName names the Service {wanted}, which does not exist"));
    }
    if !selecting.is_empty() {
        findings.fine(format!("the Pods stay selected by {}", listed_names("Service", &selecting)));
    }
    Ok(())
}

async fn budgets(session: &Session, set: &DynamicObject, findings: &mut Findings) -> Result<(), CliError> {
    let Some(budgets) = listed::<PodDisruptionBudget>(session, "PodDisruptionBudgets", findings).await? else {
        return Ok(());
    };
    let labels = facts::template_labels(set);
    let selects = |budget: &&PodDisruptionBudget| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let parsed = selector.and_then(|selector| Selector::parse(selector).ok());
        parsed.is_some_and(|selector| selector.matches(|key| labels.get(key).map(String::as_str)))
    };
    let found: Vec<&str> =
        budgets.iter().filter(selects).filter_map(|budget| budget.metadata.name.as_deref()).collect();
    if !found.is_empty() {
        findings.fine(format!(
            "the Pods stay counted by {}; nothing is evicted",
            listed_names("PodDisruptionBudget", &found)
        ));
    }
    Ok(())
}

/// Autoscalers whose target has to be turned, each with the command for it.
pub async fn autoscalers(
    session: &Session,
    set: &DynamicObject,
    (from, to): (SetKind, SetKind),
) -> Result<Vec<String>, CliError> {
    let mut unread = Findings::default();
    let found = listed::<HorizontalPodAutoscaler>(session, "HorizontalPodAutoscalers", &mut unread).await?;
    let set_name = set.metadata.name.as_deref().unwrap_or_default();
    let names_it = |scaler: &&HorizontalPodAutoscaler| {
        let target = scaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
        target.is_some_and(|target| {
            let group = target.api_version.as_deref().unwrap_or_default().split('/').next().unwrap_or_default();
            target.kind == from.kind && target.name == set_name && group == from.group
        })
    };
    let hint = |scaler: &HorizontalPodAutoscaler| {
        let name = scaler.metadata.name.as_deref().unwrap_or_default();
        format!(
            "HorizontalPodAutoscaler {name} scales {}/{set_name}: when all is done, turn it with kubectl -n {} patch hpa {name} \
             -p '{{\"spec\":{{\"scaleTargetRef\":{{\"apiVersion\":\"{}\",\"kind\":\"{}\"}}}}}}'",
            from.shown,
            session.namespace,
            to.api_version(),
            to.kind
        )
    };
    let mut hints: Vec<String> = found.iter().flatten().filter(names_it).map(hint).collect();
    hints.extend(unread.0.into_iter().map(|finding| finding.text));
    Ok(hints)
}

fn listed_names(kind: &str, names: &[&str]) -> String {
    format!("{} ({})", counted(names.len(), kind), facts::some_of(names.iter().copied()))
}

/// All objects of a kind; `None`, with a note, where the user may not see them or the server has none such.
async fn listed<K>(session: &Session, what: &str, findings: &mut Findings) -> Result<Option<Vec<K>>, CliError>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let api: Api<K> = Api::namespaced(session.client.clone(), &session.namespace);
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(Some(list.items)),
        Err(kube::Error::Api(status)) if status.code == 403 || status.code == 404 => {
            findings.note(format!("{what} may not be listed: look yourself whether one speaks of this set"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
