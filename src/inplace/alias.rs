//! Other references of the image that a container has. A kubelet starts a container again when the
//! text of its image changes, also where both name the same image: so one container of a running
//! Pod is restarted on any cluster.

use super::image::{Reference, same_reference};
use crate::model::ContainerFacts;

const DOCKER_HUB: &str = "docker.io";
const LIBRARY: &str = "library/";
/// The runtime that may look for short names in other registries than Docker Hub.
const CRI_O: &str = "cri-o://";

/// Another text for the image of a container, or why there is none.
///
/// `wanted`: the image as the template writes it. `always_pulls`: by its pull policy. `avoid`: texts
/// that the container that runs may have been started with, beside the one that its spec has now.
///
/// # Errors
/// Why there is none, as users read it after the container's path.
pub fn other_reference(
    container: &ContainerFacts,
    wanted: &str,
    always_pulls: bool,
    avoid: &[&str],
) -> Result<String, &'static str> {
    let present: &str = &container.image;
    // An image that admission changed (a mirror) stays as it is.
    let base = if same_repository(present, wanted) { wanted } else { present };
    reference_of(container, base, always_pulls, &[avoid, &[present]].concat())
}

/// A text for the image `base` that is none of `avoid`.
///
/// # Errors
/// Why there is none.
pub fn reference_of(
    container: &ContainerFacts,
    base: &str,
    always_pulls: bool,
    avoid: &[&str],
) -> Result<String, &'static str> {
    let mut texts = vec![base.to_owned()];
    let by_name = names_at_docker_hub(container, base);
    let is_docker_hub = !by_name.is_empty();
    texts.extend(by_name);
    let digest = with_digest(container, base);
    if !always_pulls {
        texts.extend(digest.iter().flatten().cloned());
    }
    let free = texts.into_iter().find(|text| !avoid.contains(&text.as_str()));
    free.ok_or(if always_pulls && digest.is_some() {
        "its image has no other reference than by digest, and with imagePullPolicy Always a restart is to pull the tag"
    } else if is_docker_hub {
        "no other reference of its image is left until the change before this one is done"
    } else {
        "its image has no other reference: it is not of docker.io, and its node reports no digest of it"
    })
}

/// Whether two texts name images of one repository.
fn same_repository(left: &str, right: &str) -> bool {
    let (left, right) = (Reference::parse(left), Reference::parse(right));
    left.registry == right.registry && left.path == right.path
}

/// The other names of an image at Docker Hub, with tag and digest as they stand. The rules are those
/// of distribution/reference, which kubelets and runtimes read references with.
fn names_at_docker_hub(container: &ContainerFacts, image: &str) -> Vec<String> {
    let reference = Reference::parse(image);
    let shown = container.status_image.as_deref().filter(|shown| !is_image_id(shown));
    let elsewhere = shown.is_some_and(|shown| Reference::parse(shown).registry != DOCKER_HUB);
    if reference.registry != DOCKER_HUB || reference.path.is_empty() || elsewhere {
        return Vec::new();
    }
    let suffix = suffix_of(image);
    let short = reference.path.strip_prefix(LIBRARY).filter(|rest| !rest.contains('/')).unwrap_or(&reference.path);
    let reads_short_names = !container.container_id.as_deref().is_some_and(|id| id.starts_with(CRI_O));
    let starts_short = !image.starts_with(DOCKER_HUB) && !image.starts_with("index.");
    if starts_short && !reads_short_names {
        return Vec::new();
    }
    let full = format!("{DOCKER_HUB}/{}{suffix}", reference.path);
    let mut names = if starts_short { vec![full] } else { Vec::new() };
    if reads_short_names {
        names.push(format!("{short}{suffix}"));
    }
    if !starts_short {
        names.push(format!("{DOCKER_HUB}/{}{suffix}", reference.path));
    }
    names.push(format!("index.{DOCKER_HUB}/{}{suffix}", reference.path));
    names.push(format!("index.{DOCKER_HUB}/{short}{suffix}"));
    names
}

/// The image with the digest that its node reports; `None` where it reports none.
fn with_digest(container: &ContainerFacts, image: &str) -> Option<Vec<String>> {
    let name = &image[..image.len() - suffix_of(image).len()];
    let reference = Reference::parse(image);
    if !reference.digest.is_empty() {
        // The digest decides, whatever the tag says.
        return (!reference.tag.is_empty()).then(|| vec![format!("{name}@{}", reference.digest)]);
    }
    let reported = Reference::parse(container.image_id.as_deref()?);
    let of_it = reported.registry == reference.registry && reported.path == reference.path;
    // Of the container that runs with this tag, not of one before it.
    let shows_tag = container.status_image.as_deref().is_none_or(|shown| same_reference(shown, image));
    (of_it && shows_tag && !reported.digest.is_empty()).then(|| {
        let digest = &reported.digest;
        vec![format!("{name}:{}@{digest}", reference.tag), format!("{name}@{digest}")]
    })
}

/// The tag and the digest of a reference as they stand: `:v1`, `@sha256:…`, both, or nothing.
fn suffix_of(image: &str) -> &str {
    let named = image.split_once('@').map_or(image, |(named, _)| named);
    let name_start = named.rfind('/').map_or(0, |slash| slash + 1);
    let end = named[name_start..].rfind(':').map_or(named.len(), |colon| name_start + colon);
    &image[end..]
}

