//! Limits of the HTTP edge and of pages, at the limit and one beyond; peers that are slow; a stop with
//! requests under way.

use keyward::base::limits::{
    BODY_BYTES_MAX, FILE_NAME_BYTES_MAX, FORM_FIELDS_MAX, HEADER_BYTES_MAX, HEADERS_MAX, LIST_ITEMS_MAX,
    PAGE_BYTES_MAX, ROLE_CAPABILITIES_MAX, TARGET_BYTES_MAX, UNREAD_BYTES_MAX,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::refusals::refused;
use crate::support::broker::{Caller, Reply, TestBroker};

const FORM: &str = "application/x-www-form-urlencoded";
/// What the test's client sends with a request that has no body: `host`, and nothing else.
const OWN: (usize, usize) = (1, "hostbroker".len());

async fn with_headers(caller: &Caller, headers: &[(String, String)]) -> Reply {
    let headers: Vec<(&str, &str)> = headers.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    caller.send("GET", "/livez", &headers, b"").await
}

/// Hazard HTTP-04.
#[tokio::test]
async fn headers_are_counted_and_measured() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    let many = |count: usize| -> Vec<_> { (0..count).map(|i| (format!("x-{i}"), String::new())).collect() };
    assert_eq!(with_headers(&nobody, &many(HEADERS_MAX - OWN.0)).await.status, 200);
    refused(&with_headers(&nobody, &many(HEADERS_MAX - OWN.0 + 1)).await, 431, "too_many_headers");
    let large = |bytes: usize| vec![("x".to_owned(), "y".repeat(bytes - 1))];
    assert_eq!(with_headers(&nobody, &large(HEADER_BYTES_MAX - OWN.1)).await.status, 200);
    refused(&with_headers(&nobody, &large(HEADER_BYTES_MAX - OWN.1 + 1)).await, 431, "headers_too_large");
    // A flood is not read to its end: 431 without our words, or a connection that is cut.
    let flood = "y".repeat(HEADER_BYTES_MAX * 16);
    let said =
        nobody.say_and_wait(format!("GET /livez HTTP/1.1\r\nhost: x\r\nx: {flood}\r\n\r\n").as_bytes()).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
}

#[tokio::test]
async fn a_path_and_its_query_have_a_length() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
    refused(&nobody.get(&path(TARGET_BYTES_MAX)).await, 404, "route_unknown");
    refused(&nobody.get(&path(TARGET_BYTES_MAX + 1)).await, 414, "target_too_long");
}

/// Hazard HTTP-01.
#[tokio::test]
async fn a_request_says_whom_it_is_for_once() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    for (hosts, status, code) in [
        ("", 400, "host_missing"),
        ("host: x\r\nhost: x\r\n", 400, "header_repeated"),
        ("host: x\r\n", 200, "ok"),
    ] {
        let request = format!("GET /livez HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let said = nobody.say_and_wait(request.as_bytes()).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")) && said.contains(&format!("\"{code}\"")),
            "{said}"
        );
    }
}

