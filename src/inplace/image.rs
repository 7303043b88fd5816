//! Image references: when two texts name the same image.

/// The registry that a reference without one means.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Another name that Docker clients accept for it.
const DEFAULT_REGISTRY_OLD_NAME: &str = "index.docker.io";
/// Where that registry keeps images whose path has one part.
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";

/// An image reference in its parts, with what was left out filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub registry: String,
    pub path: String,
    /// Empty where a digest stands without a tag.
    pub tag: String,
    /// With its algorithm: `sha256:…`; empty where there is none.
    pub digest: String,
}

impl Reference {
    /// Never fails: what is no reference ends up in `path` and equals only itself.
    pub fn parse(text: &str) -> Self {
        let (named, digest) = text.split_once('@').unwrap_or((text, ""));
        let name_start = named.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match named[name_start..].rfind(':') {
            Some(colon) => (&named[..name_start + colon], &named[name_start + colon + 1..]),
            None => (named, ""),
        };
        let tag = if tag.is_empty() && digest.is_empty() { DEFAULT_TAG } else { tag };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => (DEFAULT_REGISTRY, name),
        };
        let registry = if registry == DEFAULT_REGISTRY_OLD_NAME { DEFAULT_REGISTRY } else { registry };
        let path = if registry == DEFAULT_REGISTRY && !path.is_empty() && !path.contains('/') {
            format!("{DEFAULT_NAMESPACE}/{path}")
        } else {
            path.to_owned()
        };
        Self { registry: registry.to_owned(), path, tag: tag.to_owned(), digest: digest.to_owned() }
    }

    /// Whether the kubelet is to look for a newer image at each start where no pull policy is given.
    pub fn is_latest(&self) -> bool {
        self.tag == DEFAULT_TAG
    }
}

/// Whether two references name the same image at the same registry. `nginx`, `nginx:latest` and
/// `docker.io/library/nginx:latest` do; a tag and a digest do not, whatever they hold.
pub fn same_reference(left: &str, right: &str) -> bool {
    left == right || Reference::parse(left) == Reference::parse(right)
}

/// Whether two references may stand for one image, as far as a container's status can tell: where a
/// digest stands without a tag, any tag of the repository may be its.
pub fn may_be_same_image(left: &str, right: &str) -> bool {
    let (left, right) = (Reference::parse(left), Reference::parse(right));
    let same_tag = left.tag == right.tag || left.tag.is_empty() || right.tag.is_empty();
    left.registry == right.registry && left.path == right.path && same_tag
}

/// Whether two references are of one repository, so that both may stand for one image.
pub fn may_be_another_tag(left: &str, right: &str) -> bool {
    let (left, right) = (Reference::parse(left), Reference::parse(right));
    left.registry == right.registry && left.path == right.path
}

/// The first part of a reference is a registry only when it cannot be a folder at the default one.
fn is_registry(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':']) || part.bytes().any(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_image_in_other_words() {
        for (left, right) in [
            ("nginx", "nginx:latest"),
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/nginx:1.27"),
            ("nginx:1.27", "index.docker.io/library/nginx:1.27"),
            ("team/app:v1", "docker.io/team/app:v1"),
            ("localhost/app", "localhost/app:latest"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"),
            ("app@sha256:aa", "docker.io/library/app@sha256:aa"),
        ] {
            assert!(same_reference(left, right), "{left} {right}");
            assert!(same_reference(right, left), "{right} {left}");
        }
    }

    #[test]
    fn other_images() {
        for (left, right) in [
            ("nginx:1.27", "nginx:1.28"),
            ("nginx", "quay.io/nginx"),
            ("nginx", "team/nginx"),
            ("localhost:5000/app", "localhost/app:5000"),
            ("localhost/app", "docker.io/localhost/app"),
            ("app:v1", "app:v1@sha256:aa"),
            ("app@sha256:aa", "app@sha256:bb"),
            ("app@sha256:aa", "app:latest"),
            ("registry.example/library/app", "registry.example/app"),
            ("", "latest"),
        ] {
            assert!(!same_reference(left, right), "{left} {right}");
        }
    }

    #[test]
    fn a_digest_may_be_of_any_tag() {
        for right in ["r.io/app:v1", "r.io/app:v1@sha256:aa", "r.io/app@sha256:aa"] {
            assert!(may_be_same_image("r.io/app:v1", right) && may_be_same_image(right, "r.io/app:v1"), "{right}");
        }
        assert!(!may_be_same_image("r.io/app:v1", "r.io/app:v2@sha256:aa"));
        assert!(!may_be_same_image("r.io/app:v1", "other.io/app:v1"));
    }

    #[test]
    fn a_port_is_no_tag() {
        let reference = Reference::parse("registry.example:5000/team/app");
        assert_eq!(reference.registry, "registry.example:5000");
        assert_eq!(reference.path, "team/app");
        assert_eq!(reference.tag, "latest");
    }

    #[test]
    fn odd_texts_do_no_harm() {
        for text in ["", "/", ":", "@", "a/", "/:@", "é:ü", "a:b:c", "@@"] {
            assert!(same_reference(text, text));
        }
    }
}
