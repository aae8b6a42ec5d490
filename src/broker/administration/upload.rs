use super::heavy::{HeavyRequest, Priority};
use crate::authn::OperatorPrincipal;
use crate::base::{OperatorName, Timestamp};
use crate::broker::declarations::sections::Sections;
use crate::broker::failure::Failure;
use crate::broker::policies::rolled_back::RollbackTarget;
use crate::config::SourceFile;
use crate::registry::Undeclared;

/// Declaration files that an operator uploaded.
#[derive(Debug)]
pub struct Uploaded {
    /// The files.
    pub files: Vec<SourceFile>,
    /// The treatment of objects that the files do not name.
    pub unnamed: Undeclared,
    /// The id of the plan whose changes are made. Without an id, the changes that the files declare are made.
    pub plan: Option<String>,
    /// Whether the request confirms that the changes give more access.
    pub widen: bool,
    /// The approval of the plan by a second operator.
    pub approval: Option<PlanApproval>,
    /// The earlier version that the files bring back.
    pub rollback: Option<RollbackTarget>,
}

/// The approval of a plan, as a request has it.
#[derive(Clone, Debug)]
pub struct PlanApproval {
    /// The operator that approved.
    pub operator: OperatorName,
    /// The digest that it signed, in hex.
    pub digest: String,
    /// The newest entry when the plan was made.
    pub seq: u64,
    /// The end of the approval.
    pub expires_at: Timestamp,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Files that an operator uploaded, and what they declare.
pub(super) struct Upload {
    pub(super) operator: OperatorPrincipal,
    pub(super) files: Vec<SourceFile>,
    pub(super) sections: Sections,
    pub(super) unnamed: Undeclared,
    pub(super) asked: AskedApplication,
    pub(super) names: NamedEffects,
}

/// What an application asks for beside its files.
pub(super) struct AskedApplication {
    pub(super) plan: Option<String>,
    pub(super) widen: bool,
    pub(super) approval: Option<PlanApproval>,
    pub(super) rollback: Option<RollbackTarget>,
}

/// Which effects on agents are wanted.
#[derive(Clone, Copy)]
pub(super) struct NamedEffects {
    /// What agents lose: for a plan, and for an application that names or approves one.
    pub(super) losses: bool,
    /// What becomes reachable: likewise, and for an application that does not confirm it, or needs the approval of a second
    /// operator.
    pub(super) widening: bool,
}

impl AsRef<[SourceFile]> for Upload {
    fn as_ref(&self) -> &[SourceFile] {
        &self.files
    }
}

impl Upload {
    pub(super) async fn read(
        operator: &OperatorPrincipal,
        heavy: &HeavyRequest,
        Uploaded { files, unnamed, plan, widen, approval, rollback }: Uploaded,
    ) -> Result<Self, Failure> {
        let operator = operator.clone();
        let reading = heavy.run(Priority::Low, move |work| {
            let sections = Sections::read(&files, operator.scope(), work)?;
            let losses = plan.is_some() || approval.is_some();
            let names = NamedEffects { losses, widening: losses || !widen };
            let asked = AskedApplication { plan, widen, approval, rollback };
            Ok::<_, Failure>(Self { operator, files, sections, unnamed, asked, names })
        });
        reading.await
    }
}
