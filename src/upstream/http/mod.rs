//! Services with an HTTP interface that accepts or creates values.

mod declaration;
mod exchange;
mod origin;
mod request;
mod template;
mod webhook;

use hyper::StatusCode;
use serde_json::Value;

use self::declaration::{Origination, Pointers, Service};
use self::exchange::{ExchangeAnswer, Terms};
use self::request::HttpRequest;
use self::template::{Field, Filling};
use super::declaration::{Fields, TargetError};
use super::driver::{
    Capabilities, Checking, Driver, DriverContext, DriverFuture, Prepared, RotationCall, SlotCount,
};
use super::driver_kind::{DriverKind, RotationKind};
use super::fault::{UpstreamFault, UpstreamOutcome};
use super::finding::{Finding, Verdict};
use crate::base::{SecretName, Sensitive, UpstreamSlot, code};
use crate::secrets::SecretValue;

pub use self::webhook::{Webhook, WebhookKey, WebhookKeyError, WebhookMessage};

pub(super) const KIND: DriverKind = DriverKind {
    rotation: Some(RotationKind { driver: "http", read, fields: declaration::fields }),
    leases: None,
    outspoken: &[],
};

fn read(fields: Fields) -> Result<Box<dyn Driver>, TargetError> {
    Ok(Box::new(Http(Service::read(fields)?)))
}

/// Sends new values to a service by requests, or lets it create them.
///
/// Only the status of a response is read, and the declared places of a created value. The declaration says what a status
/// means. Of the others, a client error (4xx) means that nothing was done; after any other status the result is unknown.
#[derive(Debug)]
struct Http(Service);

impl Http {
    fn terms<'a>(&'a self, with: &'a DriverContext) -> Terms<'a> {
        Terms { with, ca: self.0.ca.as_deref(), wait: self.0.wait, answer_bytes_max: self.0.answer_bytes_max }
    }

    async fn call(
        &self,
        with: &DriverContext,
        request: &HttpRequest,
        filling: &Filling<'_>,
    ) -> Result<ExchangeAnswer, UpstreamFault> {
        let unfilled = UpstreamFault::refused(code::UPSTREAM_VALUE_INVALID);
        self.terms(with).exchange(&request.origin, request.filled(filling).ok_or(unfilled)?).await
    }

    /// The response of a successful call.
    async fn done(
        &self,
        with: &DriverContext,
        request: &HttpRequest,
        filling: &Filling<'_>,
    ) -> Result<ExchangeAnswer, UpstreamFault> {
        let answered = self.call(with, request, filling).await?;
        if request.expect.contains(&answered.status.as_u16()) {
            Ok(answered)
        } else {
            Err(unexpected(answered.status))
        }
    }
}

/// The meaning of a status that the declaration does not name.
fn unexpected(status: StatusCode) -> UpstreamFault {
    // 408 and 409 can mean that the request was carried out anyway.
    let nothing_done = status.is_client_error() && !matches!(status.as_u16(), 408 | 409);
    let fault = if nothing_done {
        UpstreamFault::refused(code::UPSTREAM_REFUSED)
    } else {
        UpstreamFault::unknown(code::UPSTREAM_UNEXPECTED_STATUS)
    };
    fault.with(status.as_u16().to_string())
}

/// The value that the service has created, and its id of the value.
fn made(body: &[u8], at: &Pointers) -> Option<Prepared> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let value = answer.pointer(&at.value)?.as_str()?.as_bytes().to_vec();
    let value = SecretValue::new(Sensitive::new(value)).ok()?;
    let Some(pointer) = &at.slot else { return Some(Prepared { value, slot: None }) };
    let slot = match answer.pointer(pointer)? {
        Value::String(text) => text.parse::<UpstreamSlot>().ok()?,
        Value::Number(number) => number.to_string().parse().ok()?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    // The id is displayed and is part of URLs: it must not be the value.
    let shows = slot.as_str().as_bytes().windows(value.expose().len()).any(|part| part == value.expose());
    if shows { None } else { Some(Prepared { value, slot: Some(slot) }) }
}

