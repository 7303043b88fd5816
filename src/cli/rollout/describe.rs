//! A Pod template for people, laid out as `kubectl rollout history --revision` lays it out. Compared with the real one
//! by a test (`e2e/cli_rollout.rs`).

use serde_json::{Map, Value};

use super::describe_volumes::volumes;

/// Longest line of an annotation, in bytes, before it is broken off.
const ANNOTATION_BYTES_MAX: usize = 140;

/// The text of a template.
pub fn pod_template(template: &Value) -> String {
    let mut lines = Lines::default();
    let spec = template.get("spec").unwrap_or(&Value::Null);
    lines.put(0, "Pod Template:");
    pairs(&mut lines, "  Labels", template.pointer("/metadata/labels"), |key, value| format!("{key}={value}"));
    if template.pointer("/metadata/annotations").is_some_and(|all| !is_empty(all)) {
        annotations(&mut lines, template.pointer("/metadata/annotations"));
    }
    if let Some(account) = text(spec, "serviceAccountName") {
        lines.put(1, format!("Service Account:\t{account}"));
    }
    if !list(spec, "initContainers").is_empty() {
        containers(&mut lines, "Init Containers", list(spec, "initContainers"));
    }
    containers(&mut lines, "Containers", list(spec, "containers"));
    volumes(&mut lines, list(spec, "volumes"));
    spread(&mut lines, list(spec, "topologySpreadConstraints"));
    if let Some(class) = text(spec, "priorityClassName") {
        lines.put(1, format!("Priority Class Name:\t{class}"));
    }
    pairs(&mut lines, "  Node-Selectors", spec.get("nodeSelector"), |key, value| format!("{key}={value}"));
    tolerations(&mut lines, list(spec, "tolerations"));
    lines.text
}

/// Lines, each behind two spaces a level.
#[derive(Default)]
pub struct Lines {
    text: String,
}

impl Lines {
    pub fn put(&mut self, level: usize, line: impl AsRef<str>) {
        for _ in 0..level {
            self.text.push_str("  ");
        }
        // A template is anybody's text: no control character reaches the terminal.
        let shown = |letter: char| if letter.is_control() && letter != '\t' { '?' } else { letter };
        self.text.extend(line.as_ref().chars().map(shown));
        self.text.push('\n');
    }
}

pub fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str().filter(|text| !text.is_empty())
}

pub fn list<'a>(object: &'a Value, key: &str) -> &'a [Value] {
    object.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn is_true(object: &Value, key: &str) -> bool {
    object.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// A text or a number as it is written; nothing for what is not there.
pub fn plain(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_none_or(Map::is_empty)
}

/// A title and what belongs to it, one a line.
fn titled(lines: &mut Lines, title: &str, entries: &[String]) {
    match entries.split_first() {
        None => lines.put(0, format!("{title}:\t<none>")),
        Some((first, rest)) => {
            lines.put(0, format!("{title}:\t{first}"));
            rest.iter().for_each(|entry| lines.put(0, format!("\t{entry}")));
        }
    }
}

fn pairs(lines: &mut Lines, title: &str, map: Option<&Value>, form: impl Fn(&str, String) -> String) {
    let entries: Vec<String> = map
        .and_then(Value::as_object)
        .map(|map| map.iter().map(|(key, value)| form(key, plain(Some(value)))).collect())
        .unwrap_or_default();
    titled(lines, title, &entries);
}

fn annotations(lines: &mut Lines, map: Option<&Value>) {
    let mut entries = Vec::new();
    for (key, value) in map.and_then(Value::as_object).into_iter().flatten() {
        let value = plain(Some(value));
        let value = value.strip_suffix('\n').unwrap_or(&value);
        if value.len() + key.len() + 2 <= ANNOTATION_BYTES_MAX && !value.contains('\n') {
            entries.push(format!("{key}: {value}"));
            continue;
        }
        entries.push(format!("{key}:"));
        entries.extend(value.split('\n').map(|line| format!("  {}", shortened(line))));
    }
    titled(lines, "  Annotations", &entries);
}

fn shortened(line: &str) -> String {
    let max = ANNOTATION_BYTES_MAX - 2;
    if line.len() <= max {
        return line.to_owned();
    }
    let mut end = max;
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &line[..end])
}

