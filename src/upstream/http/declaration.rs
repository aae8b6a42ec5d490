use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;

use super::super::declaration::{Fields, TargetError};
use super::super::generate::GeneratedValue;
use super::origin::Scheme;
use super::request::{DeclaredRequest, HttpRequest, Purpose};
use super::template::Field;
use crate::base::SecretName;
use crate::base::limits::{UPSTREAM_ANSWER_BYTES_MAX, UPSTREAM_WAIT_MAX_S, UPSTREAM_WAIT_S};
use crate::pki::certificates_from_pem;

/// The declaration of a service that accepts or creates values by requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawService {
    ca: Option<String>,
    admin_secret: Option<SecretName>,
    timeout_s: Option<u64>,
    answer_bytes: Option<usize>,
    value: Option<GeneratedValue>,
    apply: Option<DeclaredRequest>,
    create: Option<DeclaredRequest>,
    answer: Option<Pointers>,
    slots: Option<u8>,
    verify: DeclaredRequest,
    retire: Option<DeclaredRequest>,
}

pub(super) fn fields(generator: &mut SchemaGenerator) -> Vec<Schema> {
    vec![RawService::json_schema(generator)]
}

/// Places in a response: JSON pointers (RFC 6901).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pointers {
    /// The value, a string.
    pub(super) value: String,
    /// The service's own id of the value, a string or a number.
    pub(super) slot: Option<String>,
}

/// A declared service whose fields were checked.
#[derive(Debug)]
pub(super) struct Service {
    /// The CA certificates for the service in PEM.
    pub(super) ca: Option<String>,
    /// The secret `{{admin}}`.
    pub(super) admin_secret: Option<SecretName>,
    /// Longest total time of a call.
    pub(super) wait: Duration,
    /// Largest response body, in bytes.
    pub(super) answer_bytes_max: usize,
    pub(super) origination: Origination,
    pub(super) verify: HttpRequest,
}

/// The origin of a new value.
#[derive(Debug)]
pub(super) enum Origination {
    /// The broker makes it, and sends it to the service.
    Apply { value: GeneratedValue, apply: HttpRequest },
    /// The service creates it, and revokes the old one by a request.
    Create { create: HttpRequest, answer: Pointers, retire: Box<HttpRequest> },
}

fn refuse<T>(field: &str, why: &str) -> Result<T, TargetError> {
    Err(TargetError::at(field, why.to_owned()))
}

impl Service {
    pub(super) fn read(fields: Fields) -> Result<Self, TargetError> {
        let raw: RawService = fields.read()?;
        let verify = raw.verify.judged(Purpose::Verify)?;
        if !verify.uses(Field::Value) {
            return refuse("verify", "`verify` does not send the `value`: it would prove nothing");
        }
        let origination = match (&raw.apply, &raw.create) {
            (Some(apply), None) => raw.applied(apply)?,
            (None, Some(create)) => raw.created(create)?,
            (Some(_), Some(_)) => {
                return refuse("create", "`create` contradicts `apply`: leave one of them out");
            }
            (None, None) => return refuse("", "`apply` is missing: the request that sets a new value"),
        };
        let wait_s = raw.timeout_s.unwrap_or(UPSTREAM_WAIT_S);
        if !(1..=UPSTREAM_WAIT_MAX_S).contains(&wait_s) {
            return refuse("timeout_s", "`timeout_s` must be 1 to 60");
        }
        let answer_bytes_max = raw.answer_bytes.unwrap_or(UPSTREAM_ANSWER_BYTES_MAX / 4);
        if !(1..=UPSTREAM_ANSWER_BYTES_MAX).contains(&answer_bytes_max) {
            return refuse("answer_bytes", "`answer_bytes` must be 1 to 262144");
        }
        let (ca, admin_secret, wait) = (raw.ca, raw.admin_secret, Duration::from_secs(wait_s));
        let service = Self { ca, admin_secret, wait, answer_bytes_max, origination, verify };
        service.check()?;
        Ok(service)
    }

