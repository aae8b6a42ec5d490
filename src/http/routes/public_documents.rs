use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Response, header};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use tower::ServiceExt;

use super::answer::{ReadyResponse, WithHeaders, cacheable};
use super::listeners::document_router;
use crate::broker::AgentServices;
use crate::token::KEY_SET;
use crate::wire;

/// The public documents as they were last served: a sealed broker cannot sign, and serves these.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Documents(BTreeMap<String, Document>);

#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct Document {
    kind: String,
    body: String,
}

/// Where they are.
const PATHS: [&str; 7] = [
    KEY_SET.path,
    wire::GET_AUTHORITY_CERTIFICATES.path,
    wire::GET_CHECKPOINT.path,
    wire::GET_CHECKPOINT_KEY.path,
    wire::AUTHORIZATION_SERVER.path,
    wire::OPENID_CONFIGURATION.path,
    wire::PROTECTED_RESOURCE.path,
];

impl Documents {
    /// The present documents, from the router's own handlers.
    pub async fn of(services: AgentServices) -> Self {
        let router = document_router(services);
        let mut documents = BTreeMap::new();
        for path in PATHS {
            let Ok(request) = Request::builder().uri(path).body(Body::empty()) else { continue };
            let Ok(response) = router.clone().oneshot(request).await;
            let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            let Ok(body) = response.into_body().collect().await else { continue };
            if let Ok(body) = String::from_utf8(body.to_bytes().to_vec()) {
                documents.insert(path.to_owned(), Document { kind, body });
            }
        }
        Self(documents)
    }

    /// The certificates of the authorities in PEM; empty if unknown.
    #[must_use]
    pub fn authorities_pem(&self) -> &str {
        self.0.get(wire::GET_AUTHORITY_CERTIFICATES.path).map_or("", |document| &document.body)
    }

    /// The response for `path`, if it is one of the documents.
    pub(crate) fn answer(&self, path: &str) -> Option<WithHeaders<ReadyResponse>> {
        let document = self.0.get(path)?;
        let kind = HeaderValue::from_str(&document.kind).ok()?;
        let mut response = Response::new(Body::from(document.body.clone()));
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        Some(cacheable(ReadyResponse(response)))
    }
}