/// A runtime that does not know an image's name shows its ID.
fn is_image_id(text: &str) -> bool {
    text.starts_with("sha256:")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    fn container(image: &str) -> ContainerFacts {
        ContainerFacts { image: image.into(), container_id: Some("containerd://1".into()), ..ContainerFacts::default() }
    }

    fn reporting(image: &str, image_id: &str) -> ContainerFacts {
        ContainerFacts { image_id: Some(image_id.into()), status_image: Some(image.into()), ..container(image) }
    }

    fn other(image: &str, wanted: &str, avoid: &[&str]) -> Option<String> {
        other_reference(&container(image), wanted, false, avoid).ok()
    }

    #[test]
    fn short_and_full_names_at_docker_hub_take_turns() {
        for (short, full) in [
            ("app:v1", "docker.io/library/app:v1"),
            ("app", "docker.io/library/app"),
            ("org/app:v1", "docker.io/org/app:v1"),
            ("app@sha256:aa", "docker.io/library/app@sha256:aa"),
        ] {
            for template in [short, full] {
                assert_eq!(other(short, template, &[]).as_deref(), Some(full), "{template}");
                assert_eq!(other(full, template, &[]).as_deref(), Some(short), "{template}");
            }
        }
    }

    /// The kubelet may not have acted on the last text yet: then the one before it would be no change.
    #[test]
    fn a_third_reference_is_found_while_a_change_is_under_way() {
        for (started_with, now) in [
            ("app:v1", "docker.io/library/app:v1"),
            ("docker.io/library/app:v1", "app:v1"),
            ("docker.io/org/app:v1", "org/app:v1"),
        ] {
            let third = other(now, started_with, &[started_with]).unwrap();
            assert!(third != now && third != started_with && same_reference(&third, now), "{third}");
            let fourth = other(&third, started_with, &[started_with, now]);
            assert!(fourth.is_none_or(|fourth| same_reference(&fourth, now) && fourth != third));
        }
    }

    #[test]
    fn the_digest_that_the_node_reports_is_another_reference() {
        let id = format!("r.io/team/app@{DIGEST}");
        let facts = reporting("r.io/team/app:v1", &id);
        let tagged = format!("r.io/team/app:v1@{DIGEST}");
        assert_eq!(other_reference(&facts, "r.io/team/app:v1", false, &[]), Ok(tagged.clone()));
        let turned = ContainerFacts { image: tagged.as_str().into(), ..facts.clone() };
        assert_eq!(other_reference(&turned, "r.io/team/app:v1", false, &[]), Ok("r.io/team/app:v1".to_owned()));
        assert_eq!(other_reference(&turned, "r.io/team/app:v1", false, &["r.io/team/app:v1"]), Ok(id));
    }

    #[test]
    fn no_digest_of_another_image_is_taken() {
        for (image, image_id, shown) in [
            ("r.io/app:v1", format!("other.io/app@{DIGEST}"), "r.io/app:v1"),
            ("r.io/app:v2", format!("r.io/app@{DIGEST}"), "r.io/app:v1"),
            ("r.io/app:v1", DIGEST.to_owned(), "r.io/app:v1"),
        ] {
            let facts = ContainerFacts { status_image: Some(shown.into()), ..reporting(image, &image_id) };
            let why = other_reference(&facts, image, false, &[]).unwrap_err();
            assert!(why.contains("reports no digest"), "{why}");
        }
    }

    /// Who restarts to get what the tag is by now must not be given what it was.
    #[test]
    fn a_digest_does_not_stand_for_a_tag_that_is_always_pulled() {
        let facts = reporting("r.io/app:latest", &format!("r.io/app@{DIGEST}"));
        assert!(other_reference(&facts, "r.io/app:latest", true, &[]).unwrap_err().contains("imagePullPolicy Always"));
        let hub = reporting("app:latest", &format!("docker.io/library/app@{DIGEST}"));
        assert_eq!(
            other_reference(&hub, "app:latest", true, &[]),
            Ok("docker.io/library/app:latest".to_owned()),
            "the tag stays"
        );
    }

    /// CRI-O looks for short names where its configuration says.
    #[test]
    fn a_short_name_is_of_docker_hub_only_where_the_runtime_says_so() {
        let on_crio = |image: &str| ContainerFacts { container_id: Some("cri-o://1".into()), ..container(image) };
        assert!(other_reference(&on_crio("app:v1"), "app:v1", false, &[]).is_err());
        let other = other_reference(&on_crio("docker.io/library/app:v1"), "docker.io/library/app:v1", false, &[]);
        assert_eq!(other, Ok("index.docker.io/library/app:v1".to_owned()));
        let elsewhere = ContainerFacts { status_image: Some("quay.io/app:v1".into()), ..container("app:v1") };
        assert!(other_reference(&elsewhere, "app:v1", false, &[]).is_err());
    }

    #[test]
    fn an_image_from_a_mirror_stays_one_of_the_mirror() {
        assert_eq!(other("mirror.io/app:v1", "app:v1", &[]), None);
        assert_eq!(other("mirror/app:v1", "app:v1", &[]).as_deref(), Some("docker.io/mirror/app:v1"));
    }

    #[test]
    fn odd_texts_do_no_harm() {
        for image in ["", "/", ":", "@", "a/", "/:@", "é:ü", "a:b:c", "@@", "docker.io/", "docker.io/library/"] {
            let facts = reporting(image, image);
            if let Ok(found) = other_reference(&facts, image, false, &[]) {
                assert!(found != image, "{image:?}");
            }
        }
    }
}