    fn check(&self) -> Result<(), TargetError> {
        let all = self.requests();
        let uses_admin = all.iter().any(|request| request.uses(Field::Admin));
        match &self.admin_secret {
            None if uses_admin => return refuse("", "`admin_secret` is missing: a request uses `admin`"),
            Some(_) if !uses_admin => {
                return refuse("admin_secret", "no request uses `admin`: leave `admin_secret` out");
            }
            _ => {}
        }
        let is_encrypted = all.iter().any(|request| request.origin.scheme == Scheme::Https);
        match &self.ca {
            None if is_encrypted => {
                return refuse("", "`ca` is missing: the CA certificates in PEM that verify the service");
            }
            Some(_) if !is_encrypted => return refuse("ca", "`ca` contradicts http://"),
            Some(pem) if certificates_from_pem(pem).is_err() => {
                return refuse("ca", "`ca` has no certificate in PEM");
            }
            _ => {}
        }
        Ok(())
    }

    fn requests(&self) -> Vec<&HttpRequest> {
        let retire = match &self.origination {
            Origination::Apply { .. } => None,
            Origination::Create { retire, .. } => Some(&**retire),
        };
        [self.origination.request(), &self.verify].into_iter().chain(retire).collect()
    }
}

impl RawService {
    fn applied(&self, apply: &DeclaredRequest) -> Result<Origination, TargetError> {
        let unfitting = [("answer", self.answer.is_some()), ("retire", self.retire.is_some())];
        for (field, is_there) in unfitting {
            if is_there {
                return refuse(
                    field,
                    "it is only for `create`: an applied value replaces the previous one at once",
                );
            }
        }
        if self.slots.is_some_and(|slots| slots != 1) {
            return refuse(
                "slots",
                "`slots` other than 1 are only for `create`: an applied value replaces the previous one at once",
            );
        }
        let value = self.value.clone().unwrap_or_default();
        value.check()?;
        let apply = apply.judged(Purpose::Apply)?;
        if !apply.uses(Field::Value) {
            return refuse("apply", "`apply` does not send the `value`");
        }
        Ok(Origination::Apply { value, apply })
    }

    fn created(&self, create: &DeclaredRequest) -> Result<Origination, TargetError> {
        if self.slots != Some(2) {
            return refuse(
                "create",
                "`create` needs a service that holds two values at a time, `slots = 2`: a value that it makes \
                 cannot be kept before it counts, and with one slot a lost answer would leave none that works",
            );
        }
        if self.value.is_some() {
            return refuse("value", "it contradicts `create`, where the service makes the value");
        }
        let Some(answer) = self.answer.clone() else {
            return refuse(
                "create",
                "`answer` is missing: the place of the value in the response to `create`",
            );
        };
        for pointer in [Some(&answer.value), answer.slot.as_ref()].into_iter().flatten() {
            if !is_pointer(pointer) {
                return refuse("answer", "`value` and `slot` are JSON pointers (RFC 6901), e.g. `/data/key`");
            }
        }
        let Some(retire) = &self.retire else {
            return refuse(
                "create",
                "`retire` is missing: the request that revokes the previous value after its grace period",
            );
        };
        let retire = retire.judged(Purpose::Retire)?;
        if retire.uses(Field::Slot) && answer.slot.is_none() {
            return refuse("answer", "`slot` is missing, and `retire` uses it");
        }
        if !retire.uses(Field::Slot) && !retire.uses(Field::Value) {
            return refuse(
                "retire",
                "`retire` sends neither `slot` nor `value`: the service would not know which value to revoke",
            );
        }
        let create = create.judged(Purpose::Create)?;
        Ok(Origination::Create { create, answer, retire: Box::new(retire) })
    }
}

impl Origination {
    /// The request that sets or creates a new value.
    pub(super) const fn request(&self) -> &HttpRequest {
        match self {
            Self::Apply { apply, .. } => apply,
            Self::Create { create, .. } => create,
        }
    }
}

/// `/` before each step, and `~` only as `~0` or `~1`.
fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1);
    text.starts_with('/') && escapes.into_iter().all(|rest| rest.starts_with(['0', '1']))
}

#[cfg(test)]
mod tests {
    use super::super::super::declaration::fields;
    use super::*;

