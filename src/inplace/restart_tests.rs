use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::inplace::env_annotations::move_to_annotations;
use crate::inplace::image::same_reference;
use crate::inplace::patch::{PatchParts, pod_patch};
use crate::inplace::{Cluster, Contents, Decision, InPlacePatch, Pace, next_state, samples, should_do_in_place_update};
use crate::model::pod::Running;
use crate::model::{Abilities, Patterns};

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

fn by_annotations() -> Rules {
    Rules { env_in_annotations: true, ..Rules::default() }
}

/// `app` has MODE, `side` has not.
fn template(mode: &str, restart: Option<&str>) -> Value {
    let mut template = json!({
        "metadata": {"labels": {"app": "web"}, "annotations": {"note": "x"}},
        "spec": {"containers": [
            {"name": "app", "image": "app:v1", "env": [{"name": "MODE", "value": mode}]},
            {"name": "side", "image": "r.io/side:v1"},
        ]},
    });
    if let Some(restart) = restart {
        template["metadata"]["annotations"][RESTARTED_AT] = json!(restart);
    }
    template
}

/// The Pod of a template as JSON. The node knows a digest of the image of `side`.
fn made(template: &Value, rules: &Rules) -> Value {
    let mut pod = samples::admitted_pod(template);
    pod["spec"]["containers"].as_array_mut().unwrap().retain(|container| container["name"] != "mesh");
    if rules.env_in_annotations {
        let mut annotations = pod["metadata"]["annotations"].as_object().unwrap().clone();
        move_to_annotations(pod["spec"].as_object_mut().unwrap(), &mut annotations);
        pod["metadata"]["annotations"] = annotations.into();
    }
    pod
}

fn facts(pod: &Value) -> PodFacts {
    let mut facts = samples::facts(pod);
    for container in &mut facts.containers {
        if &*container.name == "side" {
            container.image_id = Some(format!("r.io/side@sha256:{}", "0".repeat(64)).into());
            container.status_image = Some("r.io/side:v1".into());
        }
    }
    facts
}

fn decide_for(old: &Value, new: &Value, pod: &PodFacts, rules: &Rules, abilities: &Abilities) -> Decision {
    let cluster = Cluster { abilities, in_place_only: false, rules, now: samples::time("2026-01-01T01:00:00Z") };
    let contents = |template| Contents { template, claims: &[] };
    should_do_in_place_update(contents(old), contents(new), pod, &cluster)
}

fn decide(old: &Value, new: &Value, rules: &Rules) -> Decision {
    decide_for(old, new, &facts(&made(old, rules)), rules, &Abilities::stock())
}

fn patch_of(decision: Decision) -> InPlacePatch {
    match decision {
        Decision::Patch(patch) => patch,
        other => panic!("{other:?}"),
    }
}

fn reasons_of(decision: Decision) -> String {
    match decision {
        Decision::Recreate { reasons } => reasons.join("; "),
        other => panic!("{other:?}"),
    }
}

/// Container and image's new text.
fn rebuilt(patch: &InPlacePatch) -> Vec<(&str, &str)> {
    patch.rebuild.iter().map(|one| (&*one.container, one.image.as_deref().unwrap_or("as it was"))).collect()
}

#[test]
fn a_literal_value_changes_by_its_annotation_and_another_text_of_the_image() {
    let patch = patch_of(decide(&template("slow", None), &template("fast", None), &by_annotations()));
    assert_eq!(rebuilt(&patch), [("app", "docker.io/library/app:v1")]);
    assert_eq!(patch.env_annotations, [(key("app", "MODE"), "fast".to_owned())].into());
    assert_eq!((patch.class, patch.pace), (Class::Rebuild, Pace::Gate));
    assert!(patch.needs.is_empty(), "no kubelet has to follow the environment");
    assert_eq!(patch.operations.len(), 1, "{:?}", patch.operations);
}

#[test]
fn a_value_and_an_image_are_one_restart() {
    let mut new = template("fast", None);
    new["spec"]["containers"][0]["image"] = json!("app:v2");
    let patch = patch_of(decide(&template("slow", None), &new, &by_annotations()));
    assert_eq!(rebuilt(&patch), [("app", "app:v2")]);
    assert_eq!(patch.operations.len(), 1, "{:?}", patch.operations);
    assert_eq!(patch.env_annotations.len(), 1);
}

