use super::super::report::{API_VERSION, Blocked, ClaimReport, RevisionReport, Summary};
use super::super::spec_fields::SpecField;
use super::*;

fn moves(action: PodAction, names: &[String], why: &str) -> Vec<MoveReport> {
    names.iter().map(|name| MoveReport { name: name.clone(), action, why: why.to_owned() }).collect()
}

/// A plan with everything in it.
fn report(waves: usize) -> Report {
    let name = |number: usize| format!("a-set-with-quite-a-long-name-{number}");
    let wave = |number: usize| WaveReport {
        number,
        pods: [
            moves(PodAction::InPlace, &(0..7).map(name).collect::<Vec<_>>(), "revision x changes a field of it"),
            moves(PodAction::Recreate, &[name(number)], &"a long reason ".repeat(20)),
        ]
        .concat(),
    };
    let field = |path: &str, in_place: bool, pods: &[&str]| FieldReport {
        path: path.to_owned(),
        class: "Rebuild",
        in_place,
        why: "some words about why this is so, which are longer than a line of eighty letters is wide".to_owned(),
        old: Some(Value::from("old\u{1b}[31m")),
        new: Some(Value::from("x".repeat(300))),
        from_revision: Some("web-a".to_owned()),
        pods: pods.iter().map(ToString::to_string).collect(),
    };
    Report {
        api_version: API_VERSION,
        kind: "Plan",
        namespace: "shop".into(),
        name: "web".into(),
        exists: true,
        summary: Summary { replicas: 1, in_place: 7, recreated: 1, held: 1, waves, exit_code: 3, ..Summary::default() },
        revision: Some(RevisionReport {
            name: "web-b".into(),
            number: 2,
            state: RevisionState::Reused,
            current: Some("web-a".into()),
        }),
        fields: vec![
            field("spec.containers[app].image", true, &["web-0"]),
            field(&format!("metadata.annotations[{}]", "k".repeat(90)), false, &["web-1", "web-2"]),
        ],
        spec_fields: vec![SpecField { path: "spec.replicas".into(), old: Value::Null, new: Value::from(1) }],
        waves: (1..=waves).map(wave).collect(),
        pods: vec![PodReport {
            name: "web-9".into(),
            action: PodAction::None,
            wave: None,
            containers: Vec::new(),
            held_by: Some("partition"),
            would: Some(PodAction::Recreate),
            why: Some("its command".into()),
        }],
        claims: vec![ClaimReport {
            name: "data-web-1".into(),
            action: "grow",
            from_bytes: None,
            to_bytes: Some(1 << 30),
        }],
        refused: None,
        blocked: vec![Blocked { reason: "Partitioned".into(), message: "1 of 9".into() }],
        notes: vec!["assumed: much ".repeat(9)],
    }
}

#[test]
fn a_plan_fits_80_columns_and_names_all_it_has() {
    let text = text(&report(3), Paint { on: false });
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    for words in [
        "web: 1 Pod: 7 updated in place, 1 re-created, 1 held back, 3 waves",
        "Revision web-b (reused), in place of web-a",
        "  web-1 web-2, on web-a:",
        "  spec.replicas: + 1",
        "  2  in place      a-set",
        "     re-created    a-set",
        "  web-9: by the partition; when it lets them go: re-created",
        "  grown: data-web-1: ? -> 1Gi",
        "  Partitioned: 1 of 9",
    ] {
        assert!(text.lines().any(|line| line.starts_with(words)), "no {words:?} in:\n{text}");
    }
}

#[test]
fn of_many_waves_the_first_and_the_last_are_shown() {
    let text = text(&report(200), Paint { on: false });
    assert!(text.contains("… 189 waves more\n"), "{text}");
    assert!(text.contains("\n  200  in place") && !text.contains("\n   11  in place"), "{text}");
}

#[test]
fn colours_change_nothing_but_colours() {
    let coloured = text(&report(2), Paint { on: true });
    let mut bare = String::new();
    let mut parts = coloured.split('\u{1b}');
    bare.push_str(parts.next().unwrap_or_default());
    parts.for_each(|part| bare.push_str(part.split_once('m').map_or("", |(_, rest)| rest)));
    assert_ne!(coloured, bare);
    assert_eq!(bare, text(&report(2), Paint { on: false }));
}

#[test]
fn no_line_is_wider_than_it_may_be_and_no_word_is_lost() {
    let text = "a short line and a word-that-is-much-longer-than-the-line and more";
    let lines = wrapped(text, 12);
    assert!(lines.iter().all(|line| line.chars().count() <= 12), "{lines:?}");
    assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
}

#[test]
fn sizes_and_changes_are_short() {
    assert_eq!((size(1 << 30), size(1500), size(3 << 20)), ("1Gi".into(), "1500".into(), "3Mi".into()));
    let text = |text: &str| Value::from(text);
    assert_eq!(change(Some(&text("a")), Some(&text("b"))), "a -> b");
    assert_eq!(change(None, Some(&text("x\u{1b}[2J"))), "+ x [2J");
    assert_eq!(change(Some(&text("")), Some(&Value::Null)), "- \"\"");
    assert!(shown(&text(&"x".repeat(500))).chars().count() <= VALUE_LETTERS_MAX);
}
