use std::time::Duration;

use super::desk::{AdminDesk, Core};
use super::failure::Failure;
use super::world::Effect;
use crate::authn::OperatorPrincipal;
use crate::base::code;
use crate::base::limits::TAKE_AWAY_WAIT_MS;
use crate::operators::{self, OperatorDenied, OperatorRole, Serving};
use crate::pki::{self, PeerCertificate};
use crate::policy::{Authorised, Counted, Maker, Right, Unauthorised, authorise};
use crate::quota::Note;
use crate::revocation::{self, Subject};
use crate::store::Change;

impl AdminDesk {
    /// The operator behind the certificate of a connection, as one that may do `R` now. A refusal of
    /// an operator is recorded.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn authorise<R: Right>(&self, peer: &PeerCertificate) -> Result<Authorised<R>, Failure> {
        let mut principal = self.identify(peer)?;
        if principal.serving() != Serving::Current {
            self.promoted_in_time::<R>(peer).await?;
            principal = self.identify(peer)?;
        }
        match authorise(principal.clone()) {
            Ok(authorised) => {
                if R::NEED.quota == Counted::Yes {
                    let _permit = self.0.operator_requests.admit(&principal.id())?;
                }
                Ok(authorised)
            }
            Err(refused) => Err(self.0.refuse_operator::<R>(&principal, refused).await),
        }
    }
}

impl AdminDesk {
    /// Counts the certificate as the operator's current one. What takes away waits for the ledger no longer than
    /// a revocation does: the certificate is the operator's either way, and the ledger has the promotion later.
    async fn promoted_in_time<R: Right>(&self, peer: &PeerCertificate) -> Result<(), Failure> {
        let promoted = self.promote(peer);
        match R::NEED.quota {
            Counted::Yes => promoted.await,
            Counted::Never => {
                let wait = Duration::from_millis(TAKE_AWAY_WAIT_MS);
                tokio::time::timeout(wait, promoted).await.unwrap_or(Ok(()))
            }
        }
    }
}

/// An operator's change commits only while its certificate, that certificate's authority, its role and its reach
/// are what they were when it was authorised.
pub(super) fn while_allowed(change: Change<Effect>, operator: &OperatorPrincipal) -> Change<Effect> {
    let as_of = operator.as_of();
    change
        .rely(pki::keys::authority(), as_of)
        .rely(revocation::keys::wide(), as_of)
        .rely(operators::keys::certificates(operator.name()), as_of)
        .rely(operators::keys::operator(operator.name()), as_of)
        .rely(revocation::keys::subject(&Subject::Operator(operator.id())), as_of)
}

/// What a code gives commits only while its maker could make it.
pub(super) fn while_vouched_for(change: Change<Effect>, maker: Option<&Maker>, as_of: u64) -> Change<Effect> {
    match maker {
        Some(Maker { id, name }) => change
            .rely(operators::keys::operator(name), as_of)
            .rely(revocation::keys::subject(&Subject::Operator(*id)), as_of),
        None => change,
    }
}

impl Core {
    async fn refuse_operator<R: Right>(
        &self,
        operator: &OperatorPrincipal,
        refused: Unauthorised,
    ) -> Failure {
        let failure = match refused {
            Unauthorised::Role => {
                let words: Vec<&str> = R::NEED.roles.iter().copied().map(OperatorRole::as_str).collect();
                Failure::new(code::OPERATOR_ROLE).mended_by(format!(
                    "it takes the role {}: ask an operator who has it, or an admin to give it to you",
                    words.join(" or ")
                ))
            }
            Unauthorised::Scope => Failure::new(code::OPERATOR_SCOPE),
        };
        if let Note::Record { unrecorded } = self.operator_denials.note(&operator.id()) {
            self.record_refusal(&OperatorDenied {
                operator: operator.name(),
                role: operator.role().as_str(),
                right: R::NEED.right,
                code: failure.code.as_str(),
                unrecorded,
            })
            .await;
        }
        failure
    }
}
