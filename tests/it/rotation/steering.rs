//! What operators do about rotations.

use super::{BY_ADMIN, Scene};

#[tokio::test]
async fn rot_10_whoever_asks_while_it_is_under_way_is_told_of_that_one_and_upstream_changes_once() {
    let scene = Scene::start("", BY_ADMIN).await;
    let (one, two, three) = tokio::join!(scene.act("rotate"), scene.act("rotate"), scene.act("rotate"));
    let answers = [one.json(), two.json(), three.json()];
    let begun = answers.iter().filter(|answer| answer["begun"] == true).count();
    assert_eq!(begun, 1, "{answers:?}");
    assert!(answers.iter().all(|answer| answer["rotation"] == answers[0]["rotation"]), "{answers:?}");
    scene.broker.rotate_due().await;
    assert_eq!(scene.read().await.1, "2");
    assert_eq!(scene.postgres.log().matches("ALTER ROLE \"app\"").count(), 1);
}
