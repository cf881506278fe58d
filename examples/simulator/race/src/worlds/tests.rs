use super::*;
use crate::frame::Verdict;
use crate::scenes::{SCENES, find};

fn worlds(change: impl FnOnce(&mut RaceSettings)) -> Worlds {
    let mut settings = RaceSettings::default();
    change(&mut settings);
    Worlds::new(settings)
}

fn scene(path: &str) -> &'static Scene {
    find(path).expect("a scene")
}

async fn shown(worlds: &Worlds, session: &str, side: Side, step: usize) -> View {
    worlds.show(session, scene("overtaken"), side, step).await.expect("a view")
}

#[tokio::test]
async fn the_naive_cache_ends_with_the_old_value_the_library_does_not() {
    let worlds = worlds(|_| {});
    for scene in &SCENES {
        let naive = worlds.show("s", scene, Side::Naive, usize::MAX).await.expect("a view");
        let cachefront = worlds.show("s", scene, Side::Cachefront, usize::MAX).await.expect("a view");
        let expected = if scene.path == "own-write" { Verdict::Current } else { Verdict::Stale };
        assert_eq!(naive.frame.verdict, expected, "{}: {:#?}", scene.path, naive);
        assert_eq!(cachefront.frame.verdict, Verdict::Current, "{}: {:#?}", scene.path, cachefront);
        assert!(naive.frame.readers.iter().any(|reader| reader.is_wrong()), "{}", scene.path);
        assert_eq!(naive.played.len(), scene.steps.len());
    }
}

#[tokio::test]
async fn a_world_goes_on_and_an_earlier_step_begins_again() {
    let worlds = worlds(|_| {});
    let first = shown(&worlds, "s", Side::Cachefront, 1).await;
    let second = shown(&worlds, "s", Side::Cachefront, 2).await;
    assert_eq!(second.played.first(), first.played.first(), "the same load is still held");
    assert_eq!(shown(&worlds, "s", Side::Cachefront, 1).await.played.len(), 1);
    assert_eq!(worlds.count(), 1);
}

#[tokio::test]
async fn the_number_of_worlds_is_bounded_and_the_oldest_makes_room() {
    let worlds = worlds(|settings| settings.worlds_max = 2);
    for session in ["a", "b", "c", "d"] {
        for side in Side::ALL {
            shown(&worlds, session, side, 3).await;
        }
        assert!(worlds.count() <= 2);
    }
    let kept: Vec<bool> = ["a", "b", "c", "d"].map(|session| worlds.table.slots().contains_key(session)).to_vec();
    assert_eq!(kept, [false, false, true, true]);
    // A session whose world made room is shown the same: the scene is played again.
    assert_eq!(shown(&worlds, "a", Side::Naive, 6).await.frame.verdict, Verdict::Stale);
}

#[tokio::test]
async fn a_world_that_is_not_used_is_closed() {
    let worlds = worlds(|settings| settings.idle_max = Duration::from_millis(50));
    shown(&worlds, "s", Side::Cachefront, 2).await;
    assert!(crate::wait::until(Duration::from_secs(10), || std::future::ready(worlds.count() == 0)).await);
    assert_eq!(shown(&worlds, "s", Side::Cachefront, 5).await.played.len(), 5);
}

#[tokio::test]
async fn a_world_that_is_too_old_begins_again() {
    let worlds = worlds(|settings| settings.age_max = Duration::ZERO);
    assert_eq!(shown(&worlds, "s", Side::Naive, 2).await.played.len(), 2);
    assert_eq!(shown(&worlds, "s", Side::Naive, 3).await.frame.log.handled, 2);
}

#[tokio::test]
async fn requests_beyond_the_number_at_once_are_refused() {
    let worlds = worlds(|settings| {
        settings.steps_at_once = 0;
        settings.turn_wait = Duration::from_millis(10);
    });
    let refused = worlds.show("s", scene("overtaken"), Side::Naive, 1).await;
    assert!(matches!(refused, Err(RaceError::Busy)), "{refused:?}");
}

#[test]
fn the_rule_of_each_scene_is_a_heading_of_the_protocol() {
    let protocol = include_str!("../../../../../docs/protocol.md");
    for scene in &SCENES {
        let (name, anchor) = scene.rule;
        assert!(protocol.lines().any(|line| line == format!("### {name}")), "{name}");
        assert_eq!(name.to_lowercase().replace(' ', "-").replace('\'', ""), anchor);
    }
}

/// The board of a page has a row for each step.
#[test]
fn no_scene_has_more_steps_than_the_page_has_rows() {
    assert!(SCENES.iter().all(|scene| scene.steps.len() <= 6));
}
