//! `--set`: small changes of a set's template, as `kubectl set` takes them.

use std::str::FromStr;

use serde_json::{Value, json};

/// One change of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `image=CONTAINER=IMAGE`; `*` stands for all containers.
    Image { container: String, image: String },
    /// `env=CONTAINER.NAME=VALUE`; `None`: `env=CONTAINER.NAME-`.
    Variable { container: String, name: String, value: Option<String> },
}

impl FromStr for Edit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no change: write image=CONTAINER=IMAGE, env=CONTAINER.NAME=VALUE or env=CONTAINER.NAME-"
            )
        };
        match text.split_once('=').ok_or_else(wrong)? {
            ("image", rest) => {
                let (container, image) = rest.split_once('=').ok_or_else(wrong)?;
                if container.is_empty() || image.is_empty() {
                    return Err(wrong());
                }
                Ok(Edit::Image { container: container.to_owned(), image: image.to_owned() })
            }
            ("env", rest) => {
                let (place, value) = match rest.split_once('=') {
                    Some((place, value)) => (place, Some(value.to_owned())),
                    None => (rest.strip_suffix('-').ok_or_else(wrong)?, None),
                };
                let (container, name) = place.split_once('.').ok_or_else(wrong)?;
                if container.is_empty() || name.is_empty() {
                    return Err(wrong());
                }
                Ok(Edit::Variable { container: container.to_owned(), name: name.to_owned(), value })
            }
            _ => Err(wrong()),
        }
    }
}

impl Edit {
    /// Makes the change in a set.
    ///
    /// # Errors
    /// Where the template has no such container, in words that name those it has.
    pub fn make(&self, set: &mut Value) -> Result<(), String> {
        let wanted = match self {
            Edit::Image { container, .. } | Edit::Variable { container, .. } => container.as_str(),
        };
        let mut found = false;
        let mut known = Vec::new();
        for list in ["initContainers", "containers"] {
            let containers = set.pointer_mut(&format!("/spec/template/spec/{list}")).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
                if name == wanted || wanted == "*" {
                    found = true;
                    self.make_in(container);
                }
                known.push(name);
            }
        }
        if found { Ok(()) } else { Err(format!("there is no container {wanted:?}: there is {}", known.join(", "))) }
    }

    fn make_in(&self, container: &mut Value) {
        match self {
            Edit::Image { image, .. } => container["image"] = json!(image),
            Edit::Variable { name, value, .. } => {
                let list = &mut container["env"];
                if !list.is_array() {
                    *list = json!([]);
                }
                let Some(list) = list.as_array_mut() else { return };
                let place = list.iter().position(|one| one.get("name").and_then(Value::as_str) == Some(name));
                match (place, value) {
                    (Some(place), Some(value)) => list[place] = json!({"name": name, "value": value}),
                    (None, Some(value)) => list.push(json!({"name": name, "value": value})),
                    (Some(place), None) => drop(list.remove(place)),
                    (None, None) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        json!({"spec": {"template": {"spec": {
            "initContainers": [{"name": "init", "image": "i:1"}],
            "containers": [{"name": "app", "image": "a:1", "env": [{"name": "A", "valueFrom": {}}]}],
        }}}})
    }

    fn made(text: &str) -> Value {
        let mut set = set();
        text.parse::<Edit>().unwrap().make(&mut set).unwrap();
        set.pointer("/spec/template/spec").unwrap().clone()
    }

    #[test]
    fn images_and_variables_are_set() {
        assert_eq!(made("image=app=r/a:2@sha256:0=1")["containers"][0]["image"], "r/a:2@sha256:0=1");
        assert_eq!(made("image=*=x")["initContainers"][0]["image"], "x");
        assert_eq!(made("env=app.A=b=c")["containers"][0]["env"], json!([{"name": "A", "value": "b=c"}]));
        assert_eq!(made("env=app.B=")["containers"][0]["env"][1], json!({"name": "B", "value": ""}));
        assert_eq!(made("env=app.A-")["containers"][0]["env"], json!([]));
        assert_eq!(made("env=init.N=1")["initContainers"][0]["env"], json!([{"name": "N", "value": "1"}]));
    }

    #[test]
    fn what_cannot_be_set_is_told_with_what_can() {
        for text in ["image", "image=app", "image==x", "image=app=", "env=app=x", "env=app.A", "replicas=3", ""] {
            assert!(text.parse::<Edit>().is_err_and(|error| error.contains("image=CONTAINER=IMAGE")), "{text:?}");
        }
        let error = "image=web=x".parse::<Edit>().unwrap().make(&mut set()).unwrap_err();
        assert_eq!(error, "there is no container \"web\": there is init, app");
    }
}
