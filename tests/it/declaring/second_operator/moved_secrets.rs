//! Another owner of a secret, where a second operator is demanded.

use super::*;

const OTHERS: &str = r#"
[[capability]]
name = "other.pay"
owner = "other"
access = "read"
delivery = "reveal"
secret = "s/pay"
max_life_s = 300
"#;

#[tokio::test]
async fn secret_of_high_sensitivity_gets_no_owner_whose_capabilities_then_deliver_it() {
    // Given a secret of high sensitivity, and a capability of another owner, which does not deliver it
    let scene = Scene::start().await;
    let by = scene.broker.operator();
    let put = async |more: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/octet-stream")], more].concat();
        by.send("PUT", "/v1/secrets/s/pay", &headers, b"value").await
    };
    let stored = put(&[("keyward-owner", "payments")]).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
    let applied = scene.apply(OTHERS, None).await;
    assert_eq!(applied.status, 200, "{}", applied.text());
    let raised = put(&[("keyward-sensitivity", "high")]).await;
    assert_eq!(raised.status, 201, "{}", raised.text());
    // When one operator gives it to this owner, then it is refused, and the fix needs a second operator
    let refusal = put(&[("keyward-owner", "other"), ("keyward-widen", "true")]).await;
    refused(&refusal, 409, "widening_needs_second_operator");
    assert!(refusal.text().contains("classify s/pay ordinary --approve"), "{}", refusal.text());
    // The twin: an owner without such a capability
    let stored = put(&[("keyward-owner", "third")]).await;
    assert_eq!(stored.status, 201, "{}", stored.text());
}