#[test]
fn without_the_option_the_cluster_decides() {
    let (old, new) = (template("slow", None), template("fast", None));
    let rules = Rules::default();
    assert!(reasons_of(decide(&old, &new, &rules)).starts_with("spec.containers[app].env[MODE].value: "));
    let pod = facts(&made(&old, &rules));
    let patch = patch_of(decide_for(&old, &new, &pod, &rules, &Abilities::customised()));
    assert_eq!(rebuilt(&patch), [("app", "as it was")]);
    assert!(patch.env_annotations.is_empty());
}

/// Where the cluster can change the environment, the option still goes by annotations.
#[test]
fn with_the_option_a_customised_cluster_changes_the_annotations_too() {
    let (old, new) = (template("slow", None), template("fast", None));
    let pod = facts(&made(&old, &by_annotations()));
    let patch = patch_of(decide_for(&old, &new, &pod, &by_annotations(), &Abilities::customised()));
    assert_eq!(rebuilt(&patch), [("app", "docker.io/library/app:v1")]);
    assert!(patch.needs.is_empty());
}

#[test]
fn a_pod_from_before_the_option_says_so() {
    let (old, new) = (template("slow", None), template("fast", None));
    let pod = facts(&made(&old, &Rules::default()));
    let reasons = reasons_of(decide_for(&old, &new, &pod, &by_annotations(), &Abilities::stock()));
    assert!(reasons.contains("made before env was set to Annotations"), "{reasons}");
}

#[test]
fn after_the_option_the_cluster_decides_again() {
    let (old, new) = (template("slow", None), template("fast", None));
    let pod = facts(&made(&old, &by_annotations()));
    let reasons = reasons_of(decide_for(&old, &new, &pod, &Rules::default(), &Abilities::stock()));
    assert!(reasons.contains("env[MODE]") && !reasons.contains("Annotations"), "{reasons}");
}