/// Hazard HTTP-01.
#[tokio::test]
async fn a_body_has_one_length() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let form = "grant_type=client_credentials&scope=github.repo.read";
    let head =
        format!("POST /oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: {FORM}\r\nconnection: close\r\n");
    let length = format!("content-length: {}\r\n", form.len());
    let chunked = "transfer-encoding: chunked\r\n";
    let chunks = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
    for request in [
        format!("{head}{length}{chunked}\r\n{chunks}"),
        format!("{head}{chunked}{length}\r\n{chunks}"),
        format!("{head}{chunked}{chunked}\r\n{chunks}"),
        format!("{head}{length}{length}\r\n{form}"),
        format!("{head}transfer-encoding: gzip, chunked\r\n\r\n{chunks}"),
    ] {
        // What follows could be another request in other eyes.
        let request = request.replace("connection: close\r\n", "") + "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        let said = agent.caller.say_and_wait(request.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 400") && said.contains("\"transfer_encoding_invalid\""), "{said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "one request, one answer: {said}");
    }
    let request = format!("{head}{chunked}\r\n{chunks}");
    let said = agent.caller.say_and_wait(request.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 200"), "chunked: {said}");
    let twice = request.replace("connection: close\r\n", "") + &request;
    let said = agent.caller.say_and_wait(twice.as_bytes()).await;
    assert_eq!(said.matches("HTTP/1.1 200").count(), 2, "one after another: {said}");
    let beyond = "x".repeat(BODY_BYTES_MAX + 1);
    let request = format!("{head}{chunked}\r\n{:x}\r\n{beyond}\r\n0\r\n\r\n", beyond.len());
    let said = agent.caller.say_and_wait(request.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("\"body_too_large\""), "{said}");
    let said =
        agent.caller.say_and_wait(format!("{head}{length}content-length: 3\r\n\r\n{form}").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    let said = agent.caller.say_and_wait(format!("{head}{length}\r\n{form}").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
}

#[tokio::test]
async fn a_target_may_be_absolute_and_has_no_fragment() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    for (target, status, said) in [
        ("https://broker.example:8443/livez", 200, "\"ok\""),
        ("HTTPS://broker.example/livez", 200, "\"ok\""),
        ("http://broker.example/livez", 400, "path_not_canonical"),
        ("https://user@broker.example/livez", 400, "path_not_canonical"),
        ("https://broker.example", 400, "path_not_canonical"),
        ("https://broker.example/LIVEZ", 400, "path_not_canonical"),
        ("/livez#", 400, "path_not_canonical"),
        ("/livez#x", 400, "path_not_canonical"),
        ("https://broker.example/livez#x", 400, "path_not_canonical"),
        ("/v1/enrol?#x", 400, "path_not_canonical"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let heard = nobody.say_and_wait(request.as_bytes()).await;
        assert!(
            heard.starts_with(&format!("HTTP/1.1 {status}")) && heard.contains(said),
            "{target}: {heard}"
        );
    }
}

#[tokio::test]
async fn head_reveals_nothing_and_records_nothing() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let token = agent.token("github.repo.read").await;
    let head = |path: &str| {
        let bearer = format!("authorization: Bearer {token}\r\n");
        format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n{bearer}connection: close\r\n\r\n").into_bytes()
    };
    let before = broker.entries("secret.revealed").await.len();
    for path in ["/v1/secrets/github/app", "/v1/whoami"] {
        let said = agent.caller.say_and_wait(&head(path)).await;
        assert!(
            said.starts_with("HTTP/1.1 405") && said.to_ascii_lowercase().contains("allow: get\r\n"),
            "{said}"
        );
    }
    let said = broker.operator().say_and_wait(&head("/metrics")).await;
    assert!(said.starts_with("HTTP/1.1 405"), "{said}");
    assert_eq!(broker.entries("secret.revealed").await.len(), before);
    let said = broker.nobody(broker.agents()).say_and_wait(&head("/livez")).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.ends_with("\r\n\r\n"), "{said}");
}

