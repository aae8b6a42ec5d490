//! Former names and audiences: no other owner can declare them.

use std::fmt::Write as _;

use keyward::base::limits::FORMER_NAMES_PER_OWNER_MAX;
use serde_json::json;

use super::owners::{RED, apply, prune, teams};
use super::refused;
use crate::support::broker::{Caller, DECLARATIONS};

/// More names than were remembered of all owners together once.
const JUNK: usize = 10_001;

/// Five names and an audience of the team, less one junk name of another owner.
const NOT_JUNK: usize = 5;

/// Roles without a capability, by these numbers.
fn junk(numbers: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for number in numbers {
        write!(text, "[[role]]\nname = \"junk-{number}\"\ncapabilities = []\n").unwrap();
    }
    text
}

/// Declares them, and takes them away again.
async fn leaves_behind(by: &Caller, numbers: std::ops::Range<usize>) {
    for reply in [apply(by, &junk(numbers)).await, prune(by, "").await] {
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

#[tokio::test]
async fn junk_names_of_one_owner_push_out_no_name_of_another() {
    // Given names and an audience that team red has left behind
    let (broker, red, blue) = teams().await;
    assert_eq!(prune(&red, "").await.status, 200);
    // When team blue leaves that many behind
    leaves_behind(&blue, 0..JUNK).await;
    // Then it has none of them
    for text in [
        "[[role]]\nname = \"red-reader\"\ncapabilities = []\n",
        "[[resource_server]]\nname = \"blue-service\"\naudience = \"https://red.example.com\"\n",
    ] {
        let taken = apply(&blue, text).await;
        assert_eq!(taken.status, 422, "{}", taken.text());
        assert!(taken.text().contains("belonged to"), "{}", taken.text());
    }
    let invite = async |by: &Caller, name: &str, role: &str| {
        by.post_json(&format!("/v1/agents/{name}/invitations"), &json!({ "roles": [role] })).await
    };
    let own = "[[role]]\nname = \"blue-reader\"\ncapabilities = []\n";
    assert_eq!(apply(&blue, own).await.status, 200);
    refused(&invite(&blue, "red-bot", "blue-reader").await, 409, "name_reserved_by_owner");
    // And red has its own, and an operator with the scope `all` has any
    assert_eq!(apply(&red, RED).await.status, 200);
    let first = junk(0..1);
    assert_eq!(apply(&red, &first).await.status, 422);
    assert_eq!(broker.apply(&first).await.status, 200);
    // When blue has, and has left behind, as much as an owner may, then it has no new name, and its own
    let end = FORMER_NAMES_PER_OWNER_MAX - NOT_JUNK;
    leaves_behind(&blue, JUNK..end - 10).await;
    assert_eq!(apply(&blue, &junk(end - 10..end + 1)).await.status, 422, "one too many");
    assert_eq!(apply(&blue, &junk(end - 10..end)).await.status, 200);
    let minted = |audience: &str| {
        format!(
            "[[capability]]\nname = \"blue.call\"\naccess = \"write\"\ndelivery = \"mint\"\n\
             audience = \"https://{audience}.example.com\"\nmax_life_s = 60\n"
        )
    };
    for text in ["[[role]]\nname = \"blue-new\"\ncapabilities = []\n", &minted("blue-new")] {
        let refused = apply(&blue, text).await;
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(refused.text().contains("as the broker remembers for one owner"), "{}", refused.text());
    }
    assert_eq!(apply(&blue, &minted("blue")).await.status, 200, "the twin: its own audience");
    assert_eq!(apply(&blue, own).await.status, 200);
    refused(&invite(&blue, "blue-new", "blue-reader").await, 409, "too_many_former_names");
    assert_eq!(invite(&blue, "blue-bot", "blue-reader").await.status, 201);
    assert_eq!(invite(&broker.operator(), "blue-new", "blue-reader").await.status, 201);
    refused(&invite(&red, "red-new", "blue-reader").await, 404, "role_unknown");
    assert_eq!(invite(&red, "red-new", "red-reader").await.status, 201, "the twin: another owner's limit");
}

/// The same declarations, with an owner.
fn owned(text: &str, owner: &str) -> String {
    let named = |line: &str| {
        if line.starts_with("name = ") {
            format!("{line}\nowner = \"{owner}\"\n")
        } else {
            format!("{line}\n")
        }
    };
    text.lines().map(named).collect()
}

#[tokio::test]
async fn an_audience_that_its_owner_left_is_not_had_by_who_shares_it() {
    let shared = "[[capability]]\nname = \"red.shared\"\naccess = \"read\"\ndelivery = \"mint\"\n\
                  audience = \"https://blue.example.com\"\nmax_life_s = 60\n";
    let trap = "[[resource_server]]\nname = \"red-trap\"\naudience = \"https://blue.example.com\"\n";
    let blues = RED.replace("red", "blue");
    let moved = blues.replace("https://blue.example.com", "https://blue-two.example.com");
    for leaves_first in ["blue", "red"] {
        // Given an audience of team blue's that red has a capability for, by the word of who is bound to no owner
        let (broker, red, blue) = teams().await;
        assert_eq!(broker.apply(&owned(shared, "red")).await.status, 200);
        let is_refused = async |by: &Caller, text: &str, says: &str| {
            let refused = apply(by, text).await;
            assert_eq!(refused.status, 422, "{leaves_first}: {}", refused.text());
            assert!(refused.text().contains(says), "{leaves_first}: {}", refused.text());
        };
        // When blue leaves it, and red changes what it has, then red has no more of it
        if leaves_first == "blue" {
            assert_eq!(apply(&blue, &moved).await.status, 200);
            is_refused(&red, trap, "belonged to").await;
            let longer = shared.replace("60", "90");
            let changed = apply(&red, &longer).await;
            assert_eq!(
                (changed.status, &changed.json()["applied"]),
                (200, &json!(true)),
                "{}",
                changed.text()
            );
            is_refused(&red, trap, "belonged to").await;
        }
        // When both have left it, then it comes back by nobody but who is bound to no owner
        assert_eq!(prune(&red, RED).await.status, 200);
        assert_eq!(apply(&blue, &moved).await.status, 200);
        is_refused(&red, trap, "belonged to").await;
        is_refused(&red, shared, "belonged to").await;
        is_refused(&blue, &blues, "belonged to").await;
        let given = broker.apply(&owned(&blues, "blue")).await;
        assert_eq!(given.status, 200, "{}", given.text());
        assert_eq!(apply(&blue, &moved).await.status, 200);
        assert_eq!(apply(&blue, &blues).await.status, 200, "the twin: its own alone");
    }
}

#[tokio::test]
async fn an_owner_applies_again_what_it_has_though_its_audience_is_shared() {
    // Given an audience of team red's that team blue has too, by the word of who is bound to no owner
    let (broker, red, blue) = teams().await;
    let shared = RED.replace("red", "blue").replace("https://blue.example.com", "https://red.example.com");
    let given = broker.apply(&owned(&shared, "blue")).await;
    assert_eq!(given.status, 200, "{}", given.text());
    // When either applies what it has, then nothing is refused, and nothing changes
    for (by, text) in [(&red, RED), (&blue, shared.as_str())] {
        let again = apply(by, text).await;
        assert_eq!((again.status, &again.json()["applied"]), (200, &json!(false)), "{}", again.text());
    }
    // Also when red has left the audience behind
    let left = RED.replace("https://red.example.com", "https://red-two.example.com");
    assert_eq!(apply(&red, &left).await.status, 200);
    let again = apply(&blue, &shared).await;
    assert_eq!((again.status, &again.json()["applied"]), (200, &json!(false)), "{}", again.text());
    // And the twin: blue has no more of it than it was given
    let more = "[[capability]]\nname = \"blue.more\"\naccess = \"write\"\ndelivery = \"mint\"\n\
                audience = \"https://red.example.com\"\nmax_life_s = 60\n";
    assert_eq!(apply(&blue, more).await.status, 422);
    let moved = shared.replace("name = \"blue.call\"", "name = \"blue.call-two\"");
    assert_eq!(apply(&blue, &moved).await.status, 422);
    assert_eq!(broker.apply(&format!("{DECLARATIONS}{more}")).await.status, 200);
}
