use crate::authn::{AuthnError, OperatorPrincipal, RenewingOperator, Timeliness};
use crate::base::encoding::hex;
use crate::base::{ClockReading, ClockTrust, Connection, code, peer_of};
use crate::broker::caller_services::AdminServices;
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{Enrolled, read_key};
use crate::broker::identity::renew::RenewInput;
use crate::broker::retry::retry_on_conflict;
use crate::broker::world::Effect;
use crate::operators::{self, CONTAIN_ON_HOST, OperatorCertificatePromoted, Serving, is_of_host};
use crate::pki::{PeerCertificate, SpiffeId};
use crate::policy::decide_operator_renewal;
use crate::quota::Note;
use crate::store::Change;
use crate::token::IssuanceRefused;

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
        let mut renewing = self.renewing_or_refused(peer).await?;
        if renewing.serving() != Serving::Current {
            self.promote(peer).await?;
            renewing = self.renewing_or_refused(peer).await?;
        }
        let _permit = self.0.limits.operator_requests.admit(&renewing.id())?;
        Ok(renewing)
    }

    async fn renewing_or_refused(&self, peer: &PeerCertificate) -> Result<RenewingOperator, Failure> {
        match self.identify_renewing(peer) {
            Ok(renewing) => Ok(renewing),
            Err(AuthnError::Elsewhere) => Err(self.0.refuse_elsewhere(peer).await),
            Err(error) => {
                self.0.note_refused_request(peer, error);
                Err(error.into())
            }
        }
    }

    /// The operator behind the certificate of a connection. A refusal names the cause, and a use from outside the
    /// operator's networks raises an alarm, also of a certificate in its grace period.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn identified_or_refused(
        &self,
        peer: &PeerCertificate,
    ) -> Result<OperatorPrincipal, Failure> {
        match self.identify(peer) {
            Ok(principal) => Ok(principal),
            Err(AuthnError::Elsewhere) => Err(self.0.refuse_elsewhere(peer).await),
            Err(AuthnError::OutOfTime) => Err(self.refuse_out_of_time(peer).await),
            Err(error) => {
                self.0.note_refused_request(peer, error);
                Err(error.into())
            }
        }
    }

    /// The refusal of a certificate that has expired, or is not valid yet: an expired one can be renewed within its grace
    /// period.
    async fn refuse_out_of_time(&self, peer: &PeerCertificate) -> Failure {
        match self.identify_renewing(peer) {
            Err(AuthnError::Elsewhere) => self.0.refuse_elsewhere(peer).await,
            Ok(_) | Err(_) if self.0.state.clock.reading().trust() != ClockTrust::Agreed => {
                by_one_clock(peer, self.0.state.clock.reading())
            }
            Ok(renewing) if renewing.timeliness() == Timeliness::Late => expired_in_grace(&renewing),
            Ok(_) | Err(_) if peer.not_after() <= self.0.state.clock.now() => refused_for_good(peer),
            Ok(_) | Err(_) => AuthnError::OutOfTime.into(),
        }
    }

    /// Gives the operator `renewing` its next certificate, for a new key. The present one stays valid until the first use
    /// of the next one. The same key gets the same certificate again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn renew(&self, renewing: &RenewingOperator, input: RenewInput) -> Result<Enrolled, Failure> {
        let services = &*self.0;
        let mut admitted = services.limits.enrolments.admit(&peer_of(input.connection.source))?;
        let key = read_key(&input.request)?;
        let peer = renewing.certificate();
        let renewed = retry_on_conflict!(async {
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
            services.admit_operator(&operator, grant, &key, input.connection, preconditions).await
        });
        self.noting_clock_refusal(renewing, input.connection, renewed).await
    }

    /// Records that the certificate was not renewed because of the clock, unless the operator has had its share of entries.
    /// Other results are returned unchanged.
    async fn noting_clock_refusal(
        &self,
        renewing: &RenewingOperator,
        connection: Connection,
        renewed: Result<Enrolled, Failure>,
    ) -> Result<Enrolled, Failure> {
        let Err(failure) = renewed else { return renewed };
        if failure.code == code::CLOCK_UNTRUSTED
            && let Note::Record { unrecorded } = self.0.limits.entries.operators.note(&renewing.id())
        {
            let (operator, code) = (Some(renewing.name()), failure.code.as_str());
            let event =
                IssuanceRefused { agent: None, operator, instance: None, action: "renew", code, unrecorded };
            self.0.record_refusal(&event, Some(connection)).await;
        }
        Err(failure)
    }

    /// Whether the certificate of `peer` has to be renewed now: its authority is tainted, or its holder might not know an
    /// authority that was published later.
    #[must_use]
    pub fn is_to_be_replaced(&self, peer: &PeerCertificate) -> bool {
        self.0.is_of_tainted_authority(peer) || self.0.is_older_than_authorities(peer)
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
            let change =
                Change::new(&event)?.requested_on(peer.connection()).effect(Effect::Operators(effect));
            services.state.commit(change, preconditions, ()).await?.redeem();
            // Connections with the previous certificate are closed.
            services.notifications.revocations_changed();
            Ok(())
        })
    }
}

/// The refusal of a certificate while the clocks of the broker's host disagree: a renewal can fail too.
fn by_one_clock(peer: &PeerCertificate, reading: ClockReading) -> Failure {
    Failure::new(code::CERTIFICATE_EXPIRED)
        .because(format!(
            "the system clock of the broker's host is at {}, and its boot clock leads to {}; your certificate, which \
             is valid from {} until {}, is not valid at both times",
            reading.wall().to_minute(),
            reading.now().to_minute(),
            peer.not_before().to_minute(),
            peer.not_after().to_minute()
        ))
        .mended_by(format!(
            "correct the system clock of the broker's host, or, if it is right, run `keyward clock accept` there; \
             {CONTAIN_ON_HOST}; renew the certificate after that if it has expired: `keyward renew --operator`"
        ))
}

/// The refusal of an expired certificate that can be renewed.
fn expired_in_grace(renewing: &RenewingOperator) -> Failure {
    let (name, peer) = (renewing.name(), renewing.certificate());
    let serial: String = peer.serial().to_string().chars().take(SERIAL_DIGITS).collect();
    Failure::new(code::CERTIFICATE_EXPIRED)
        .because(format!(
            "your operator certificate ({name}, serial {serial}…) expired at {}",
            peer.not_after().to_minute()
        ))
        .mended_by(format!(
            "on your machine: `keyward renew --operator` (within the grace period, until {}); after that ask another \
             admin for an enrolment code: `keyward operator invite {name}`",
            renewing.renewable_until().to_minute()
        ))
}

/// The refusal of an operator's certificate `peer` that has expired and cannot be renewed.
fn refused_for_good(peer: &PeerCertificate) -> Failure {
    let SpiffeId::Operator { name, .. } = peer.spiffe() else { return AuthnError::OutOfTime.into() };
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
