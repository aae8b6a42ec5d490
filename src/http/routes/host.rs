use super::approval_keys::fingerprint;
use super::idempotency_header::OwnedIdempotentRequest;
use super::identity::{identity, signing_request};
use super::incidents::{required, subject};
use super::table::{RouteRequest, Routes};
use super::target::{FromPath, reason};
use crate::authn::HostPrincipal;
use crate::base::OperatorName;
use crate::base::code::{self, Code};
use crate::broker::{
    ContainInput, Ended, HostServices, HostStanding, OrderOutcome, OrderSettlement, SettledOrder,
};
use crate::custody::{FailedOrder, RevocationOrder};
use crate::http::documents::problem::Problem;
use crate::keyring::{Passphrase, PassphraseError, Share, ShareError, Shares, SlotKey};
use crate::telemetry::is_memory_locked;
use crate::wire::{
    self, ApprovalKeysAnswer, ClockAnswer, Endpoint, FreezeBody, IdentityAnswer, NotReadyAnswer, Nothing,
    Optional, OrderAcceptApprovalKeyBody, OrderContainBody, OrderedAnswer, OrderedContainmentAnswer,
    ReasonBody, RenewBody, SettledOrderAnswer, StateAnswer, UnsealBody,
};

pub(super) type Host<T = Nothing, I = Nothing> = RouteRequest<HostPrincipal, T, I>;

/// The routes of the socket on the broker's host.
pub(crate) fn routes() -> Routes<HostServices> {
    Routes::new()
        .route(&wire::GET_STATE, state)
        .route(&wire::SEAL, seal)
        .route(&wire::UNSEAL, unseal)
        .ordering(&wire::ORDER_REVOKE_AGENT, RevocationOrder::RevokeAgent)
        .ordering(&wire::ORDER_SUSPEND_AGENT, RevocationOrder::SuspendAgent)
        .ordering(&wire::ORDER_REVOKE_INSTANCE, RevocationOrder::RevokeInstance)
        .ordering(&wire::ORDER_REVOKE_CERTIFICATE, |serial| {
            RevocationOrder::RevokeCertificate(*serial.as_bytes())
        })
        .ordering(&wire::ORDER_REVOKE_TOKEN, RevocationOrder::RevokeToken)
        .ordering(&wire::ORDER_REVOKE_OPERATOR, RevocationOrder::RevokeOperator)
        .ordering(&wire::ORDER_SUSPEND_OPERATOR, RevocationOrder::SuspendOperator)
        .route(&wire::ORDER_CONTAIN, order_contain)
        .without_waiting()
        .route(&wire::ORDER_FREEZE, order_freeze)
        .without_waiting()
        .route(&wire::BREAK_GLASS, break_glass)
        .route(&wire::ACCEPT_CLOCK, accept_clock)
        .route(&wire::ORDER_ACCEPT_APPROVAL_KEY, accept_approval_key)
}

async fn accept_approval_key(
    services: HostServices,
    call: Host<OperatorName, OrderAcceptApprovalKeyBody>,
) -> Result<ApprovalKeysAnswer, Problem> {
    let key = fingerprint(&call.input.fingerprint)?;
    Ok(services.accept_approval_key(call.by, &call.target, key).await?)
}

impl Routes<HostServices> {
    /// A route that revokes or suspends `what`.
    fn ordering<T: FromPath>(
        self,
        endpoint: &Endpoint<T, Optional<ReasonBody>, OrderedAnswer>,
        what: fn(T) -> RevocationOrder,
    ) -> Self {
        let order = move |services: HostServices,
                          call: Host<T, Optional<ReasonBody>>,
                          idempotency: OwnedIdempotentRequest| async move {
            let reason = reason(call.input.reason.as_deref())?;
            let taken =
                services.order_revocation(call.by, what(call.target), reason, idempotency.request()).await?;
            Ok(OrderedAnswer::from(taken))
        };
        self.idempotent(endpoint, order).without_waiting()
    }
}

async fn state(services: HostServices, call: Host) -> Result<StateAnswer, Problem> {
    Ok(services.standing(call.by).await.into())
}

