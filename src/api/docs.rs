//! Docs.
use super::crd::CrdError;
pub fn markdown() -> Result<String, CrdError> {
    Ok(String::new())
}
