use std::net::{IpAddr, SocketAddr};

use crate::authn::{AuthnError, operator_again};
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::peer_of;
use crate::broker::administration::authorise::while_made_by;
use crate::broker::desk::{AdminDesk, records};
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{Enrolled, Holder, Planned, read_key};
use crate::broker::identity::enrol::EnrolInput;
use crate::broker::identity::renew::RenewInput;
use crate::broker::retry::{Again, deciding_again};
use crate::broker::services::Core;
use crate::broker::world::Effect;
use crate::issuance::Certify;
use crate::operators::{
    self, Operator, OperatorCertificate, OperatorCertificatePromoted, OperatorCodeReused, OperatorEnrolled,
    OperatorRenewed, Serving, keys,
};
use crate::pki::{self, CertificatePlan, PeerCertificate, PublicKey};
use crate::policy::{
    Admission, AdmitOperator, Authorised, BeOneself, EnrolmentRequest, Grant, decide_operator_enrolment,
    decide_operator_renewal,
};
use crate::revocation::{self, Subject};
use crate::store::{Change, CommitError};
use crate::telemetry::Alarm;

impl AdminDesk {
    /// Redeems an operator's enrolment code for a certificate, as [`super::AgentDesk::enrol`] does an
    /// agent's: the same key gets the same certificate, any other key is refused and is an alarm.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn enrol(&self, input: EnrolInput) -> Result<Enrolled, Failure> {
        let core = &*self.0;
        let source: IpAddr = input.peer.ip();
        let mut admitted = core.limits.enrolments.admit(&peer_of(source))?;
        let key = read_key(&input.request)?;
        deciding_again!(async {
            let reading = core.certifying(core.settings.operator_life_s)?;
            let request = EnrolmentRequest {
                code: input.code,
                secret: input.secret.expose(),
                key: key.digest(),
                source,
            };
            let (decision, operator, as_of) = core.state.store.read(|world, as_of| {
                let context = core.deciding(world, reading);
                let decision = decide_operator_enrolment(&context, &request, admitted.permit());
                let code = world.operators.code(input.code);
                let operator = code.and_then(|code| world.operators.named(&code.operator));
                (decision, operator.cloned(), as_of)
            });
            match (decision.grant(), operator) {
                (Ok(grant), Some(operator)) => {
                    core.admit_operator(&operator, grant, (&key, as_of), input.peer).await
                }
                (Ok(_), None) => Err(Again::Stop(Failure::new(code::ENROLMENT_CODE_INVALID))),
                (Err(denial), _) => {
                    if denial.code == code::ENROLMENT_CODE_USED {
                        core.raise_alarm(core.operator_code_alarm(&input, &key)).await;
                    }
                    Err(Again::Stop(Failure::new(denial.code)))
                }
            }
        })
    }

    /// Gives the operator `by` its next certificate, for a new key. The one it has goes on to
    /// count until the next one is used. The same key gets the same certificate again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn renew(&self, by: &Authorised<BeOneself>, input: RenewInput) -> Result<Enrolled, Failure> {
        let core = &*self.0;
        let mut admitted = core.limits.enrolments.admit(&peer_of(input.peer.ip()))?;
        let key = read_key(&input.request)?;
        deciding_again!(async {
            let reading = core.certifying(core.settings.operator_life_s)?;
            let (operator, decision, as_of) = core.state.store.read(|world, as_of| {
                let principal = operator_again(by.operator(), records(world), as_of)?;
                let context = core.deciding(world, reading);
                let decision = decide_operator_renewal(&context, &principal, key.digest(), admitted.permit());
                let operator = world.operators.named(principal.name()).ok_or(AuthnError::Unknown)?;
                Ok::<_, AuthnError>((operator.clone(), decision, as_of))
            })?;
            let grant = decision.grant().map_err(|denial| Failure::new(denial.code))?;
            core.admit_operator(&operator, grant, (&key, as_of), input.peer).await
        })
    }

    /// Whether the certificate of `peer` is to be replaced now: its authority is tainted.
    #[must_use]
    pub fn is_to_be_replaced(&self, peer: &PeerCertificate) -> bool {
        self.0.is_of_tainted_authority(peer)
    }

    /// Records the first use of the next certificate of the operator behind `peer`: from here on it is
    /// the current one, and the one before is refused.
    ///
    /// # Errors
    /// [`Failure`]; nothing is to be done for this certificate then.
    pub(in crate::broker) async fn promote(&self, peer: &PeerCertificate) -> Result<(), Failure> {
        let core = &*self.0;
        deciding_again!(async {
            let principal = self.identify(peer)?;
            let Serving::Next { replaces } = principal.serving() else { return Ok(()) };
            let name = principal.name();
            let event = OperatorCertificatePromoted {
                operator: name,
                serial: hex(principal.serial()),
                previous: hex(&replaces),
            };
            let effect = operators::Effect::Promote { operator: name.clone(), serial: *principal.serial() };
            let change = Change::new(&event)?
                .effect(Effect::Operators(effect))
                .rely(pki::keys::authority(), principal.as_of())
                .rely(revocation::keys::wide(), principal.as_of())
                .rely(keys::operator(name), principal.as_of())
                .rely(revocation::keys::subject(&Subject::Operator(principal.id())), principal.as_of())
                .rely(keys::certificates(name), principal.as_of());
            core.state.store.commit(change, ()).await?.redeem();
            // Connections under the certificate before it are cut.
            core.notifications.standing_changed();
            Ok(())
        })
    }
}

