use hyper::StatusCode;
use serde_json::Value;

use super::check::Finding;
use super::driver::{Answer, Checking, Driver, Fault, Held, Outcome, Prepared, Shape, Surroundings, Verdict};
use super::exchange::{Answered, Terms};
use super::generate::Generate;
use super::http_target::{Bring, HttpTarget, Pointers, Requests};
use super::request::Request;
use super::template::Filling;
use crate::base::{Sensitive, UpstreamSlot, code};
use crate::secrets::SecretValue;

/// Tells a service of new values by requests, or has it make them.
///
/// Of what a service answers a status is looked at, and where it makes the value the places that the
/// declaration names. A status counts for what the declaration says of it. Of the others one of the
/// client's errors says that nothing was done; anything else leaves open what was.
pub(super) struct Http {
    target: HttpTarget,
    surroundings: Surroundings,
}

impl Http {
    pub(super) const fn new(target: HttpTarget, surroundings: Surroundings) -> Self {
        Self { target, surroundings }
    }

    fn requests(&self) -> Result<Requests, Fault> {
        self.target.judged().map_err(|_| Fault::new(Outcome::Refused, code::INTERNAL))
    }

    fn terms(&self) -> Terms<'_> {
        Terms {
            reach: &self.surroundings.reach,
            called: &self.surroundings.called,
            clock: &self.surroundings.clock,
            ca: self.target.ca.as_deref(),
            wait: self.target.wait(),
            answer_bytes_max: self.target.answer_bytes_max(),
        }
    }

    async fn call(&self, request: &Request, with: &Filling<'_>) -> Result<Answered, Fault> {
        let unfilled = Fault::new(Outcome::Refused, code::UPSTREAM_VALUE_INVALID);
        self.terms().exchange(&request.origin, request.filled(with).ok_or(unfilled)?).await
    }

    /// The call, when its answer says that it was done.
    async fn done(&self, request: &Request, with: &Filling<'_>) -> Result<Answered, Fault> {
        let answered = self.call(request, with).await?;
        if request.expect.contains(&answered.status.as_u16()) {
            Ok(answered)
        } else {
            Err(unexpected(answered.status))
        }
    }

    async fn verdict(&self, request: &Request, value: &SecretValue) -> Result<Verdict, Fault> {
        let with = Filling { value: Some(value), ..Filling::default() };
        // Being asked changes nothing, however it ends.
        let harmless = |fault: Fault| Fault { outcome: Outcome::Refused, ..fault };
        let status = self.call(request, &with).await.map_err(harmless)?.status;
        if request.expect.contains(&status.as_u16()) {
            Ok(Verdict::Works)
        } else if request.refused.contains(&status.as_u16()) {
            Ok(Verdict::Refused)
        } else {
            Err(harmless(unexpected(status)))
        }
    }
}

/// What a status says that the declaration does not name.
fn unexpected(status: StatusCode) -> Fault {
    // 408 and 409 may be about a request that was taken up all the same.
    let nothing_done = status.is_client_error() && !matches!(status.as_u16(), 408 | 409);
    let (outcome, code) = if nothing_done {
        (Outcome::Refused, code::UPSTREAM_REFUSED)
    } else {
        (Outcome::Unknown, code::UPSTREAM_UNEXPECTED_STATUS)
    };
    Fault { outcome, code, detail: Some(status.as_u16().to_string()) }
}

/// The value that the service has made, and what it calls its place.
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
    // A place is shown and goes into URLs: it must not be the value.
    let shows = slot.as_str().as_bytes().windows(value.expose().len()).any(|part| part == value.expose());
    if shows { None } else { Some(Prepared { value, slot: Some(slot) }) }
}

impl Driver for Http {
    fn shape(&self) -> Shape {
        self.target.shape()
    }

    fn prepare<'a>(&'a self, held: Held<'a>) -> Answer<'a, Prepared> {
        Box::pin(async move {
            match self.requests()?.bring {
                Bring::Apply { value, apply } => {
                    // That somebody is there whom we may call is seen before anything is begun.
                    self.terms().knock(&apply.origin).await?;
                    let entropy = std::sync::Arc::clone(&self.surroundings.entropy);
                    Ok(Prepared { value: Generate::new(value, entropy).value()?, slot: None })
                }
                Bring::Create { create, answer, .. } => {
                    let answered = self.done(&create, &held.filling(None)).await?;
                    let unreadable = Fault::new(Outcome::Unknown, code::UPSTREAM_RESPONSE_INVALID);
                    made(answered.body.expose(), &answer).ok_or(unreadable)
                }
            }
        })
    }

    fn apply<'a>(&'a self, held: Held<'a>) -> Answer<'a, ()> {
        Box::pin(async move {
            match self.requests()?.bring {
                Bring::Apply { apply, .. } => self.done(&apply, &held.filling(held.pending)).await.map(drop),
                // It was made there.
                Bring::Create { .. } => Ok(()),
            }
        })
    }

    fn verify<'a>(&'a self, value: &'a SecretValue) -> Answer<'a, Verdict> {
        Box::pin(async move { self.verdict(&self.requests()?.verify, value).await })
    }

    fn check<'a>(&'a self, held: Held<'a>) -> Checking<'a> {
        Box::pin(async move {
            let requests = match self.requests() {
                Ok(requests) => requests,
                Err(fault) => return vec![Finding::fault("connection", &fault)],
            };
            let origin = match &requests.bring {
                Bring::Apply { apply, .. } => &apply.origin,
                Bring::Create { create, .. } => &create.origin,
            };
            if let Err(fault) = self.terms().knock(origin).await {
                return vec![Finding::fault("connection", &fault)];
            }
            let says = format!("connected to {}", origin.authority);
            let mut findings = vec![Finding::good("connection", says)];
            if let Some(current) = held.current {
                let verdict = self.verdict(&requests.verify, current).await;
                findings.push(Finding::of_value(verdict, self.target.needs_current()));
            }
            findings
        })
    }

    fn retire<'a>(&'a self, held: Held<'a>, old: &'a SecretValue) -> Answer<'a, ()> {
        Box::pin(async move {
            let Requests { bring: Bring::Create { retire, .. }, verify } = self.requests()? else {
                return Ok(());
            };
            self.done(&retire, &held.filling(Some(old))).await?;
            match self.verdict(&verify, old).await? {
                Verdict::Refused => Ok(()),
                Verdict::Works => Err(Fault::new(Outcome::Unknown, code::UPSTREAM_NOT_REVOKED)),
            }
        })
    }
}

impl<'a> Held<'a> {
    fn filling(self, value: Option<&'a SecretValue>) -> Filling<'a> {
        let Self { admin, current, slot, rotation, .. } = self;
        Filling { value, current, admin, slot, rotation }
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