#[test]
fn what_is_no_literal_before_and_after_takes_more() {
    let with = |env: Value| {
        let mut template = template("slow", None);
        template["spec"]["containers"][0]["env"] = env;
        template
    };
    let literal = json!([{"name": "MODE", "value": "slow"}]);
    for other in [
        json!([]),
        json!([{"name": "MODE", "value": "slow"}, {"name": "B", "value": "1"}]),
        json!([{"name": "MODE", "value": "$(HOSTNAME)"}]),
        json!([{"name": "MODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]),
        json!([{"name": "MODE", "value": "slow"}, {"name": "MODE", "value": "fast"}]),
    ] {
        for (old, new) in [(&literal, &other), (&other, &literal)] {
            let reasons = reasons_of(decide(&with(old.clone()), &with(new.clone()), &by_annotations()));
            assert!(reasons.starts_with("spec.containers[app].env"), "{other} {reasons}");
        }
    }
}

/// A Pod from the time of the option is patched by a cluster that can: nothing of the reference stays.
#[test]
fn a_reference_gives_way_to_what_a_customised_cluster_writes() {
    let with = |variable: Value| {
        let mut template = template("slow", None);
        template["spec"]["containers"][0]["env"] = json!([variable]);
        template
    };
    let old = template("slow", None);
    for new in [
        json!({"name": "MODE", "value": "fast"}),
        json!({"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}),
        json!({"name": "MODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}),
    ] {
        let pod = made(&old, &by_annotations());
        let facts = facts(&pod);
        let update =
            patch_of(decide_for(&old, &with(new.clone()), &facts, &Rules::default(), &Abilities::customised()));
        let patch = pod_patch(
            &facts,
            PatchParts {
                old_template: &old,
                new_template: &with(new.clone()),
                update: &update,
                revision_hash: "new",
                state: None,
                tolerations: &[],
            },
        );
        let mut seen = samples::merged(&pod, &patch).pointer("/spec/containers/0/env/0").unwrap().clone();
        // A field of its own, which the apiserver fills in.
        if let Some(reference) = seen.pointer_mut("/valueFrom/fieldRef").and_then(Value::as_object_mut) {
            reference.remove("apiVersion");
        }
        assert_eq!(seen, new);
    }
}

#[test]
fn an_empty_value_is_a_value() {
    let mut old = template("slow", None);
    old["spec"]["containers"][0]["env"] = json!([{"name": "MODE"}]);
    let patch = patch_of(decide(&old, &template("fast", None), &by_annotations()));
    assert_eq!(patch.env_annotations, [(key("app", "MODE"), "fast".to_owned())].into());
    let patch = patch_of(decide(&template("fast", None), &old, &by_annotations()));
    assert_eq!(patch.env_annotations, [(key("app", "MODE"), String::new())].into());
}

#[test]
fn a_restart_annotation_restarts_every_container() {
    for (old, new) in [(None, Some("1")), (Some("1"), Some("2")), (Some("1"), None)] {
        let patch = patch_of(decide(&template("slow", old), &template("slow", new), &Rules::default()));
        let digest = format!("r.io/side:v1@sha256:{}", "0".repeat(64));
        assert_eq!(rebuilt(&patch), [("app", "docker.io/library/app:v1"), ("side", digest.as_str())]);
        assert_eq!((patch.class, patch.pace), (Class::Rebuild, Pace::Gate));
        assert!(patch.rebuild.iter().all(|one| one.old_fields != one.new_fields), "done needs other containers");
    }
}

#[test]
fn a_container_with_a_new_image_is_restarted_by_it() {
    let mut new = template("slow", Some("1"));
    new["spec"]["containers"][1]["image"] = json!("r.io/side:v2");
    let patch = patch_of(decide(&template("slow", None), &new, &Rules::default()));
    assert_eq!(rebuilt(&patch), [("app", "docker.io/library/app:v1"), ("side", "r.io/side:v2")]);
}

#[test]
fn a_restart_with_an_init_container_that_runs_once_takes_a_new_pod() {
    let mut pod = facts(&made(&template("slow", None), &Rules::default()));
    pod.containers.push(ContainerFacts {
        name: "injected".into(),
        kind: ContainerKind::Init,
        image: "mesh:v1".into(),
        ..ContainerFacts::default()
    });
    let (old, new) = (template("slow", None), template("slow", Some("1")));
    let reasons = reasons_of(decide_for(&old, &new, &pod, &Rules::default(), &Abilities::customised()));
    assert!(reasons.contains(RESTARTED_AT) && reasons.contains("init container injected"), "{reasons}");
    // Values have nothing to do with it.
    let mut pod = facts(&made(&old, &by_annotations()));
    pod.containers.push(ContainerFacts { kind: ContainerKind::Init, ..ContainerFacts::default() });
    patch_of(decide_for(&old, &template("fast", None), &pod, &by_annotations(), &Abilities::stock()));
}

#[test]
fn a_container_without_another_text_says_why() {
    let mut pod = facts(&made(&template("slow", None), &Rules::default()));
    pod.containers.iter_mut().for_each(|container| container.image_id = None);
    let (old, new) = (template("slow", None), template("slow", Some("1")));
    let reasons = reasons_of(decide_for(&old, &new, &pod, &Rules::default(), &Abilities::stock()));
    assert!(reasons.contains(RESTARTED_AT) && reasons.contains("container side"), "{reasons}");
    assert!(!reasons.contains("container app"), "{reasons}");
}

#[test]
fn an_image_that_is_always_pulled_is_not_bound_to_a_digest() {
    let with_policy = |restart| {
        let mut template = template("slow", restart);
        template["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
        template
    };
    let reasons = reasons_of(decide(&with_policy(None), &with_policy(Some("1")), &Rules::default()));
    assert!(reasons.contains("imagePullPolicy Always"), "{reasons}");
}

#[test]
fn own_patterns_and_injectors() {
    let rules = Rules {
        annotations: AnnotationRules {
            restart: Patterns::new(["mine/*"]),
            injectors: Patterns::of_injectors(["mine/inject"]),
        },
        env_in_annotations: false,
    };
    let annotated = |key: &str| {
        let mut template = template("slow", None);
        template["metadata"]["annotations"][key] = json!("1");
        decide(&self::template("slow", None), &template, &rules)
    };
    assert_eq!(patch_of(annotated("mine/hash")).rebuild.len(), 2);
    assert_eq!(patch_of(annotated(RESTARTED_AT)).pace, Pace::Free);
    assert!(reasons_of(annotated("mine/inject")).contains("injector"));
    assert!(reasons_of(annotated("linkerd.io/inject")).contains("injector"));
}

/// A resize with a restart is a request of its own: it may come before the new annotations.
#[test]
fn a_resize_that_restarts_is_not_the_restart_for_new_values() {
    let sized = |mode: &str, memory: &str| {
        let mut template = template(mode, None);
        template["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": memory}});
        template["spec"]["containers"][0]["resizePolicy"] =
            json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
        template
    };
    let patch = patch_of(decide(&sized("slow", "1Gi"), &sized("fast", "2Gi"), &by_annotations()));
    assert_eq!(rebuilt(&patch), [("app", "docker.io/library/app:v1")]);
    assert_eq!(patch.resize.len(), 1);
}

// What a kubelet and a controller that do not wait for each other come to.

#[derive(Clone, Debug)]
enum Move {
    /// The user asks for this mode, this restart, and this image of `app`.
    Edit {
        mode: u8,
        restart: u8,
        image: u8,
    },
    /// The kubelet hears of the Pod as it is.
    Hear,
    /// It ends what is to be ended, and starts what is to run.
    Act,
    /// Its status reaches the apiserver.
    Report,
    /// A container ends by itself, and comes back as the kubelet knows it.
    Crash {
        app: bool,
    },
    Second,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let edit = (0..3_u8, 0..3_u8, 0..2_u8).prop_map(|(mode, restart, image)| Move::Edit { mode, restart, image });
    let one = prop_oneof![
        3 => edit,
        3 => Just(Move::Hear),
        3 => Just(Move::Act),
        3 => Just(Move::Report),
        1 => any::<bool>().prop_map(|app| Move::Crash { app }),
        3 => Just(Move::Second),
    ];
    proptest::collection::vec(one, 0..60)
}

/// A container that runs.
#[derive(Clone, Debug)]
struct Run {
    id: u32,
    text: String,
    /// The value that its first process has.
    mode: String,
    restart: Value,
    since: Timestamp,
}

struct World {
    now: Timestamp,
    template: Value,
    pod: Value,
    pod_template: Value,
    generation: i64,
    /// What the kubelet has heard of, and when it fell behind.
    heard: (Value, i64),
    behind_since: Option<Timestamp>,
    runs: BTreeMap<String, Run>,
    reported: (BTreeMap<String, Run>, i64),
    ids: u32,
    recreated: bool,
}

impl World {
    fn new() -> World {
        let template = World::edited(0, 0, 0);
        let pod = made(&template, &by_annotations());
        let mut world = World {
            now: samples::time("2026-01-01T01:00:00Z"),
            pod_template: template.clone(),
            template,
            heard: (pod.clone(), 1),
            pod,
            generation: 1,
            behind_since: None,
            runs: BTreeMap::new(),
            reported: (BTreeMap::new(), 1),
            ids: 0,
            recreated: false,
        };
        world.act();
        world.reported = (world.runs.clone(), 1);
        world
    }

    fn edited(mode: u8, restart: u8, image: u8) -> Value {
        let mut template = template(&mode.to_string(), Some(&restart.to_string()));
        template["spec"]["containers"][0]["image"] = json!(format!("app:v{image}"));
        template
    }

    fn start(&mut self, name: &str) {
        let (pod, _) = &self.heard;
        let container = pod["spec"]["containers"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        self.ids += 1;
        let run = Run {
            id: self.ids,
            text: container["image"].as_str().unwrap().to_owned(),
            mode: pod["metadata"]["annotations"][key("app", "MODE")].as_str().unwrap().to_owned(),
            restart: pod["metadata"]["annotations"][RESTARTED_AT].clone(),
            since: self.now,
        };
        self.runs.insert(name.to_owned(), run);
    }

    /// The kubelet looks at nothing but the image's text.
    fn act(&mut self) {
        for name in ["app", "side"] {
            let (pod, _) = &self.heard;
            let container =
                pod["spec"]["containers"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
            let text = container["image"].as_str().unwrap();
            if self.runs.get(name).is_none_or(|run| run.text != text) {
                self.start(name);
            }
        }
        if self.heard.1 == self.generation {
            self.behind_since = None;
        }
    }

    fn hear(&mut self) {
        self.heard = (self.pod.clone(), self.generation);
    }

    fn facts(&self) -> PodFacts {
        let mut facts = facts(&self.pod);
        facts.generation = self.generation;
        facts.observed_generation = Some(self.reported.1);
        facts.in_place_state =
            self.pod["metadata"]["annotations"][crate::api::names::IN_PLACE_STATE_ANNOTATION].as_str().map(Into::into);
        for container in &mut facts.containers {
            let run = &self.reported.0[&*container.name];
            container.container_id = Some(format!("containerd://{}", run.id).into());
            container.running = Some(Running { since: Some(run.since) });
            container.status_image = Some(run.text.split('@').next().unwrap().into());
        }
        facts
    }

    /// The controller, as often as anything happens. It does not wait for what is under way.
    fn control(&mut self) {
        if self.pod_template == self.template || self.recreated {
            return;
        }
        let rules = by_annotations();
        let (facts, abilities) = (self.facts(), Abilities::stock());
        let cluster = Cluster { abilities: &abilities, in_place_only: false, rules: &rules, now: self.now };
        let contents = |template| Contents { template, claims: &[] };
        let change = (contents(&self.pod_template), contents(&self.template));
        let update = match should_do_in_place_update(change.0, change.1, &facts, &cluster) {
            Decision::Patch(update) => update,
            // No text was left.
            Decision::Recreate { .. } => return self.recreated = true,
            other => panic!("{other:?}"),
        };
        let state = (update.pace != Pace::Free).then(|| next_state(&facts, &update, "new", self.now));
        let parts = PatchParts {
            old_template: &self.pod_template,
            new_template: &self.template,
            update: &update,
            revision_hash: "new",
            state: state.as_ref(),
            tolerations: &[],
        };
        let mut patch = pod_patch(&facts, parts);
        patch["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let patched = samples::merged(&self.pod, &patch);
        self.generation += i64::from(patched["spec"] != self.pod["spec"]);
        self.pod = patched;
        self.pod_template = self.template.clone();
        self.behind_since.get_or_insert(self.now);
    }

    fn make(&mut self, one: &Move) {
        match one {
            Move::Edit { mode, restart, image } => self.template = World::edited(*mode, *restart, *image),
            Move::Hear => self.hear(),
            Move::Act => self.act(),
            Move::Report => self.reported = (self.runs.clone(), self.heard.1),
            Move::Crash { app } => self.start(if *app { "app" } else { "side" }),
            Move::Second => {
                self.now = self.now.checked_add(SignedDuration::from_secs(1)).unwrap();
                // A kubelet that is there hears of a change and acts on it within two seconds.
                if self.behind_since.is_some_and(|since| self.now.duration_since(since) > SignedDuration::from_secs(1))
                {
                    self.hear();
                    self.act();
                }
            }
        }
        self.control();
    }

    fn is_done(&self) -> bool {
        self.pod_template == self.template && progress(&self.facts(), self.now) == Progress::Done
    }

    fn runs_what_is_wanted(&self) -> Result<(), String> {
        let annotation = &self.template["metadata"]["annotations"][RESTARTED_AT];
        for container in self.template["spec"]["containers"].as_array().unwrap() {
            let run = &self.runs[container["name"].as_str().unwrap()];
            let image = container["image"].as_str().unwrap();
            let same_image = same_reference(&run.text, image) || run.text.starts_with("r.io/side");
            let mode = container.pointer("/env/0/value").is_none_or(|mode| *mode == run.mode);
            if !same_image || !mode || run.restart != *annotation {
                return Err(format!("{run:?} of {container}, {annotation}"));
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(samples::cases(300))]

    /// Whatever comes in whatever order: no container with other values is taken for the wanted one,
    /// and in the end all are done without a timeout.
    #[test]
    fn done_is_said_of_the_last_values_only(moves in moves()) {
        let mut world = World::new();
        for one in &moves {
            world.make(one);
            if world.is_done() && !world.recreated {
                prop_assert_eq!(world.runs_what_is_wanted(), Ok(()));
            }
        }
        for _ in 0..60 {
            for one in [Move::Hear, Move::Act, Move::Report, Move::Second] {
                world.make(&one);
            }
        }
        if !world.recreated {
            prop_assert!(world.is_done(), "{:?}", progress(&world.facts(), world.now));
            prop_assert_eq!(world.runs_what_is_wanted(), Ok(()));
        }
    }
}
