use crate::authn::{AuthnError, RenewingOperator, Timeliness};
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::limits::{BACKDATE_S, CERTIFICATE_LIFE_MAX_S};
use crate::base::{OperatorName, Timestamp, peer_of};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{Enrolled, read_key};
use crate::broker::identity::renew::RenewInput;
use crate::broker::retry::retry_on_conflict;
use crate::broker::world::Effect;
use crate::operators::{self, OperatorCertificatePromoted, Serving, is_of_host};
use crate::pki::{PeerCertificate, SpiffeId};
use crate::policy::decide_operator_renewal;
use crate::store::Change;

impl AdminServices {
    /// The operator behind the certificate of a connection, as one that may renew: its certificate may have expired
    /// within the grace period.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub fn identify_renewing(&self, peer: &PeerCertificate) -> Result<RenewingOperator, AuthnError> {
        let (grace_s, time) = (self.0.settings.operator_renewal_grace_s, self.0.state.clock.reading());
        self.0.state.read(|reading| reading.renewing_operator(peer, grace_s, time)).0
    }

    /// The same for a renewal: counts the request against the operator's rate, and records the first use of the
    /// certificate.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn authorise_renewal(&self, peer: &PeerCertificate) -> Result<RenewingOperator, Failure> {
        let mut renewing = match self.identify_renewing(peer) {
            Err(AuthnError::Elsewhere) => return Err(self.0.refuse_elsewhere(peer).await),
            identified => identified?,
        };
        if renewing.serving() != Serving::Current {
            self.promote(peer).await?;
            renewing = self.identify_renewing(peer)?;
        }
        let _permit = self.0.limits.operator_requests.admit(&renewing.id())?;
        Ok(renewing)
    }

    /// The refusal of the certificate `peer`: an expired one can be renewed within its grace period.
    pub(crate) fn refused(&self, peer: &PeerCertificate, error: AuthnError) -> Failure {
        if error != AuthnError::OutOfTime {
            return error.into();
        }
        let Some((name, until)) = self.renewable_until(peer) else {
            let is_expired = peer.not_after() <= self.0.state.clock.now();
            return if is_expired { refused_for_good(peer, error) } else { error.into() };
        };
        let serial: String = peer.serial().to_string().chars().take(SERIAL_DIGITS).collect();
        Failure::new(code::CERTIFICATE_EXPIRED)
            .because(format!(
                "your operator certificate ({name}, serial {serial}…) expired at {}",
                peer.not_after().to_minute()
            ))
            .mended_by(format!(
                "on your machine: `keyward renew --operator` (within the grace period, until {}); after that ask \
                 another admin for an enrolment code: `keyward operator invite {name}`",
                until.to_minute()
            ))
    }

    /// The operator of `peer` and the end of the grace period, if the certificate has expired and can still be renewed.
    fn renewable_until(&self, peer: &PeerCertificate) -> Option<(OperatorName, Timestamp)> {
        let renewing = self.identify_renewing(peer).ok()?;
        let is_late = renewing.timeliness() == Timeliness::Late;
        let until = peer.not_after().plus_s(self.0.settings.operator_renewal_grace_s);
        is_late.then(|| (renewing.name().clone(), until))
    }

    /// Gives the operator `renewing` its next certificate, for a new key. The present one stays valid until the first use
    /// of the next one. The same key gets the same certificate again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn renew(&self, renewing: &RenewingOperator, input: RenewInput) -> Result<Enrolled, Failure> {
        let services = &*self.0;
        let mut admitted = services.limits.enrolments.admit(&peer_of(input.peer.ip()))?;
        let key = read_key(&input.request)?;
        let peer = renewing.certificate();
        retry_on_conflict!(async {
            let issue = services.state.certifying(services.settings.operator_life_s)?;
            let (time, deciding) = (issue.time, services.deciding(issue));
            let (read, preconditions) = services.state.read(|reading| {
                // The certificate may have been revoked or replaced while the body arrived.
                let grace_s = services.settings.operator_renewal_grace_s;
                let renewing = reading.renewing_operator(peer, grace_s, time)?;
                let operator = reading.acting_operator(renewing.name()).ok_or(AuthnError::Unknown)?;
                let context = deciding.timed_on(reading);
                let decision = decide_operator_renewal(&context, &renewing, key.digest(), admitted.permit());
                Ok::<_, AuthnError>((operator.clone(), decision))
            });
            let (operator, decision) = read?;
            let grant = decision.grant().map_err(|denial| Failure::new(denial.code))?;
            services.admit_operator(&operator, grant, &key, input.peer, preconditions).await
        })
    }

    /// Whether the certificate of `peer` has to be renewed now: its authority is tainted, or it is valid for so long that
    /// its holder might not learn of the next authority before this signs.
    #[must_use]
    pub fn is_to_be_replaced(&self, peer: &PeerCertificate) -> bool {
        let life_s = peer.not_after().seconds_since(peer.not_before());
        let is_long = life_s > CERTIFICATE_LIFE_MAX_S.saturating_add(BACKDATE_S);
        self.0.is_of_tainted_authority(peer) || (is_long && self.0.is_older_than_authorities(peer))
    }

    /// Records the first use of the next certificate of the operator behind `peer`: from here on it is
    /// the current one, and the one before is refused.
    ///
    /// # Errors
    /// [`Failure`]; then the request has to be refused.
    pub(crate) async fn promote(&self, peer: &PeerCertificate) -> Result<(), Failure> {
        let services = &*self.0;
        retry_on_conflict!(async {
            let (grace_s, time) =
                (services.settings.operator_renewal_grace_s, services.state.clock.reading());
            let (renewing, preconditions) =
                services.state.read(|reading| reading.renewing_operator(peer, grace_s, time));
            let renewing = renewing?;
            let Serving::Next { replaces } = renewing.serving() else { return Ok(()) };
            let (name, serial) = (renewing.name(), *peer.serial().as_bytes());
            let event = OperatorCertificatePromoted {
                operator: name,
                serial: hex(&serial),
                previous: hex(&replaces),
            };
            let effect = operators::Effect::Promote { operator: name.clone(), serial };
            let change = Change::new(&event)?.effect(Effect::Operators(effect));
            services.state.commit(change, preconditions, ()).await?.redeem();
            // Connections with the previous certificate are closed.
            services.notifications.revocations_changed();
            Ok(())
        })
    }
}

/// The refusal of an operator's certificate `peer` that has expired and cannot be renewed.
fn refused_for_good(peer: &PeerCertificate, error: AuthnError) -> Failure {
    let SpiffeId::Operator { name, .. } = peer.spiffe() else { return error.into() };
    let fix = if is_of_host(name) {
        "run `keyward break-glass operator` again, on the broker's host".to_owned()
    } else {
        format!(
            "ask another admin for an enrolment code (`keyward operator invite {name}`), then `keyward join --replace`"
        )
    };
    Failure::new(code::CERTIFICATE_EXPIRED)
        .because(format!(
            "your operator certificate ({name}) expired at {}, and the broker does not renew it any more",
            peer.not_after().to_minute()
        ))
        .mended_by(fix)
}

/// The first digits of a serial number identify a certificate among the few of one operator.
const SERIAL_DIGITS: usize = 8;
