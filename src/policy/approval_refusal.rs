use crate::approvals::ApprovalTerms;
use crate::base::ApprovalId;
use crate::base::code::Code;

/// Why a request is denied until it is approved, or with the approval that it names.
#[derive(Clone, Debug)]
pub enum ApprovalRefusal {
    /// It needs an approval with these terms.
    Needed(Box<ApprovalTerms>),
    /// The approval that it names does not allow it, for a reason beyond the code.
    Named(ApprovalId, Option<String>),
}

/// A request that is not approved.
pub(super) struct Unapproved {
    pub(super) code: Code,
    pub(super) refusal: Option<ApprovalRefusal>,
}

impl Unapproved {
    pub(super) const fn new(code: Code) -> Self {
        Self { code, refusal: None }
    }

    /// A request that names the approval `id`.
    pub(super) const fn named(code: Code, id: ApprovalId) -> Self {
        Self { code, refusal: Some(ApprovalRefusal::Named(id, None)) }
    }
}
