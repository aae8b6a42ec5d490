use std::net::{IpAddr, SocketAddr};

use crate::authn::{self, AuthnError};
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::peer_of;
use crate::broker::administration::authorise::while_vouched_for;
use crate::broker::desk::{AdminDesk, records};
use crate::broker::failure::Failure;
use crate::broker::identity::certificates::{Enrolled, Holder, Planned, read_key};
use crate::broker::identity::enrol::{EnrolInput, refusal};
use crate::broker::identity::renew::{RenewInput, same_key};
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
    Admission, AdmitOperator, EnrolmentRefused, EnrolmentRequest, Grant, OperatorRenewalRefused,
    decide_operator_enrolment, decide_operator_renewal,
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
        let permit = core.limits.enrolments.admit(&peer_of(source))?;
        let key = read_key(&input.request)?;
        deciding_again!(async {
            let reading = core.certifying(core.settings.operator_life_s)?;
            let now = reading.latest();
            let request = EnrolmentRequest {
                code: input.code,
                secret: input.secret.expose(),
                key: key.digest(),
                source,
            };
            let (found, as_of) = core.state.store.read(|world, as_of| {
                let basis = (core.state.decision(reading.now()), &core.state.digests);
                let decided = decide_operator_enrolment(records(world), &request, &permit, basis, now);
                let found = decided.and_then(|grant| {
                    let operator = world.operators.named(grant.act().name());
                    operator.cloned().map(|operator| (operator, grant)).ok_or(EnrolmentRefused::BadCode)
                });
                (found, as_of)
            });
            match found {
                Ok((operator, grant)) => {
                    core.admit_operator(&operator, grant, (&key, as_of), input.peer).await
                }
                Err(refused) => {
                    if refused == EnrolmentRefused::Reused {
                        core.raise_alarm(core.operator_code_alarm(&input, &key)).await;
                    }
                    Err(Again::Stop(refusal(refused)))
                }
            }
        })
    }

    /// Gives the operator behind `peer` its next certificate, for a new key. The one it has goes on to
    /// count until the next one is used. The same key gets the same certificate again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn renew(&self, peer: &PeerCertificate, input: RenewInput) -> Result<Enrolled, Failure> {
        let core = &*self.0;
        let permit = core.limits.enrolments.admit(&peer_of(input.peer.ip()))?;
        let key = read_key(&input.request)?;
        deciding_again!(async {
            let reading = core.certifying(core.settings.operator_life_s)?;
            let now = reading.latest();
            let (operator, grant, as_of) = core.state.store.read(|world, as_of| {
                let principal = authn::operator(peer, records(world), as_of, reading)?;
                let basis = (core.state.decision(reading.now()), &core.state.digests);
                let records = (&world.operators, &**world.registry.declarations());
                let renewed =
                    decide_operator_renewal(records, (&principal, key.digest()), &permit, basis, now);
                let grant = renewed.map_err(|refused| Again::Stop(not_renewed(refused)))?;
                let operator = world.operators.named(principal.name()).ok_or(AuthnError::Unknown)?;
                Ok::<_, Again>((operator.clone(), grant, as_of))
            })?;
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

fn not_renewed(refused: OperatorRenewalRefused) -> Failure {
    match refused {
        OperatorRenewalRefused::Gone => AuthnError::Unknown.into(),
        OperatorRenewalRefused::SameKey => same_key(),
        OperatorRenewalRefused::OfHost => Failure::new(code::OPERATOR_IS_BREAK_GLASS),
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
        let change = while_vouched_for(change, grant.act().maker(), as_of);
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
            Alarm::OperatorCodeReused,
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
