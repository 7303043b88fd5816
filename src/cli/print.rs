//! kubectl's flags for printing an object, and what they make of it. JSON, YAML and names are made here; the other
//! forms (templates, JSONPath) by the kubectl on the PATH, which alone has them as users know them.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::{ArgAction, Args};
use serde_json::Value;

use super::error::CliError;
use super::output::{Format, formatted};
use super::target::RESOURCE;
use super::truth::Truth;

/// The forms that kubectl knows for a changed object.
const FORMATS: &str = "json, yaml, kyaml, name, go-template, go-template-file, template, templatefile, jsonpath, jsonpath-as-json, jsonpath-file";

/// Flags that say how changed objects are printed.
#[derive(Args, Clone, Debug, Default)]
pub struct PrintFlags {
    /// Form of the output: json, yaml, name; also kyaml, go-template=…, jsonpath=… and the like, which the kubectl on the
    /// PATH makes
    #[arg(short, long, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<String>,
    /// Template, or file with it, for -o go-template, go-template-file and the like
    #[arg(long, value_name = "TEMPLATE")]
    template: Option<String>,
    /// Ignore fields that a template names and the object lacks
    #[arg(
        long, value_name = "BOOL", default_value_t = true, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    allow_missing_template_keys: bool,
    /// Keep metadata.managedFields
    #[arg(
        long, value_name = "BOOL", default_value_t = false, value_parser = Truth, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", require_equals = true, hide_default_value = true
    )]
    show_managed_fields: bool,
}

/// How objects are printed, one after another.
#[derive(Debug)]
pub struct Printer {
    form: Form,
    show_managed_fields: bool,
    printed: usize,
}

#[derive(Debug, PartialEq)]
enum Form {
    /// The object's name and what was done to it.
    Words,
    Ours(Format),
    /// Arguments for kubectl.
    Kubectl(Vec<String>),
}

impl PrintFlags {
    /// Whether an object was asked for instead of words.
    pub fn is_given(&self) -> bool {
        self.output.is_some() || self.template.is_some()
    }

    /// # Errors
    /// For a form that nobody knows, before anything was done.
    pub fn printer(&self) -> Result<Printer, CliError> {
        Ok(Printer { form: self.form()?, show_managed_fields: self.show_managed_fields, printed: 0 })
    }

    fn form(&self) -> Result<Form, CliError> {
        let template = self.template.clone();
        // As in kubectl: a template alone is one for Go.
        let output = match (&self.output, &template) {
            (Some(output), _) => output.as_str(),
            (None, Some(_)) => "go-template",
            (None, None) => return Ok(Form::Words),
        };
        let form = match output {
            "json" => return Ok(Form::Ours(Format::Json)),
            "yaml" => return Ok(Form::Ours(Format::Yaml)),
            "name" => return Ok(Form::Ours(Format::Name)),
            other => other.split_once('=').map_or(other, |(form, _)| form),
        };
        if !FORMATS.split(", ").any(|known| known == form) || matches!(form, "json" | "yaml" | "name") {
            let message = format!(
                "unable to match a printer suitable for the output format \"{output}\", allowed formats are: {FORMATS}"
            );
            return Err(CliError::Failed(message));
        }
        let mut arguments = vec![format!("--output={output}")];
        arguments.extend(template.map(|template| format!("--template={template}")));
        arguments.push(format!("--allow-missing-template-keys={}", self.allow_missing_template_keys));
        arguments.push(format!("--show-managed-fields={}", self.show_managed_fields));
        Ok(Form::Kubectl(arguments))
    }
}

impl Printer {
    /// The text for an object that something was done to.
    pub fn text(&mut self, object: &Value, done: &str) -> Result<String, CliError> {
        let separator = if self.printed > 0 && self.form == Form::Ours(Format::Yaml) { "---\n" } else { "" };
        self.printed += 1;
        let text = match &self.form {
            Form::Words => format!("{RESOURCE}/{} {done}\n", name_of(object)),
            Form::Ours(format) => formatted(&self.shown(object), *format)?,
            Form::Kubectl(arguments) => by_kubectl(&object.to_string(), arguments)?,
        };
        Ok(format!("{separator}{text}"))
    }

    /// Prints it.
    pub fn print(&mut self, object: &Value, done: &str) -> Result<(), CliError> {
        let text = self.text(object, done)?;
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }

    fn shown(&self, object: &Value) -> Value {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
            && !self.show_managed_fields
        {
            metadata.remove("managedFields");
        }
        object
    }
}

fn name_of(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Has kubectl print an object in a form that it has. It asks no cluster for that.
fn by_kubectl(object: &str, arguments: &[String]) -> Result<String, CliError> {
    let mut command = Command::new("kubectl");
    command.args(["patch", "--local", "--filename=-", "--type=merge", "--patch={}"]).args(arguments);
    run_kubectl(command, object)
}

/// The objects that a folder's kustomization gives, as kubectl builds them.
pub fn kustomized(folder: &PathBuf) -> Result<String, CliError> {
    let mut command = Command::new("kubectl");
    command.arg("kustomize").arg(folder);
    run_kubectl(command, "")
}

/// Runs the kubectl on the PATH; its own words are the error.
fn run_kubectl(mut command: Command, input: &str) -> Result<String, CliError> {
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => CliError::Failed("this needs kubectl, and there is none on the PATH".into()),
        _ => CliError::Failed(format!("cannot run kubectl: {error}")),
    };
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // It may end without reading; what it then says counts.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let said = said.trim();
        return Err(CliError::Failed(said.strip_prefix("error: ").unwrap_or(said).to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flags(output: &str) -> PrintFlags {
        PrintFlags { output: Some(output.to_owned()), ..PrintFlags::default() }
    }

    #[test]
    fn an_object_is_printed_as_asked() {
        let object = json!({"kind": "K", "metadata": {"name": "web", "managedFields": [1]}});
        let text = |flags: &PrintFlags| flags.printer().unwrap().text(&object, "paused").unwrap();
        assert_eq!(text(&PrintFlags::default()), "advancedstatefulset.apps.asts.dev/web paused\n");
        assert_eq!(text(&flags("name")), "advancedstatefulset.apps.asts.dev/web\n");
        assert!(!text(&flags("json")).contains("managedFields"));
        assert!(text(&PrintFlags { show_managed_fields: true, ..flags("yaml") }).contains("managedFields"));
    }

    #[test]
    fn many_yaml_documents_are_kept_apart() {
        let mut printer = flags("yaml").printer().unwrap();
        let object = json!({"metadata": {"name": "web"}});
        assert!(!printer.text(&object, "").unwrap().starts_with("---\n"));
        assert!(printer.text(&object, "").unwrap().starts_with("---\n"));
    }

    #[test]
    fn forms_that_kubectl_makes_are_handed_to_it() {
        let Form::Kubectl(arguments) = flags("jsonpath={.metadata.name}").form().unwrap() else { panic!() };
        assert_eq!(arguments[0], "--output=jsonpath={.metadata.name}");
        let template = PrintFlags { template: Some("{{.kind}}".into()), ..PrintFlags::default() };
        let Form::Kubectl(arguments) = template.form().unwrap() else { panic!() };
        assert_eq!(arguments[..2], ["--output=go-template", "--template={{.kind}}"]);
        for wrong in ["wide", "name=x", "custom-columns=A:.b"] {
            let message = flags(wrong).form().unwrap_err().to_string();
            assert!(message.contains("unable to match a printer") && message.contains(wrong), "{message}");
        }
    }
}
