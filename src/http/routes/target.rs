use std::str::FromStr;

use crate::base::{
    AgentName, ApprovalId, ApprovalReference, ApprovalReferenceError, CapabilityName, CodeId, DecisionId,
    IdError, IncidentId, InstanceId, LeaseId, NameError, OperatorName, Person, PersonError, PolicyName,
    Reason, ReasonError, SecretName, Serial, SerialError, SubjectName, TokenId, code, has_secret_form,
    without_secret_forms,
};
use crate::broker::RequestedObject;
use crate::http::documents::operation::OperationDocument;
use crate::http::documents::problem::Problem;
use crate::wire::{Nothing, Target};

/// The target in the path of a request.
pub(crate) trait FromPath: Target + Sized + Send + Sync + 'static {
    fn parse(text: &str) -> Result<Self, Problem>;
    fn describe(document: &mut OperationDocument<'_>);

    /// The object of a path for `template`, for the entry about a refused request.
    fn object(&self, _template: &str) -> Option<RequestedObject> {
        None
    }

    /// The target in a path for `template`. Paths have one spelling, without escapes.
    fn of_path(path: &str, template: &str) -> Result<Self, Problem> {
        let (before, rest) = template.split_once('{').unwrap_or((template, "}"));
        let after = rest.split_once('}').map_or("", |(_, after)| after);
        Self::parse(path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).unwrap_or_default())
    }
}

impl FromPath for Nothing {
    fn parse(_: &str) -> Result<Self, Problem> {
        Ok(Self)
    }

    fn describe(_: &mut OperationDocument<'_>) {}
}

macro_rules! from_path {
    ($($target:ident by $parse:ident $(is $subject:ident)? $(as $object:ident)? $(via $make:ident)?),*) => {$(
        impl FromPath for $target {
            fn parse(text: &str) -> Result<Self, Problem> {
                $parse(text)
            }

            fn describe(document: &mut OperationDocument<'_>) {
                document.path_parameter::<Self>();
            }

            $(fn object(&self, _template: &str) -> Option<RequestedObject> {
                Some(RequestedObject::Subject(SubjectName::$subject(Clone::clone(self))))
            })?

            $(fn object(&self, _template: &str) -> Option<RequestedObject> {
                Some(RequestedObject::$object(*self))
            })?

            $(fn object(&self, _template: &str) -> Option<RequestedObject> {
                Some(RequestedObject::$make(*self))
            })?
        }
    )*};
}

from_path!(
    AgentName by name is Agent, OperatorName by name is Operator, SecretName by name is Secret, InstanceId by id is Instance,
    TokenId by id is Token, Serial by serial is Certificate, LeaseId by id as Lease, CodeId by id as Code, IncidentId by id as Incident,
    ApprovalId by id via approval, ApprovalReference by approval as Approval, DecisionId by id, CapabilityName by name is Capability, PolicyName by name, u64 by sequence
);

/// The number of a generation.
impl FromPath for u32 {
    fn parse(text: &str) -> Result<Self, Problem> {
        generation(text)
    }

    fn describe(document: &mut OperationDocument<'_>) {
        document.path_parameter::<Self>();
    }

    fn object(&self, template: &str) -> Option<RequestedObject> {
        match template.split('/').nth(2)? {
            "authorities" => Some(RequestedObject::Authority(*self)),
            "token-keys" => Some(RequestedObject::TokenKey(*self)),
            _ => None,
        }
    }
}

/// A canonical name from the path or the body.
pub(crate) fn name<N: FromStr<Err = NameError>>(text: &str) -> Result<N, Problem> {
    text.parse().map_err(|error: NameError| {
        let fix = format!("use {}", error.rule());
        Problem::new(code::NAME_NOT_CANONICAL).because(error.to_string()).mended_by(fix)
    })
}

/// A canonical id from the path, the query or the body.
pub(crate) fn id<I: FromStr<Err = IdError>>(text: &str) -> Result<I, Problem> {
    text.parse().map_err(|error: IdError| Problem::new(code::ID_NOT_CANONICAL).because(error.to_string()))
}

fn approval(text: &str) -> Result<ApprovalReference, Problem> {
    let refused =
        |error: ApprovalReferenceError| Problem::new(code::ID_NOT_CANONICAL).because(error.to_string());
    text.parse().map_err(refused)
}

fn serial(text: &str) -> Result<Serial, Problem> {
    text.parse().map_err(|error: SerialError| Problem::new(code::ID_NOT_CANONICAL).because(error.to_string()))
}

fn generation(text: &str) -> Result<u32, Problem> {
    let number = text.parse::<u32>().ok().filter(|number| number.to_string() == text);
    number.ok_or_else(|| {
        let (why, fix) = (
            "the generation is not a whole number",
            "copy the number from `keyward authority list` or `keyward token-key list`",
        );
        Problem::new(code::ID_NOT_CANONICAL).because(why).mended_by(fix)
    })
}

fn sequence(text: &str) -> Result<u64, Problem> {
    let number = text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    number.ok_or_else(|| {
        let (why, fix) = (
            "the sequence number of the entry is not a whole number",
            "copy the number from `keyward audit list`",
        );
        Problem::new(code::ID_NOT_CANONICAL).because(why).mended_by(fix)
    })
}

/// The operator's reason, if the request has one, without words that have the form of a token or an enrolment code: the
/// request is carried out, and the ledger does not keep a secret.
pub(crate) fn reason(text: Option<&str>) -> Result<Option<Reason>, Problem> {
    text.map(|text| line(&without_secret_forms(text))).transpose()
}

/// A text in one line, as it is.
pub(crate) fn line(text: &str) -> Result<Reason, Problem> {
    let refused = |error: ReasonError| Problem::new(code::REASON_INVALID).because(error.to_string());
    text.parse().map_err(refused)
}

/// The person that a request names, if it names one.
pub(crate) fn person(text: Option<&str>) -> Result<Option<Person>, Problem> {
    if text.is_some_and(has_secret_form) {
        return Err(Problem::new(code::TEXT_CONTAINS_SECRET));
    }
    let refused = |error: PersonError| Problem::new(code::PERSON_INVALID).because(error.to_string());
    text.map(str::parse).transpose().map_err(refused)
}
