use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::routing::{MethodRouter, get, post};

use super::answers::answer;
use super::enrolment::{identity, request_in};
use super::input::{id, json, name, serial};
use super::repeat::Repeat;
use crate::authn::HostPrincipal;
use crate::base::code;
use crate::base::limits::UNSEAL_BYTES_MAX;
use crate::broker::{Ended, HostDesk, HostStanding, TakenAway};
use crate::custody::TakeAway;
use crate::http::documents::problem::Problem;
use crate::http::route::{Caller, Route, Table, build, route};
use crate::http::transport::edge::Edge;
use crate::http::transport::host_listener::HostPeer;
use crate::http::transport::router::Front;
use crate::keyring::{Passphrase, PassphraseError, Share, ShareError, Shares, SlotKey};
use crate::telemetry::Meters;
use crate::wire::{ClockAnswer, NotReadyAnswer, OrderedAnswer, StateAnswer, UnsealBody};

/// The routes of the socket on the broker's host.
#[must_use]
pub fn host_routes() -> Vec<Route> {
    table().into_iter().map(|(route, _)| route).collect()
}

/// What that socket serves. It outlives what `meters` of a broker that serves would count.
#[must_use]
pub fn host_router(desk: HostDesk, meters: Arc<Meters>) -> Front {
    let own = desk.clone();
    let edge = Edge::new("host", host_routes(), meters, move || own.request_id());
    Front::new(edge, build(table()).with_state(desk))
}

fn table() -> Table<HostDesk> {
    vec![
        host("GET", "/v1/state", state),
        host("POST", "/v1/seal", seal),
        host("POST", "/v1/unseal", unseal),
        takes_away("/v1/agents/{name}/revoke", |agent| Ok(TakeAway::RevokeAgent(name(agent)?))),
        takes_away("/v1/agents/{name}/suspend", |agent| Ok(TakeAway::SuspendAgent(name(agent)?))),
        takes_away("/v1/instances/{id}/revoke", |instance| Ok(TakeAway::RevokeInstance(id(instance)?))),
        takes_away("/v1/certificates/{serial}/revoke", |text| {
            Ok(TakeAway::RevokeCertificate(*serial(text)?.as_bytes()))
        }),
        takes_away("/v1/tokens/{id}/revoke", |token| Ok(TakeAway::RevokeToken(id(token)?))),
        takes_away("/v1/operators/{name}/revoke", |operator| Ok(TakeAway::RevokeOperator(name(operator)?))),
        takes_away("/v1/operators/{name}/suspend", |operator| Ok(TakeAway::SuspendOperator(name(operator)?))),
        host("POST", "/v1/break-glass", break_glass),
        host("POST", "/v1/clock/accept", accept_clock),
    ]
}

/// A line that takes `what` away.
fn takes_away(
    path: &'static str,
    what: fn(&str) -> Result<TakeAway, Problem>,
) -> (Route, MethodRouter<HostDesk>) {
    host("POST", path, async move |State(desk): State<HostDesk>, host: Host, Path(named): Path<String>| {
        let taken = desk.take_away(host.by, what(&named)?, host.repeat.request(&[])).await?;
        Ok::<_, Problem>(answer(StatusCode::OK, &OrderedAnswer::from(taken)))
    })
}

/// Whoever is at the other end of the socket. The only way for a handler to have one.
struct Host {
    by: HostPrincipal,
    repeat: Repeat,
}

impl FromRequestParts<HostDesk> for Host {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, desk: &HostDesk) -> Result<Self, Problem> {
        let peer =
            parts.extensions.get::<HostPeer>().ok_or_else(|| Problem::new(code::HOST_USER_NOT_ALLOWED))?;
        let by = desk.identify(peer.uid)?;
        Ok(Self { by, repeat: Repeat::of(parts)? })
    }
}

/// A line of the host's route table: a handler that takes no [`Host`] makes none.
fn host<H, T>(method: &'static str, path: &'static str, handler: H) -> (Route, MethodRouter<HostDesk>)
where
    H: Handler<T, HostDesk>,
    T: FromHost + 'static,
{
    let handled = if method == "GET" { get(handler) } else { post(handler) };
    (route(method, path, Caller::Host), handled)
}

/// Arguments of a handler, the host among the first of them.
trait FromHost {}

impl<M> FromHost for (M, State<HostDesk>, Host) {}
impl<M, A> FromHost for (M, State<HostDesk>, Host, A) {}
impl<M, A, B> FromHost for (M, State<HostDesk>, Host, A, B) {}

