//! Pages of the ledger with filters, over the real router: with the search index, and without it.

use keyward::base::Clock;
use keyward::base::limits::{FORM_FIELDS_MAX, LEDGER_READING_IDLE_S};
use serde_json::{Value, json};

use crate::refusals::refused;
use crate::support::broker::{Agent, Caller, TestBroker};
use crate::support::waiting::until;

/// Two agents that read a secret, and one of them is denied.
async fn scene() -> (TestBroker, Agent, Agent) {
    let broker = TestBroker::declared().await;
    let put = broker.operator().put("/v1/secrets/github/app", "application/octet-stream", b"value").await;
    assert_eq!(put.status, 201, "{}", put.text());
    let first = broker.agent("first", &["repo-reader"]).await;
    let second = broker.agent("second", &["repo-reader"]).await;
    for agent in [&first, &second, &first] {
        agent.secret("github/app", &agent.token("github.repo.read").await).await;
    }
    assert_eq!(first.ask("grant_type=client_credentials&scope=reports.read").await.status, 400);
    (broker, first, second)
}

async fn page(by: &Caller, query: &str) -> Value {
    let reply = by.get(&format!("/v1/ledger/entries?{query}")).await;
    assert_eq!(reply.status, 200, "{query}: {}", reply.text());
    reply.json()
}

/// The kinds and sequence numbers of the page.
fn found(page: &Value) -> Vec<(String, u64)> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| (item["kind"].as_str().unwrap().to_owned(), item["seq"].as_u64().unwrap()))
        .collect()
}

fn kinds(page: &Value) -> Vec<String> {
    found(page).into_iter().map(|(kind, _)| kind).collect()
}

#[tokio::test]
async fn filters_find_the_entries_that_fit_all_fields() {
    let (broker, ..) = scene().await;
    let operator = broker.operator();
    // When entries are searched by one field, or several
    let reads = page(&operator, "agent=first&kind=secret.revealed&order=newest").await;
    // Then the newest of them come first
    assert_eq!(kinds(&reads), ["secret.revealed", "secret.revealed"]);
    assert!(found(&reads).is_sorted_by(|one, next| one.1 > next.1), "{reads}");
    assert!(reads["items"].as_array().unwrap().iter().all(|item| item["event"]["agent"] == "first"));
    // And values of one field are alternatives
    let both = page(&operator, "agent=first&agent=second&kind=secret.revealed").await;
    assert_eq!((found(&both).len(), found(&both).is_sorted_by(|one, next| one.1 < next.1)), (3, true));
    assert_eq!(kinds(&page(&operator, "outcome=denied&agent=first").await), ["request.denied"]);
    assert_eq!(found(&page(&operator, "outcome=denied&agent=second").await), []);
    assert_eq!(found(&page(&operator, "capability=github.repo.read&kind=token.minted").await).len(), 3);
    let by_secret = page(&operator, "secret=github%2Fapp&outcome=allowed").await;
    assert!(kinds(&by_secret).contains(&"secret.stored".to_owned()), "{by_secret}");
    // And a token, an instance and a decision lead to their entries
    for field in ["token", "instance", "decision"] {
        let id = reads["items"][0]["event"][field].as_str().unwrap();
        let of_it = page(&operator, &format!("{field}={id}")).await;
        assert!(found(&of_it).contains(&found(&reads)[0]), "{field}: {of_it}");
    }
    // And the address from which an agent enrolled
    assert_eq!(kinds(&page(&operator, "source=127.0.0.0/8&kind=instance.enrolled").await).len(), 2);
    assert_eq!(found(&page(&operator, "source=10.0.0.0/8").await), []);
}

#[tokio::test]
async fn pages_continue_where_the_page_before_ended() {
    let (broker, ..) = scene().await;
    let operator = broker.operator();
    let all = found(&page(&operator, "agent=first").await);
    assert!(all.len() > 4);
    for (order, next) in [("oldest", "next_after"), ("newest", "next_before")] {
        let cursor = if order == "oldest" { "after" } else { "before" };
        let (mut query, mut seen) = (format!("agent=first&limit=2&order={order}"), Vec::new());
        loop {
            let page = page(&operator, &query).await;
            seen.extend(found(&page));
            assert!(order == "oldest" || page["next_after"].is_null(), "{page}");
            match page[next].as_u64() {
                // The rest is counted: nothing but the entries of this agent.
                Some(at) => {
                    let left = (all.len() - seen.len()) as u64;
                    assert!(page["more"]["count"].as_u64().unwrap() <= left, "{page}");
                    query = format!("agent=first&limit=2&order={order}&{cursor}={at}");
                }
                None => break,
            }
        }
        if order == "newest" {
            seen.reverse();
        }
        assert_eq!(seen, all, "{order}");
    }
    let whole = page(&operator, "order=newest&limit=3").await;
    let head = whole["head"].as_u64().unwrap();
    assert_eq!(whole["more"], json!({ "count": head - 3, "exact": true }));
    assert_eq!(found(&whole)[0].1, head);
}

#[tokio::test]
async fn times_are_moments_or_lengths_before_now() {
    let (broker, first, _) = scene().await;
    let operator = broker.operator();
    broker.clock.advance_s(100);
    let between = broker.clock.now().to_string();
    broker.clock.advance_s(20);
    first.secret("github/app", &first.token("github.repo.read").await).await;
    for (query, count) in [
        ("since=1m".to_owned(), 1),
        ("since=1h".to_owned(), 4),
        ("until=1m".to_owned(), 3),
        (format!("since={between}"), 1),
        (format!("until={between}"), 3),
        ("since=1h&until=1m".to_owned(), 3),
        ("since=1m&until=1h".to_owned(), 0),
    ] {
        let page = page(&operator, &format!("kind=secret.revealed&order=newest&{query}")).await;
        assert_eq!(found(&page).len(), count, "{query}");
    }
}