#[tokio::test]
async fn a_charset_may_be_quoted_and_an_array_is_no_object() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let form = b"grant_type=client_credentials&scope=github.repo.read";
    for (parameter, status) in [
        ("charset=utf-8", 200),
        ("charset=\"utf-8\"", 200),
        ("Charset=\"UTF-8\"", 200),
        ("charset='utf-8'", 415),
        ("charset=\"utf-8", 415),
        ("charset=\"latin1\"", 415),
        ("x=\"utf-8\"", 415),
    ] {
        let reply = agent.caller.post("/oauth/token", &format!("{FORM}; {parameter}"), form).await;
        assert_eq!(reply.status, status, "{parameter}: {}", reply.text());
    }
    let operator = broker.operator();
    for array in
        [r#"[[{"name":"a","text":""}]]"#, r#"[[{"name":"a","text":""}],false]"#, r#"{"files":[["a",""]]}"#]
    {
        let reply = operator.post("/v1/plan", "application/json", array.as_bytes()).await;
        refused(&reply, 400, "json_invalid");
    }
    let reply = operator
        .post("/v1/agents/b/invitations", "application/json", br#"[["repo-reader"],1,60,null]"#)
        .await;
    refused(&reply, 400, "json_invalid");
}

#[tokio::test]
async fn forms_and_file_names_are_bounded_and_depth_leads_nowhere() {
    let broker = TestBroker::declared().await;
    let agent = broker.agent("a", &["repo-reader"]).await;
    let form = |fields: usize| {
        let extra: String = (2..fields).map(|i| format!("&x{i}=")).collect();
        format!("grant_type=client_credentials&scope=github.repo.read{extra}")
    };
    assert_eq!(agent.ask(&form(FORM_FIELDS_MAX)).await.status, 200);
    refused(&agent.ask(&form(FORM_FIELDS_MAX + 1)).await, 400, "form_too_many_fields");
    let operator = broker.operator();
    let named = |bytes: usize| json!({ "files": [{ "name": "n".repeat(bytes), "text": "" }] });
    assert_eq!(operator.post_json("/v1/plan", &named(FILE_NAME_BYTES_MAX)).await.status, 200);
    refused(
        &operator.post_json("/v1/plan", &named(FILE_NAME_BYTES_MAX + 1)).await,
        400,
        "file_name_too_long",
    );
    for opening in ["{\"files\":", "{\"x\":", "["] {
        let deep = opening.repeat(10_000);
        refused(&operator.post("/v1/plan", "application/json", deep.as_bytes()).await, 400, "json_invalid");
    }
}

/// Declares `count` capabilities with long names.
fn capabilities(count: usize) -> Value {
    let name = |i: usize| format!("c{i}.{}", ["x".repeat(60), "y".repeat(60)].join("."));
    let one = |i: usize| {
        let name = name(i);
        format!(
            "[[capability]]\nname = \"{name}\"\naccess = \"read\"\ndelivery = \"mint\"\naudience = \"https://a.example\"\nmax_life_s = 60\n"
        )
    };
    let text: String = (0..count).map(one).collect();
    json!({ "files": [{ "name": "a.toml", "text": text }] })
}

#[tokio::test]
async fn a_role_holds_so_many_capabilities() {
    let broker = TestBroker::start().await;
    let operator = broker.operator();
    let with = |count: usize| {
        let mut body = capabilities(count);
        let declared = body["files"][0]["text"].as_str().unwrap();
        let names: Vec<&str> = declared.lines().filter_map(|line| line.strip_prefix("name = ")).collect();
        let role = format!("{declared}[[role]]\nname = \"r\"\ncapabilities = [{}]\n", names.join(","));
        body["files"][0]["text"] = role.into();
        body
    };
    assert_eq!(operator.post_json("/v1/plan", &with(ROLE_CAPABILITIES_MAX)).await.status, 200);
    let beyond = operator.post_json("/v1/plan", &with(ROLE_CAPABILITIES_MAX + 1)).await;
    refused(&beyond, 422, "declarations_invalid");
}

#[tokio::test]
async fn a_plan_tells_when_an_application_would_be_too_large() {
    let broker = TestBroker::start().await;
    let operator = broker.operator();
    let (fits, beyond) = (capabilities(4_000), capabilities(12_000));
    refused(&operator.post_json("/v1/plan", &beyond).await, 400, "entry_too_large");
    let applied = operator.post_json("/v1/apply", &beyond).await;
    refused(&applied, 400, "entry_too_large");
    assert!(applied.text().contains("divide the declarations into several files"), "{}", applied.text());
    assert_eq!(operator.post_json("/v1/plan", &fits).await.status, 200);
    assert_eq!(operator.post_json("/v1/apply", &fits).await.status, 200);

    // Entries of half a megabyte and more: a page is full long before it has 500 of them.
    for prune in [true, false, true, false, true, false, true, false] {
        let body = if prune {
            json!({ "files": [{ "name": "a", "text": "" }], "prune": true })
        } else {
            fits.clone()
        };
        assert_eq!(operator.post_json("/v1/apply", &body).await.status, 200);
    }
    let (mut after, mut pages, mut seen) = (0, 0, Vec::new());
    loop {
        let reply = operator.get(&format!("/v1/ledger/entries?after={after}")).await;
        assert!(reply.body.len() < PAGE_BYTES_MAX * 2, "{}", reply.body.len());
        let page = reply.json();
        pages += 1;
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["seq"].as_u64().unwrap()));
        match page["next_after"].as_u64() {
            Some(next) => {
                assert!(next > after, "a page after the one before");
                after = next;
            }
            None => break,
        }
    }
    assert!(pages > 1, "one page");
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>(), "no entry is lost between pages");
}