    const VERIFY: &str = r#""verify":{"url":"http://127.0.0.1/me","bearer":"value"}"#;
    const APPLY: &str = r#""apply":{"url":"http://127.0.0.1/key","body":"\"{{value}}\""}"#;
    const CREATE: &str = r#""create":{"url":"http://127.0.0.1/keys"}"#;
    const ANSWER: &str = r#""answer":{"value":"/key","slot":"/id"}"#;
    const RETIRE: &str = r#""retire":{"url":"http://127.0.0.1/keys/{{slot}}"}"#;

    fn read(parts: &[&str]) -> Result<Service, TargetError> {
        Service::read(fields(&format!(r#"{{"driver":"http",{}}}"#, parts.join(","))))
    }

    fn refused(parts: &[&str], says: &str) {
        let error = read(parts).err().unwrap().to_string();
        assert!(error.contains(says) && !error.contains("CNRY"), "{error}");
    }

    #[test]
    fn a_value_that_upstream_makes_needs_two_slots_and_the_reason_is_given() {
        for slots in [r#""slots":1"#, r#""slots":3"#, r#""timeout_s":10"#] {
            refused(&[VERIFY, CREATE, ANSWER, RETIRE, slots], "a lost answer would leave none that works");
        }
        refused(&[VERIFY, CREATE, ANSWER, r#""slots":2"#], "`retire` is missing");
        refused(&[VERIFY, CREATE, RETIRE, r#""slots":2"#], "`answer` is missing");
    }

    #[test]
    fn waits_and_answers_are_bounded() {
        let with = |field: &str, value: u64| format!("\"{field}\":{value}");
        let bytes = u64::try_from(UPSTREAM_ANSWER_BYTES_MAX).unwrap();
        for (field, most) in [("timeout_s", UPSTREAM_WAIT_MAX_S), ("answer_bytes", bytes)] {
            assert!(read(&[VERIFY, APPLY, &with(field, most)]).is_ok(), "{field}");
            for beyond in [0, most + 1] {
                refused(&[VERIFY, APPLY, &with(field, beyond)], field);
            }
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let two = r#""slots":2"#;
        refused(&[VERIFY], "`apply` is missing");
        refused(&[APPLY], "missing field `verify`");
        refused(&[VERIFY, APPLY, CREATE], "contradicts `apply`");
        refused(&[VERIFY, APPLY, RETIRE], "only for `create`");
        refused(&[VERIFY, APPLY, two], "only for `create`");
        refused(&[VERIFY, r#""apply":{"url":"http://127.0.0.1/"}"#], "does not send");
        refused(&[r#""verify":{"url":"http://127.0.0.1/"}"#, APPLY], "prove nothing");
        refused(&[VERIFY, APPLY, r#""admin_secret":"a/b""#], "no request uses `admin`");
        refused(&[VERIFY, APPLY, r#""ca":"CNRY""#], "contradicts http://");
        refused(&[VERIFY, r#""apply":{"url":"https://a/","bearer":"value"}"#], "`ca` is missing");
        refused(
            &[VERIFY, r#""apply":{"url":"https://a/","bearer":"value"}"#, r#""ca":"CNRY""#],
            "no certificate",
        );
        refused(
            &[VERIFY, r#""apply":{"url":"http://127.0.0.1/","bearer":"value","basic":1}"#],
            "invalid type",
        );
        let admin = r#""apply":{"url":"http://127.0.0.1/","bearer":"admin","body":"\"{{value}}\""}"#;
        refused(&[VERIFY, admin], "`admin_secret` is missing");
        refused(&[VERIFY, APPLY, r#""value":{"length":7}"#], "`length`");
        refused(&[VERIFY, CREATE, ANSWER, RETIRE, two, r#""value":{}"#], "the service makes the value");
        for pointer in ["key", "", "/a~2", "/a~"] {
            let answer = format!(r#""answer":{{"value":"{pointer}","slot":"/id"}}"#);
            refused(&[VERIFY, CREATE, &answer, RETIRE, two], "JSON pointers");
        }
        refused(&[VERIFY, CREATE, r#""answer":{"value":"/key"}"#, RETIRE, two], "`slot` is missing");
        let which = r#""retire":{"url":"http://127.0.0.1/"}"#;
        refused(&[VERIFY, CREATE, ANSWER, which, two], "which value to revoke");
    }
}
