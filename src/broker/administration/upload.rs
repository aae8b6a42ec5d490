use super::heavy::{HeavyRequest, Priority};
use crate::authn::OperatorPrincipal;
use crate::broker::declarations::sections::Sections;
use crate::broker::failure::Failure;
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
}

/// Files that an operator uploaded, and what they declare.
pub(super) struct Upload {
    pub(super) operator: OperatorPrincipal,
    pub(super) files: Vec<SourceFile>,
    pub(super) sections: Sections,
    pub(super) unnamed: Undeclared,
    pub(super) plan: Option<String>,
    pub(super) widen: bool,
    /// Whether what agents lose is wanted: for a plan, and for an application that names one.
    pub(super) names_losses: bool,
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
        Uploaded { files, unnamed, plan, widen }: Uploaded,
    ) -> Result<Self, Failure> {
        let operator = operator.clone();
        let reading = heavy.run(Priority::Low, move |work| {
            let sections = Sections::read(&files, operator.scope(), work)?;
            let names_losses = plan.is_some();
            Ok::<_, Failure>(Self { operator, files, sections, unnamed, plan, widen, names_losses })
        });
        reading.await
    }
}
