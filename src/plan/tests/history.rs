//! Revisions that share a number, as another program or a restored backup may leave them.

use super::*;

fn renumbered(plan: &Plan) -> Vec<(String, i64)> {
    let number = |action: &RevisionAction| match action {
        RevisionAction::Renumber { name, number, .. } => Some((name.to_string(), *number)),
        _ => None,
    };
    plan.revisions.iter().filter_map(number).collect()
}

/// kubernetes/kubernetes#61998, #69967: of two revisions with one number now the one was the newest, now the other, and all
/// Pods were replaced over and over.
#[test]
fn a_number_that_two_share_is_followed_by_one_of_its_own() {
    let mut world = World::settled(3, json!({}));
    world.spec["template"] = template("app:v2");
    let second = world.add_revision(&template("app:v2"), 1);
    assert_eq!(renumbered(&world.plan()), [(second.clone(), 2)]);
    // In the other order of names as well: the one that is wanted moves, whichever comes first.
    let first = world.status.update_revision.clone().unwrap();
    world.spec["template"] = template("app:v1");
    assert_eq!(renumbered(&world.plan()), [(first, 2)]);
    // Once it is the newest alone, it stays so.
    world.revisions[0].number = 2;
    assert_eq!(renumbered(&world.plan()), []);
}

/// The other half of kubernetes/kubernetes#69967.
#[test]
fn of_revisions_with_one_number_the_same_ones_go_whatever_the_order_of_the_list() {
    let mut world = World::settled(3, json!({}));
    world.spec["revisionHistoryLimit"] = json!(1);
    world.revisions[0].number = 9;
    for tag in ["v2", "v3", "v4"] {
        world.add_revision(&template(&format!("app:{tag}")), 5);
    }
    let deleted = |world: &World| -> Vec<Box<str>> {
        let name = |action: &RevisionAction| match action {
            RevisionAction::Delete { name, .. } => Some(name.clone()),
            _ => None,
        };
        world.plan().revisions.iter().filter_map(name).collect()
    };
    let mut names: Vec<Box<str>> = world.revisions[1..].iter().map(|revision| revision.name.clone()).collect();
    names.sort();
    let gone = deleted(&world);
    assert_eq!(gone, names[..2]);
    world.revisions.reverse();
    assert_eq!(deleted(&world), gone);
}