#[tokio::test]
async fn the_index_is_used_and_its_loss_changes_no_page() {
    let (mut broker, ..) = scene().await;
    let query = "agent=first&order=newest";
    // Given an index that has every entry
    let operator = broker.operator();
    until(async || {
        let page = page(&operator, query).await;
        page["indexed_through"] == page["head"]
    })
    .await;
    let indexed = page(&operator, query).await;
    // When it is deleted, or cannot be written
    broker.stop().await;
    std::fs::remove_dir_all(broker.data().join("postings")).unwrap();
    std::fs::write(broker.data().join("postings"), "in the way").unwrap();
    broker.serve().await;
    // Then the broker reads the ledger instead
    let read = page(&broker.operator(), query).await;
    assert_eq!(found(&read), found(&indexed));
    assert!(read["indexed_through"].as_u64().unwrap() < read["head"].as_u64().unwrap());
}

#[tokio::test]
async fn a_filter_that_no_entry_can_fit_is_refused() {
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let many = ["agent=a"; FORM_FIELDS_MAX + 1].join("&");
    for query in [
        "kind=secret.reveal",
        "outcome=ok",
        "source=here",
        "since=yesterday",
        "agent=",
        "order=random",
        "order=newest&order=newest",
        "before=-1",
        &many,
    ] {
        let reply = operator.get(&format!("/v1/ledger/entries?{query}")).await;
        refused(&reply, 400, "query_invalid");
    }
    let alarm = operator.get("/v1/ledger/entries?kind=late_renewal").await;
    assert!(alarm.text().contains("its event is alarm.late-renewal"), "{}", alarm.text());
    let most = ["agent=a"; FORM_FIELDS_MAX].join("&");
    assert_eq!(found(&page(&operator, &most).await), []);
}

#[tokio::test]
async fn an_entry_is_shown_with_the_entries_before_it() {
    let (broker, ..) = scene().await;
    let operator = broker.operator();
    let reads = found(&page(&operator, "agent=first&order=newest").await);
    let shown = operator.get(&format!("/v1/ledger/entries/{}", reads[0].1)).await.json();
    assert_eq!((shown["seq"].as_u64(), shown["outcome"].as_str()), (Some(reads[0].1), Some("denied")));
    assert_eq!(shown["links"], json!([{ "kind": "agent", "name": "first", "previous": reads[1].1 }]));
    refused(&operator.get("/v1/ledger/entries/1000000").await, 404, "entry_unknown");
    refused(&operator.get("/v1/ledger/entries/0").await, 404, "entry_unknown");
    refused(&operator.get("/v1/ledger/entries/01").await, 400, "id_not_canonical");
}

#[tokio::test]
async fn reading_is_recorded_once_for_all_pages_of_a_listing() {
    let (broker, ..) = scene().await;
    let operator = broker.operator();
    let count = async || broker.entries("ledger.read").await.len();
    // Without a filter, reading is recorded once: by the count itself
    assert_eq!((count().await, count().await), (1, 1));
    // When an operator reads several pages with a filter
    let first = page(&operator, "agent=first&limit=1").await;
    page(&operator, &format!("agent=first&limit=1&after={}", first["next_after"])).await;
    // Then one entry has the filter
    let recorded = broker.entries("ledger.read").await;
    assert_eq!(recorded.len(), 2);
    let event = &recorded[1]["event"];
    let asked = ["by", "order", "filter", "limit"].map(|field| event[field].clone());
    assert_eq!(asked, [json!("admin"), json!("oldest"), json!(["agent=first"]), json!(1)]);
    // And another filter, or the same after a pause, is another reading
    page(&operator, "agent=second").await;
    broker.clock.advance_s(u32::try_from(LEDGER_READING_IDLE_S).unwrap() + 1);
    page(&operator, "agent=second").await;
    let with_filter =
        |entries: &[Value]| entries.iter().filter(|entry| entry["event"]["filter"].is_array()).count();
    assert_eq!(with_filter(&broker.entries("ledger.read").await), 3);
}

#[tokio::test]
async fn requests_of_one_reading_are_counted_in_an_entry_after_its_end() {
    let (broker, ..) = scene().await;
    let operator = broker.operator();
    // Given a reading of three requests, and one of a single request
    let begun = broker.clock.now().to_string();
    page(&operator, "agent=first&limit=1").await;
    page(&operator, "agent=second").await;
    page(&operator, "agent=first&limit=2").await;
    broker.clock.advance_s(7);
    page(&operator, "agent=first&limit=1").await;
    let ended = broker.clock.now().to_string();
    // When the operator pauses for less than five minutes, then the reading goes on
    broker.clock.advance_s(u32::try_from(LEDGER_READING_IDLE_S).unwrap());
    broker.look_after().await;
    assert_eq!(broker.entries("ledger.reading-ended").await, Vec::<Value>::new());
    // When it pauses for longer, then one entry has the number of requests and their times
    broker.clock.advance_s(1);
    broker.look_after().await;
    broker.look_after().await;
    let entries = broker.entries("ledger.reading-ended").await;
    assert_eq!(entries.len(), 1, "{entries:?}");
    let expected = json!({
        "by": "admin", "filter": ["agent=first"], "requests": 3, "since": begun, "until": ended,
    });
    assert_eq!(entries[0]["event"], expected);
}