fn containers(lines: &mut Lines, title: &str, containers: &[Value]) {
    lines.put(0, format!("  {title}:{}", if containers.is_empty() { " <none>" } else { "" }));
    for container in containers {
        lines.put(1, format!(" {}:", plain(container.get("name"))));
        lines.put(2, format!("Image:\t{}", plain(container.get("image"))));
        ports(lines, "Port", "containerPort", list(container, "ports"));
        ports(lines, "Host Port", "hostPort", list(container, "ports"));
        seccomp(lines, container);
        words(lines, "Command", list(container, "command"));
        words(lines, "Args", list(container, "args"));
        amounts(lines, "Limits", container.pointer("/resources/limits"));
        amounts(lines, "Requests", container.pointer("/resources/requests"));
        for (title, key) in
            [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
        {
            if let Some(given) = container.get(key).filter(|probe| !probe.is_null()) {
                lines.put(2, format!("{title}:\t{}", probe(given)));
            }
        }
        environment_sources(lines, list(container, "envFrom"));
        environment(lines, list(container, "env"));
        mounts(lines, container);
    }
}

fn ports(lines: &mut Lines, title: &str, key: &str, ports: &[Value]) {
    let one = |port: &Value| {
        let number = port.get(key).and_then(Value::as_i64).unwrap_or(0);
        let protocol = text(port, "protocol").unwrap_or("TCP");
        text(port, "name").map_or(format!("{number}/{protocol}"), |name| format!("{number}/{protocol} ({name})"))
    };
    let all: Vec<String> = ports.iter().map(one).collect();
    match all.as_slice() {
        [] => lines.put(2, format!("{title}:\t<none>")),
        [one] => lines.put(2, format!("{title}:\t{one}")),
        many => lines.put(2, format!("{title}s:\t{}", many.join(", "))),
    }
}

fn seccomp(lines: &mut Lines, container: &Value) {
    let Some(profile) = container.pointer("/securityContext/seccompProfile") else { return };
    lines.put(2, format!("SeccompProfile:\t{}", plain(profile.get("type"))));
    if text(profile, "type") == Some("Localhost") {
        lines.put(3, format!("LocalhostProfile:\t{}", plain(profile.get("localhostProfile"))));
    }
}

fn words(lines: &mut Lines, title: &str, words: &[Value]) {
    if words.is_empty() {
        return;
    }
    lines.put(2, format!("{title}:"));
    for word in words {
        plain(Some(word)).split('\n').for_each(|line| lines.put(3, line));
    }
}

fn amounts(lines: &mut Lines, title: &str, amounts: Option<&Value>) {
    let Some(amounts) = amounts.and_then(Value::as_object).filter(|amounts| !amounts.is_empty()) else { return };
    lines.put(2, format!("{title}:"));
    amounts.iter().for_each(|(name, amount)| lines.put(3, format!("{name}:\t{}", plain(Some(amount)))));
}

/// A probe in one line, with the defaults of the apiserver.
fn probe(probe: &Value) -> String {
    let number = |key: &str, default: i64| match probe.get(key).and_then(Value::as_i64) {
        None | Some(0) => default,
        Some(given) => given,
    };
    let attributes = format!(
        "delay={}s timeout={}s period={}s successThreshold={} failureThreshold={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    );
    if let Some(exec) = probe.get("exec") {
        let command: Vec<String> = list(exec, "command").iter().map(|word| plain(Some(word))).collect();
        return format!("exec [{}] {attributes}", command.join(" "));
    }
    if let Some(get) = probe.get("httpGet") {
        let scheme = text(get, "scheme").unwrap_or("HTTP").to_lowercase();
        let host = text(get, "host").unwrap_or_default();
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let path = text(get, "path").unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        return format!("http-get {scheme}://{host}:{}{slash}{path} {attributes}", plain(get.get("port")));
    }
    if let Some(socket) = probe.get("tcpSocket") {
        let host = text(socket, "host").unwrap_or_default();
        return format!("tcp-socket {host}:{} {attributes}", plain(socket.get("port")));
    }
    if let Some(grpc) = probe.get("grpc") {
        return format!("grpc <pod>:{} {} {attributes}", plain(grpc.get("port")), plain(grpc.get("service")));
    }
    format!("unknown {attributes}")
}

fn environment_sources(lines: &mut Lines, sources: &[Value]) {
    if sources.is_empty() {
        return;
    }
    lines.put(2, "Environment Variables from:");
    for source in sources {
        let of = |kind, key: &str| source.get(key).map(|reference| (kind, reference));
        let (kind, reference) =
            of("ConfigMap", "configMapRef").or_else(|| of("Secret", "secretRef")).unwrap_or(("", &Value::Null));
        let prefix = text(source, "prefix").map(|prefix| format!(" with prefix '{prefix}'")).unwrap_or_default();
        let optional = is_true(reference, "optional");
        lines.put(3, format!("{}\t{kind}{prefix}\tOptional: {optional}", plain(reference.get("name"))));
    }
}

fn environment(lines: &mut Lines, variables: &[Value]) {
    lines.put(2, format!("Environment:{}", if variables.is_empty() { "\t<none>" } else { "" }));
    for variable in variables {
        let name = plain(variable.get("name"));
        let Some(from) = variable.get("valueFrom").filter(|from| !from.is_null()) else {
            let value = plain(variable.get("value"));
            let mut parts = value.split('\n');
            lines.put(3, format!("{name}:\t{}", parts.next().unwrap_or_default()));
            parts.for_each(|part| lines.put(3, format!("\t{part}")));
            continue;
        };
        let key_of = |kind: &str, preposition: &str, reference: &Value| {
            let (key, object) = (plain(reference.get("key")), plain(reference.get("name")));
            let optional = is_true(reference, "optional");
            format!("{name}:\t<set to the key '{key}' {preposition} {kind} '{object}'>\tOptional: {optional}")
        };
        if let Some(field) = from.get("fieldRef") {
            let version = text(field, "apiVersion").unwrap_or("v1");
            lines.put(3, format!("{name}:\t ({version}:{})", plain(field.get("fieldPath"))));
        } else if let Some(resource) = from.get("resourceFieldRef") {
            lines.put(3, format!("{name}:\t ({})", plain(resource.get("resource"))));
        } else if let Some(secret) = from.get("secretKeyRef") {
            lines.put(3, key_of("secret", "in", secret));
        } else if let Some(config_map) = from.get("configMapKeyRef") {
            lines.put(3, key_of("config map", "of", config_map));
        }
    }
}

fn mounts(lines: &mut Lines, container: &Value) {
    let by_path = |key: &str, path: &str| {
        let mut sorted: Vec<Value> = list(container, key).to_vec();
        sorted.sort_by_key(|one| plain(one.get(path)));
        sorted
    };
    let mounts = by_path("volumeMounts", "mountPath");
    lines.put(2, format!("Mounts:{}", if mounts.is_empty() { "\t<none>" } else { "" }));
    for mount in &mounts {
        let mode = if is_true(mount, "readOnly") { "ro" } else { "rw" };
        let path = text(mount, "subPath").map(|path| format!(",path={path:?}")).unwrap_or_default();
        lines.put(3, format!("{} from {} ({mode}{path})", plain(mount.get("mountPath")), plain(mount.get("name"))));
    }
    let devices = by_path("volumeDevices", "devicePath");
    if !devices.is_empty() {
        lines.put(2, format!("Devices:{}", if mounts.is_empty() { "\t<none>" } else { "" }));
    }
    for device in &devices {
        lines.put(3, format!("{} from {}", plain(device.get("devicePath")), plain(device.get("name"))));
    }
}

fn spread(lines: &mut Lines, constraints: &[Value]) {
    if constraints.is_empty() {
        return;
    }
    let mut sorted: Vec<&Value> = constraints.iter().collect();
    sorted.sort_by_key(|one| plain(one.get("topologyKey")));
    let one = |constraint: &Value| {
        let selector = constraint.get("labelSelector").filter(|selector| !selector.is_null()).map(|selector| {
            let parsed = serde_json::from_value(selector.clone()).ok();
            let parsed = parsed.and_then(|selector| crate::model::Selector::parse(&selector).ok());
            format!(" for selector {}", parsed.map(|selector| selector.to_text()).unwrap_or_default())
        });
        format!(
            "{}:{} when max skew {} is exceeded{}",
            plain(constraint.get("topologyKey")),
            plain(constraint.get("whenUnsatisfiable")),
            plain(constraint.get("maxSkew")),
            selector.unwrap_or_default()
        )
    };
    let mut entries = sorted.into_iter().map(one);
    lines.put(0, format!("  Topology Spread Constraints:\t{}", entries.next().unwrap_or_default()));
    entries.for_each(|entry| lines.put(0, format!("  \t{entry}")));
}

fn tolerations(lines: &mut Lines, tolerations: &[Value]) {
    let mut sorted: Vec<&Value> = tolerations.iter().collect();
    sorted.sort_by_key(|one| plain(one.get("key")));
    let one = |toleration: &Value| {
        let mut entry = plain(toleration.get("key"));
        if let Some(value) = text(toleration, "value") {
            entry += &format!("={value}");
        }
        if let Some(effect) = text(toleration, "effect") {
            entry += &format!(":{effect}");
        }
        if text(toleration, "operator") == Some("Exists") && text(toleration, "value").is_none() {
            entry += if entry.is_empty() { "op=Exists" } else { " op=Exists" };
        }
        if let Some(seconds) = toleration.get("tolerationSeconds").and_then(Value::as_i64) {
            entry += &format!(" for {seconds}s");
        }
        entry
    };
    titled(lines, "  Tolerations", &sorted.into_iter().map(one).collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_absent_is_said_to_be_none() {
        let template = json!({"spec": {"containers": [{"name": "app", "image": "app:v1"}]}});
        let expected = "Pod Template:\n  Labels:\t<none>\n  Containers:\n   app:\n    Image:\tapp:v1\n    Port:\t<none>\n    \
                        Host Port:\t<none>\n    Environment:\t<none>\n    Mounts:\t<none>\n  Volumes:\t<none>\n  \
                        Node-Selectors:\t<none>\n  Tolerations:\t<none>\n";
        assert_eq!(pod_template(&template), expected);
    }

    #[test]
    fn a_template_cannot_write_to_the_terminal() {
        let template = json!({"metadata": {"annotations": {"a": "x\u{1b}[31m"}}});
        assert!(!pod_template(&template).contains('\u{1b}'));
    }
}