/// Hazard HTTP-05.
#[tokio::test]
async fn slow_peers_are_given_up_and_a_slow_body_is_told_so() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    let half_header = nobody.say_and_wait(b"GET /livez HTTP/1.1\r\nhost: x\r\nx-slow: ");
    let half_body = nobody.say_and_wait(
        b"POST /v1/enrol HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{",
    );
    let idle = nobody.say_and_wait(b"");
    let silent = async {
        let mut silent = tokio::net::TcpStream::connect(broker.agents()).await.unwrap();
        silent.read(&mut [0; 1]).await.unwrap_or(0)
    };
    let (half_header, half_body, idle, silent) = tokio::join!(half_header, half_body, idle, silent);
    assert!(half_header.is_empty() || half_header.starts_with("HTTP/1.1 408"), "{half_header}");
    assert!(half_body.starts_with("HTTP/1.1 408") && half_body.contains("body_timeout"), "{half_body}");
    assert_eq!((idle.as_str(), silent), ("", 0));
}

#[tokio::test]
async fn an_unread_body_is_drained_up_to_a_limit_then_the_connection_closes() {
    let broker = TestBroker::start().await;
    let nobody = broker.nobody(broker.agents());
    let refused_then_asked = |bytes: u64| {
        let body = "x".repeat(usize::try_from(bytes).unwrap());
        let next = "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        format!("POST /v1/nothing HTTP/1.1\r\nhost: x\r\ncontent-length: {bytes}\r\n\r\n{body}{next}")
    };
    let read = nobody.say_and_wait(refused_then_asked(UNREAD_BYTES_MAX).as_bytes()).await;
    assert!(read.starts_with("HTTP/1.1 404") && read.contains("HTTP/1.1 200"), "{read}");
    let told = nobody.say_and_wait(refused_then_asked(UNREAD_BYTES_MAX + 1).as_bytes()).await;
    // What was sent in vain can cut off the answer, too.
    let ends = told.is_empty() || told.starts_with("HTTP/1.1 404") && told.contains("connection: close");
    assert!(ends && !told.contains("HTTP/1.1 200"), "{told}");
}

#[tokio::test]
async fn a_request_under_way_at_the_stop_is_answered_and_durable() {
    let mut broker = TestBroker::declared().await;
    let mut stream = broker.operator().open().await.unwrap();
    let head = "PUT /v1/secrets/late HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\ncontent-length: 4\r\n\r\nva";
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    // The broker has taken the request up once it answers another one, sent later.
    assert_eq!(broker.operator().get("/livez").await.status, 200);
    let stopping = broker.begin_to_stop();
    stream.write_all(b"lu").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    stopping.await.unwrap();
    broker.serve().await;
    let secrets = broker.operator().get("/v1/secrets").await.json();
    let names: Vec<&str> =
        secrets["items"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["github/app", "late"]);
}

#[tokio::test]
async fn lists_come_in_pages_of_a_limited_size() {
    let broker = TestBroker::declared().await;
    let operator = broker.operator();
    let names = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let page = operator.get("/v1/capabilities?limit=2").await.json();
    assert_eq!(names(&page), ["github.repo.read", "reports.publish"]);
    let rest = operator.get("/v1/capabilities?limit=2&after=reports.publish").await.json();
    assert_eq!(
        (names(&rest), &rest["next_after"]),
        (vec!["reports.read".to_owned()], &serde_json::Value::Null)
    );
    assert_eq!(page["next_after"], "reports.publish");
    for path in ["agents", "capabilities", "roles", "operators", "secrets", "rotations"] {
        let status = |query: &str| {
            let (path, operator) = (format!("/v1/{path}?{query}"), operator.clone());
            async move { operator.get(&path).await }
        };
        assert_eq!(status(&format!("limit={LIST_ITEMS_MAX}")).await.status, 200, "{path}");
        for query in [format!("limit={}", LIST_ITEMS_MAX + 1), "limit=0".to_owned(), "page=2".to_owned()] {
            let refused = status(&query).await;
            assert_eq!((refused.status, refused.code().as_str()), (400, "query_invalid"), "{path}?{query}");
        }
    }
}