impl Core {
    /// The certificate that `grant` allows: the one that was planned for this key before, or a new one.
    async fn admit_operator(
        &self,
        operator: &Operator,
        grant: Grant<AdmitOperator>,
        (key, as_of): (&PublicKey, u64),
        peer: SocketAddr,
    ) -> Result<Enrolled, Again> {
        let planned = grant.act().repeats().and_then(|serial| operator.certificate(&serial));
        if let Some(planned) = planned {
            let holder = Holder::operator(operator, planned.serial);
            return self.certificate_again(Planned::operator(holder, planned), grant, key, as_of).await;
        }
        let spiffe = self.operator_spiffe(&operator.name);
        let plan = self.plan_certificate(
            spiffe,
            self.settings.operator_life_s,
            key,
            self.state.clock.reading().earliest(),
        );
        let change = admitted(&operator.name, grant.act().by(), (&plan, as_of), peer)?
            .rely(pki::keys::authority(), as_of)
            .rely(revocation::keys::wide(), as_of)
            .rely(keys::operator(&operator.name), as_of)
            .rely(revocation::keys::subject(&Subject::Operator(operator.id)), as_of)
            .rely(keys::certificates(&operator.name), as_of);
        let change = while_made_by(change, grant.act().maker(), as_of);
        let holder = Holder::operator(operator, *plan.serial.as_bytes());
        let receipt = self.state.store.commit(change, Certify { grant, plan, key: key.clone() }).await?;
        self.sign_and_record(&holder, receipt).await
    }

    /// One alarm per code: whoever holds a used code must not be able to fill the disk with it.
    fn operator_code_alarm(
        &self,
        input: &EnrolInput,
        key: &PublicKey,
    ) -> Result<Option<Change<Effect>>, CommitError> {
        let found = self.state.store.read(|world, as_of| {
            let code = world.operators.code(input.code).filter(|code| !code.reported)?;
            let (first, _) = code.redeemed?;
            Some((code.operator.clone(), first, as_of))
        });
        let Some((operator, first, as_of)) = found else { return Ok(None) };
        self.notifications.meters.alarms().raise(
            Alarm::OperatorEnrolmentCodeReused,
            format_args!(
                "operator {operator}: enrolment code {} was presented again with another key, from {}; check who has the code",
                input.code,
                input.peer.ip()
            ),
        );
        let event = OperatorCodeReused {
            operator: &operator,
            code: input.code,
            first_serial: hex(&first),
            other_key: key.digest().hex(),
            peer: input.peer.ip().to_string(),
        };
        let alarm = keys::code_alarm(input.code);
        let report = operators::Effect::ReportCode(input.code);
        let change = Change::new(&event)?.effect(Effect::Operators(report));
        Ok(Some(change.rely(alarm, as_of)))
    }
}

/// What the ledger says of a certificate that is about to be signed, and does.
fn admitted(
    operator: &crate::base::OperatorName,
    by: Admission,
    (plan, as_of): (&CertificatePlan, u64),
    peer: SocketAddr,
) -> Result<Change<Effect>, CommitError> {
    let certificate =
        OperatorCertificate { serial: *plan.serial.as_bytes(), key: plan.key, not_after: plan.not_after };
    let (name, not_before) = (operator.clone(), plan.not_before);
    let (serial, key, not_after) = (plan.serial.to_string(), plan.key.hex(), plan.not_after.to_string());
    let peer = peer.ip().to_string();
    match by {
        Admission::Code(code) => {
            let event = OperatorEnrolled { operator, code, serial, key, not_after, peer };
            let effect = operators::Effect::Enrol { code, operator: name, certificate, not_before };
            let change = Change::new(&event)?.effect(Effect::Operators(effect));
            Ok(change.rely(keys::code(code), as_of))
        }
        Admission::Certificate(replaces) => {
            let previous = hex(&replaces);
            let event = OperatorRenewed { operator, serial, key, not_after, previous, peer };
            let effect = operators::Effect::Renew { operator: name, replaces, certificate, not_before };
            Ok(Change::new(&event)?.effect(Effect::Operators(effect)))
        }
    }
}
