use crate::base::code;
use crate::wire::NextStepBody;

/// A refusal of the broker.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) code: String,
    pub(crate) why: String,
    pub(crate) fix: String,
    pub(crate) decision: Option<String>,
    pub(crate) request: Option<String>,
    /// The errors in declarations with their places.
    pub(crate) places: Vec<String>,
    pub(crate) next: NextSteps,
}

/// What a program can do after a refusal of the broker.
#[derive(Clone, Debug, Default)]
pub(crate) struct NextSteps {
    /// Whether the unchanged request may succeed later.
    pub(crate) retryable: bool,
    /// The time in seconds after which the broker asks to repeat the request.
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: NextStepBody,
}

impl Refused {
    /// A response that this version cannot read.
    pub(crate) fn unreadable(status: u16) -> Self {
        Self {
            code: code::RESPONSE_INVALID.to_string(),
            why: format!(
                "the response has the HTTP status {status}, and a body that this version cannot read"
            ),
            fix: "check the version of the broker, and look the request up in its log".to_owned(),
            decision: None,
            request: None,
            places: Vec::new(),
            next: NextSteps::default(),
        }
    }
}