impl Driver for Http {
    fn describe(&self) -> String {
        format!("http at {}", self.0.origination.request().origin.authority)
    }

    fn place(&self) -> Option<String> {
        Some(format!("http {}", self.0.origination.request().origin.authority))
    }

    fn admin_secret(&self) -> Option<&SecretName> {
        self.0.admin_secret.as_ref()
    }

    fn capabilities(&self) -> Capabilities {
        let needs_current = self.0.origination.request().uses(Field::Current);
        match &self.0.origination {
            Origination::Apply { .. } => Capabilities {
                shape: SlotCount::OneSlot,
                creates: false,
                retires_by_slot: false,
                needs_current,
            },
            Origination::Create { retire, .. } => Capabilities {
                shape: SlotCount::TwoSlots,
                creates: true,
                retires_by_slot: retire.uses(Field::Slot),
                needs_current,
            },
        }
    }

    fn prepare<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, Prepared> {
        Box::pin(async move {
            match &self.0.origination {
                Origination::Apply { value, apply } => {
                    // Before any change, check that the service can be called.
                    self.terms(call.with).connect(&apply.origin).await?;
                    Ok(value.generate(&*call.with.entropy)?.into())
                }
                Origination::Create { create, answer, .. } => {
                    let answered = self.done(call.with, create, &filling(call, None)).await?;
                    let unreadable = UpstreamFault::unknown(code::UPSTREAM_RESPONSE_INVALID);
                    made(answered.body.expose(), answer).ok_or(unreadable)
                }
            }
        })
    }

    fn apply<'a>(&'a self, call: RotationCall<'a>) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            match &self.0.origination {
                Origination::Apply { apply, .. } => {
                    self.done(call.with, apply, &filling(call, call.pending)).await.map(drop)
                }
                // The service created it.
                Origination::Create { .. } => Ok(()),
            }
        })
    }

    fn verify<'a>(&'a self, with: &'a DriverContext, value: &'a SecretValue) -> DriverFuture<'a, Verdict> {
        Box::pin(async move {
            let (request, filling) = (&self.0.verify, Filling { value: Some(value), ..Filling::default() });
            // A check changes nothing, also if it fails.
            let harmless =
                |fault: UpstreamFault| UpstreamFault { outcome: UpstreamOutcome::Refused, ..fault };
            let status = self.call(with, request, &filling).await.map_err(harmless)?.status;
            if request.expect.contains(&status.as_u16()) {
                Ok(Verdict::Works)
            } else if request.refused.contains(&status.as_u16()) {
                Ok(Verdict::Refused)
            } else {
                Err(harmless(unexpected(status)))
            }
        })
    }

    fn check<'a>(&'a self, call: RotationCall<'a>) -> Checking<'a> {
        Box::pin(async move {
            let origin = &self.0.origination.request().origin;
            if let Err(fault) = self.terms(call.with).connect(origin).await {
                return vec![Finding::fault("connection", &fault)];
            }
            let says = format!("connected to {}", origin.authority);
            let mut findings = vec![Finding::good("connection", says)];
            if let Some(current) = call.current {
                let verdict = self.verify(call.with, current).await;
                findings.push(Finding::of_value(
                    verdict,
                    self.capabilities().needs_current,
                    call.is_established,
                ));
            }
            findings
        })
    }

    fn retire<'a>(&'a self, call: RotationCall<'a>, old: &'a SecretValue) -> DriverFuture<'a, ()> {
        Box::pin(async move {
            let Origination::Create { retire, .. } = &self.0.origination else { return Ok(()) };
            self.done(call.with, retire, &filling(call, Some(old))).await?;
            match self.verify(call.with, old).await? {
                Verdict::Refused => Ok(()),
                Verdict::Works => Err(UpstreamFault::unknown(code::UPSTREAM_NOT_REVOKED)),
            }
        })
    }
}

const fn filling<'a>(call: RotationCall<'a>, value: Option<&'a SecretValue>) -> Filling<'a> {
    let RotationCall { admin, current, slot, rotation, .. } = call;
    Filling { value, current, admin, slot, rotation }
}

#[cfg(test)]
mod tests;
