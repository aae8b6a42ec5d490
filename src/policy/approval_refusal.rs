use crate::approvals::ApprovalTerms;
use crate::base::ApprovalId;

/// Why a request is denied until it is approved, or with the approval that it names.
#[derive(Clone, Debug)]
pub enum ApprovalRefusal {
    /// It needs an approval with these terms.
    Needed(Box<ApprovalTerms>),
    /// The approval that it names does not allow it, for a reason beyond the code.
    Named(ApprovalId, Option<String>),
}