async fn seal(services: HostServices, call: Host) -> Result<StateAnswer, Problem> {
    services.seal(call.by).await;
    Ok(services.standing(call.by).await.into())
}

async fn unseal(services: HostServices, call: Host<Nothing, UnsealBody>) -> Result<StateAnswer, Problem> {
    services.unseal(call.by, slot_key(call.input)?).await?;
    Ok(services.standing(call.by).await.into())
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

async fn accept_clock(services: HostServices, call: Host) -> Result<ClockAnswer, Problem> {
    let adjustment = services.accept_clock(call.by).await?;
    Ok(ClockAnswer {
        adjusted: adjustment.is_some(),
        seq: adjustment.map(|one| one.seq),
        was: adjustment.map(|one| one.was.to_string()),
        now: adjustment.map(|one| one.now.to_string()),
    })
}

async fn order_contain(
    services: HostServices,
    call: Host<Nothing, OrderContainBody>,
) -> Result<OrderedContainmentAnswer, Problem> {
    let OrderContainBody { subject: named, reason } = &call.input;
    let input = ContainInput { subject: subject(named)?, reason: required(reason)?, incident: None };
    let ordered = services.order_containment(call.by, input).await?;
    let OrderedAnswer { seq, durable, kept, queued } = ordered.outcome.into();
    Ok(OrderedContainmentAnswer { incident: ordered.incident, seq, durable, kept, queued })
}

async fn order_freeze(
    services: HostServices,
    call: Host<Nothing, FreezeBody>,
) -> Result<OrderedAnswer, Problem> {
    Ok(services.order_freeze(call.by, required(&call.input.reason)?).await?.into())
}

async fn break_glass(
    services: HostServices,
    call: Host<Nothing, RenewBody>,
) -> Result<IdentityAnswer, Problem> {
    let (authorities, certified) = services.break_glass(call.by, &signing_request(&call.input)?).await?;
    Ok(identity(&authorities, &certified))
}

impl From<HostStanding> for StateAnswer {
    fn from(standing: HostStanding) -> Self {
        let not_ready = standing.not_ready.map(|failure| NotReadyAnswer {
            code: failure.code.as_str().into(),
            detail: failure.why,
            fix: failure.fix,
        });
        let settled = standing.settled.into_iter().map(Into::into);
        let settled = settled.chain(standing.failed.into_iter().map(Into::into)).collect();
        let warnings = standing.warnings.iter().map(|warning| warning.as_str().into()).collect();
        let (state, queued) = (standing.state.as_str().into(), standing.queued);
        Self { state, queued, not_ready, warnings, memory_locked: is_memory_locked(), settled }
    }
}

impl From<SettledOrder> for SettledOrderAnswer {
    fn from(SettledOrder { order, settlement }: SettledOrder) -> Self {
        let (outcome, failed) = match settlement {
            OrderSettlement::CarriedOut => ("carried-out", None),
            OrderSettlement::InMemory => ("in-memory", None),
            OrderSettlement::Failed(code) => ("failed", Some(code)),
        };
        Self {
            order: order.what.to_string(),
            by: order.by,
            at: order.at.to_string(),
            outcome: outcome.into(),
            code: failed.map(|code| code.as_str().into()),
            detail: failed.map(|code| code.meaning().to_owned()),
        }
    }
}

impl From<FailedOrder> for SettledOrderAnswer {
    fn from(FailedOrder { command, by, at, code }: FailedOrder) -> Self {
        let detail = code.parse().ok().map(|code: Code| code.meaning().to_owned());
        let (at, code) = (at.to_string(), Some(code.into()));
        Self { order: command, by, at, outcome: "failed".into(), code, detail }
    }
}

impl From<OrderOutcome> for OrderedAnswer {
    fn from(taken: OrderOutcome) -> Self {
        match taken {
            OrderOutcome::Done(Ended::Recorded(seq)) => {
                Self { seq: Some(seq), durable: true, kept: false, queued: false }
            }
            OrderOutcome::Done(Ended::InMemory { kept }) => {
                Self { seq: None, durable: false, kept, queued: false }
            }
            OrderOutcome::Queued => Self { seq: None, durable: true, kept: false, queued: true },
        }
    }
}