impl From<HostStanding> for StateAnswer {
    fn from(standing: HostStanding) -> Self {
        let not_ready = standing.not_ready.map(|failure| NotReadyAnswer {
            code: failure.code.as_str().into(),
            detail: failure.why,
            fix: failure.fix,
        });
        Self { state: standing.state.as_str().into(), queued: standing.queued, not_ready }
    }
}

async fn state(State(desk): State<HostDesk>, Host { by, .. }: Host) -> Response<Body> {
    answer(StatusCode::OK, &StateAnswer::from(desk.standing(by).await))
}

async fn seal(State(desk): State<HostDesk>, Host { by, .. }: Host) -> Response<Body> {
    desk.seal(by).await;
    answer(StatusCode::OK, &StateAnswer::from(desk.standing(by).await))
}

fn slot_key(body: UnsealBody) -> Result<SlotKey, Problem> {
    let malformed = Problem::new(code::UNSEAL_MALFORMED);
    match body {
        UnsealBody::Passphrase(text) => {
            let passphrase = Passphrase::entered(&text.into_bytes());
            let because = |error: PassphraseError| malformed.because(error.to_string());
            passphrase.map(SlotKey::Passphrase).map_err(because)
        }
        UnsealBody::Key(text) => SlotKey::parse(text.value().expose()).ok_or(malformed),
        UnsealBody::Shares(text) => {
            let shares = Share::read(&text.into_bytes()).and_then(Shares::together);
            let because = |error: ShareError| malformed.because(error.to_string());
            shares.map(SlotKey::Shares).map_err(because)
        }
    }
}

async fn unseal(
    State(desk): State<HostDesk>,
    Host { by, .. }: Host,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let key = slot_key(json(request, UNSEAL_BYTES_MAX).await?)?;
    desk.unseal(by, key).await?;
    Ok(answer(StatusCode::OK, &StateAnswer::from(desk.standing(by).await)))
}

impl From<TakenAway> for OrderedAnswer {
    fn from(taken: TakenAway) -> Self {
        match taken {
            TakenAway::Done(Ended::Recorded(seq)) => {
                Self { seq: Some(seq), durable: true, kept: false, queued: false }
            }
            TakenAway::Done(Ended::InMemory { kept }) => {
                Self { seq: None, durable: false, kept, queued: false }
            }
            TakenAway::Queued => Self { seq: None, durable: true, kept: false, queued: true },
        }
    }
}

async fn accept_clock(
    State(desk): State<HostDesk>,
    Host { by, .. }: Host,
) -> Result<Response<Body>, Problem> {
    let adjustment = desk.accept_clock(by).await?;
    let told = ClockAnswer {
        adjusted: adjustment.is_some(),
        seq: adjustment.map(|one| one.seq),
        was: adjustment.map(|one| one.was.to_string()),
        now: adjustment.map(|one| one.now.to_string()),
    };
    Ok(answer(StatusCode::OK, &told))
}

async fn break_glass(
    State(desk): State<HostDesk>,
    Host { by, .. }: Host,
    request: Request,
) -> Result<Response<Body>, Problem> {
    let (authorities, certified) = desk.break_glass(by, &request_in(request).await?).await?;
    Ok(identity(&authorities, &certified))
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt;

    use super::*;
    use crate::base::{SystemClock, SystemEntropy};
    use crate::custody::Orders;
    use crate::telemetry::Latency;

    const OWN: u32 = 990;

    #[tokio::test]
    async fn every_route_is_closed_to_whoever_is_not_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let orders = Orders::open(&dir.path().join("orders")).unwrap();
        let (desk, _wishes) =
            HostDesk::new(OWN, orders, Arc::new(SystemClock::new()), Arc::new(SystemEntropy));
        let router =
            host_router(desk, Arc::new(Meters::new(&Latency::new(), &crate::telemetry::Alarms::new())));
        for route in host_routes() {
            let path = route.path.replace("{name}", "a").replace("{id}", "x").replace("{serial}", "x");
            let mut statuses = Vec::new();
            for uid in [None, Some(OWN + 1), Some(65_534), Some(OWN), Some(0)] {
                let request = Request::builder().method(route.method).uri(&path).header("host", "keyward");
                let mut request = request.body(Body::empty()).unwrap();
                if let Some(uid) = uid {
                    request.extensions_mut().insert(HostPeer { uid });
                }
                statuses.push(router.clone().oneshot(request).await.unwrap().status());
            }
            let (others, host) = statuses.split_at(3);
            assert!(others.iter().all(|status| *status == StatusCode::FORBIDDEN), "{route:?}: {others:?}");
            assert!(host.iter().all(|status| *status != StatusCode::FORBIDDEN), "{route:?}: {host:?}");
        }
    }
}
