use std::time::Duration;

use crate::authn::{AuthnError, OperatorPrincipal};
use crate::base::limits::REVOCATION_WAIT_MS;
use crate::base::{CodeId, OwnerName, Timestamp, code};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::services::{ElsewhereCredential, Services};
use crate::broker::world::Effect;
use crate::operators::{self, OperatorElsewhere, OperatorKind, OperatorRole, Serving, is_of_host};
use crate::pki::{PeerCertificate, SpiffeId};
use crate::policy::{Authorised, Counted, Right, Unauthorised, authorise};
use crate::quota::Note;
use crate::telemetry::Alarm;

impl AdminServices {
    /// The operator behind the certificate of a connection, as one that may do `R` now.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn authorise<R: Right>(&self, peer: &PeerCertificate) -> Result<Authorised<R>, Failure> {
        let mut principal = self.identified_or_refused(peer).await?;
        if principal.serving() != Serving::Current {
            self.promoted_in_time::<R>(peer).await?;
            principal = self.identified_or_refused(peer).await?;
        }
        match authorise(principal.clone()) {
            Ok(authorised) => {
                if R::NEED.quota == Counted::Yes {
                    let _permit = self.0.limits.operator_requests.admit(&principal.id())?;
                }
                self.note_use(&principal).await;
                Ok(authorised)
            }
            Err(refused) => Err(unauthorised::<R>(&principal, refused)),
        }
    }
}

impl AdminServices {
    /// Counts the certificate as the operator's current one. What takes away waits for the ledger no longer than
    /// a revocation does: the certificate is the operator's either way, and the ledger has the promotion later.
    async fn promoted_in_time<R: Right>(&self, peer: &PeerCertificate) -> Result<(), Failure> {
        let promoted = self.promote(peer);
        match R::NEED.quota {
            Counted::Yes => promoted.await,
            Counted::Never => {
                let wait = Duration::from_millis(REVOCATION_WAIT_MS);
                tokio::time::timeout(wait, promoted).await.unwrap_or(Ok(()))
            }
        }
    }
}

/// When a code ends that `operator` makes, which is to hold until `expires_at`: the hour of break-glass access is not
/// lengthened by what was made in it.
pub(crate) fn code_expiry(operator: &OperatorPrincipal, expires_at: Timestamp) -> Timestamp {
    if is_of_host(operator.name()) { expires_at.min(operator.not_after()) } else { expires_at }
}

/// The maker of a code: `operator` with its presented certificate.
pub(crate) fn record_maker(operator: &OperatorPrincipal, code: CodeId, expires_at: Timestamp) -> Effect {
    let (by, certificate) = (operator.id(), *operator.serial());
    Effect::Operators(operators::Effect::RecordMaker { code, by, certificate, expires_at })
}

impl Services {
    /// The refusal of a certificate that is used from outside the networks of its operator. At most one alarm and entry a
    /// minute for each operator and peer.
    pub(crate) async fn refuse_elsewhere(&self, peer: &PeerCertificate) -> Failure {
        let address = peer
            .from()
            .map_or_else(|| "an unknown address".to_owned(), |from| from.to_canonical().to_string());
        let known = match peer.spiffe() {
            SpiffeId::Operator { name, .. } => self.state.read(|reading| reading.operator(name).cloned()).0,
            SpiffeId::Agent { .. } | SpiffeId::ResourceServer { .. } => None,
        };
        let Some(operator) = known else { return AuthnError::Elsewhere.into() };
        let (name, networks) = (&operator.name, &operator.profile.networks);
        let credential = ElsewhereCredential::Operator(operator.id);
        if let Note::Record { unrecorded } = self.limits.entries.elsewhere.note(&credential, peer.from()) {
            let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
            self.notifications.meters.alarms().raise(
                Alarm::OperatorElsewhere,
                format_args!(
                    "operator {name}: its certificate was used from {address}, outside its networks ({}), and refused; find out who has the key, and in doubt `keyward operator revoke {name}`",
                    networks.join(", ")
                ),
            );
            let serial = peer.serial().to_string();
            let event =
                OperatorElsewhere { operator: name, serial, peer: address.clone(), networks, unrecorded };
            self.record_refusal(&event, peer.connection()).await;
        }
        // The networks are not named to the caller, who may have stolen the certificate.
        Failure::new(code::OPERATOR_OUTSIDE_NETWORK).because(format!(
            "the certificate of the operator `{name}` is bound to networks, and {address} is in none of them; the broker has raised an alarm"
        ))
    }
}

fn unauthorised<R: Right>(operator: &OperatorPrincipal, refused: Unauthorised) -> Failure {
    match refused {
        Unauthorised::Role => {
            let words: Vec<&str> = R::NEED.roles.iter().copied().map(OperatorRole::as_str).collect();
            let (needed, name) = (words.join(" or "), operator.name());
            Failure::new(code::OPERATOR_ROLE_INSUFFICIENT)
                .because(format!(
                    "the operator `{name}` has the role {}, and this needs {needed}",
                    operator.role().as_str()
                ))
                .mended_by(role_fix::<R>(operator, &needed))
        }
        Unauthorised::Scope => Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT)
            .because(format!(
                "the operator `{}` is limited to the owner `{}`, and this concerns all owners",
                operator.name(),
                operator.scope().owner().map_or("", OwnerName::as_str)
            ))
            .mended_by(scope_fix::<R>(operator)),
    }
}

/// What helps an operator with an owner: an operator with the scope `all`, or this scope. An automation cannot have it.
fn scope_fix<R: Right>(operator: &OperatorPrincipal) -> String {
    let words: Vec<&str> = R::NEED.roles.iter().copied().map(OperatorRole::as_str).collect();
    let ask = format!("ask an operator with the role {} and the scope `all` to do it", words.join(" or "));
    let (name, role) = (operator.name(), operator.role().as_str());
    match operator.kind() {
        OperatorKind::Automation => ask,
        OperatorKind::Human | OperatorKind::Service => {
            format!("{ask}, or an admin for this scope: `keyward operator role {name} {role} --no-owner`")
        }
    }
}

/// What helps an operator whose role does not have the right: a program can have only some of the roles.
fn role_fix<R: Right>(operator: &OperatorPrincipal, needed: &str) -> String {
    let (kind, name) = (operator.kind(), operator.name());
    let possible = kind.roles().iter().find(|role| R::NEED.roles.contains(role));
    match (kind, possible) {
        (OperatorKind::Human, Some(_)) => {
            // The last role of a right has the fewest other rights.
            let fewest = R::NEED.roles.iter().rfind(|role| kind.roles().contains(role));
            let (fewest, own) = (fewest.map_or("ROLE", |role| role.as_str()), operator.role().as_str());
            format!(
                "ask an operator with the role {needed} to do it, or an admin for another role, which replaces {own}: `keyward \
                 operator role {name} {fewest}`"
            )
        }
        (OperatorKind::Human, None) => {
            format!("ask an operator with the role {needed} to do it: a person cannot have this role")
        }
        (OperatorKind::Service | OperatorKind::Automation, Some(role)) => {
            let role = role.as_str();
            format!(
                "use another {kind} with the role {role} for it (`keyward operator invite NAME --{kind} --role {role}`), or ask \
                 an operator with the role {needed} to do it"
            )
        }
        (OperatorKind::Service | OperatorKind::Automation, None) => {
            format!(
                "ask a person with the role {needed} to do it: an operator of the kind {kind} cannot have this role"
            )
        }
    }
}
