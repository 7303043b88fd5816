//! Whether the user may do all that is to be done, asked before anything is.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::Api;
use kube::api::PostParams;

use crate::cli::connect::Session;
use crate::cli::error::CliError;

/// One right in the namespace of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    pub verb: &'static str,
    pub group: &'static str,
    pub resource: &'static str,
}

impl Right {
    pub const fn to(verb: &'static str, group: &'static str, resource: &'static str) -> Right {
        Right { verb, group, resource }
    }
}

/// Those that the user does not have, as `kubectl auth can-i` takes them.
pub async fn missing(session: &Session, rights: &[Right]) -> Result<Vec<String>, CliError> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(session.client.clone());
    let mut missing = Vec::new();
    for right in rights {
        let attributes = ResourceAttributes {
            namespace: Some(session.namespace.clone()),
            verb: Some(right.verb.to_owned()),
            group: Some(right.group.to_owned()),
            resource: Some(right.resource.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let answer = reviews.create(&PostParams::default(), &review).await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            let dot = if right.group.is_empty() { "" } else { "." };
            missing.push(format!("{} {}{dot}{}", right.verb, right.resource, right.group));
        }
    }
    Ok(missing)
}
