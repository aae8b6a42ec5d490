use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use axum::routing::post;
use schemars::JsonSchema;
use serde::Serialize;

use super::answers::answer;
use super::input::{ResourceServer, form};
use crate::base::TokenId;
use crate::base::code;
use crate::base::limits::BODY_BYTES_MAX;
use crate::broker::AgentDesk;
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Table, route};
use crate::token::{AuthorizationDetail, Claims, Confirmation};

/// The route by which resource servers ask about tokens.
pub(crate) fn table() -> Table<AgentDesk> {
    vec![(route("POST", "/oauth/introspect", Caller::ResourceServer), post(introspect))]
}

/// RFC 7662 §2.2, with the binding (RFC 8705 §3.2) and the details (RFC 9396 §9.2).
#[derive(JsonSchema, Serialize)]
pub(crate) struct Active<'a> {
    active: bool,
    iss: &'a str,
    sub: &'a str,
    client_id: &'a str,
    aud: &'a str,
    scope: &'a str,
    token_type: &'static str,
    #[schemars(with = "String")]
    jti: TokenId,
    iat: i64,
    nbf: i64,
    exp: i64,
    cnf: &'a Confirmation,
    authorization_details: &'a [AuthorizationDetail],
}

/// All that anybody learns of a token that does not count, or not for them.
#[derive(JsonSchema, Serialize)]
pub(crate) struct Inactive {
    active: bool,
}

async fn introspect(
    State(desk): State<AgentDesk>,
    server: Result<ResourceServer, Problem>,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let asked = async {
        let server = server?;
        let fields = form(request, None, BODY_BYTES_MAX).await?;
        let token = fields.get("token").ok_or_else(|| Problem::new(code::TOKEN_PARAMETER_MISSING))?;
        Ok(match desk.introspect(&server.principal, token).await? {
            Some(introspection) => answer(StatusCode::OK, &active(introspection.claims())),
            None => answer(StatusCode::OK, &Inactive { active: false }),
        })
    };
    asked.await.map_err(Problem::oauth)
}

fn active(claims: &Claims) -> Active<'_> {
    Active {
        active: true,
        iss: &claims.iss,
        sub: &claims.sub,
        client_id: &claims.client_id,
        aud: claims.aud.as_str(),
        scope: &claims.scope,
        token_type: "Bearer",
        jti: claims.jti,
        iat: claims.iat,
        nbf: claims.nbf,
        exp: claims.exp,
        cnf: &claims.cnf,
        authorization_details: &claims.authorization_details,
    }
}
