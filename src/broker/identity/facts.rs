use crate::authn::{
    self, AgentPrincipal, AuthnError, Credential, OperatorPrincipal, RenewingAgent, RenewingOperator,
    enrolled_operator, live, operator_again,
};
use crate::base::code;
use crate::base::{AgentId, ClockReading, CodeId, InstanceId, OperatorName, Timestamp};
use crate::broker::failure::Failure;
use crate::broker::reading::Reading;
use crate::broker::world::{World, records};
use crate::crypto::Digest;
use crate::custody::PendingOrder;
use crate::keyring::KeyStage;
use crate::operators::{self, ApprovalKeys, Certificate, Operator, is_of_host};
use crate::pki::PeerCertificate;
use crate::registry::{self, Agent, Instance};
use crate::revocation::Subject;

/// Holders of credentials.
impl<'w> Reading<'w> {
    /// The agent with this id, and its number of instances.
    pub(crate) fn acting_agent(&self, id: AgentId) -> Option<&'w Agent> {
        self.under(registry::keys::agent(id));
        self.under(registry::keys::instances(id));
        self.subject(&Subject::Agent(id)).registry.agent(id)
    }

    pub(crate) fn acting_instance(&self, agent: &'w Agent, id: InstanceId) -> Option<&'w Instance> {
        self.under(registry::keys::certificate(id));
        self.subject(&Subject::Instance(id));
        agent.instances.get(id)
    }

    /// Notes which agents have certificates for the public key with this digest.
    pub(crate) fn public_key(&self, digest: &Digest) {
        self.under(registry::keys::public_key(digest));
    }

    /// The agent that an enrolment code is for.
    pub(crate) fn agent_of_code(&self, id: CodeId) -> Option<&'w Agent> {
        self.maker_of_code(id);
        self.acting_agent(self.under(registry::keys::code(id)).registry.code(id)?.agent)
    }

    /// The operator that an enrolment code is for.
    pub(crate) fn operator_of_code(&self, id: CodeId) -> Option<&'w Operator> {
        self.maker_of_code(id);
        self.acting_operator(&self.under(operators::keys::code(id)).operators.code(id)?.operator)
    }

    /// A code is valid only while its maker could make it.
    fn maker_of_code(&self, id: CodeId) {
        let operators = &self.unconditional().operators;
        if let Some(maker) = operators.maker_of(id).and_then(|made| operators.with(made.by)) {
            self.under(operators::keys::operator(&maker.name));
            self.subject(&Subject::Operator(maker.id));
        }
    }

    /// An agent's code without an alarm about a second use.
    pub(crate) fn unreported_code(&self, id: CodeId) -> Option<&'w registry::AgentCode> {
        let code = self.under(registry::keys::code_alarm(id)).registry.code(id)?;
        (!code.is_reported()).then_some(code)
    }

    /// An operator's code without an alarm about a second use.
    pub(crate) fn unreported_operator_code(&self, id: CodeId) -> Option<&'w operators::OperatorCode> {
        let code = self.under(operators::keys::code_alarm(id)).operators.code(id)?;
        (!code.reported).then_some(code)
    }

    /// The operator of this name with its certificates.
    pub(crate) fn acting_operator(&self, name: &OperatorName) -> Option<&'w Operator> {
        self.under(operators::keys::certificates(name));
        let operator = self.operator(name)?;
        self.subject(&Subject::Operator(operator.id));
        Some(operator)
    }

    /// The agent behind `peer`.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn agent_behind(
        &self,
        peer: &PeerCertificate,
        time: ClockReading,
    ) -> Result<AgentPrincipal, AuthnError> {
        let principal = authn::agent(peer, self.records(), self.as_of(), time)?;
        self.holds(principal.agent(), principal.instance(), principal.roles(), []);
        Ok(principal)
    }

    /// The agent or resource server that renews with `peer`, up to `grace_s` after the certificate's end.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn renewing(
        &self,
        peer: &PeerCertificate,
        grace_s: i64,
        time: ClockReading,
    ) -> Result<RenewingAgent, AuthnError> {
        authn::renewing(peer, self.records(), self.as_of(), grace_s, time)
    }

    /// The operator that renews with `peer`, up to `grace_s` after the certificate's end.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn renewing_operator(
        &self,
        peer: &PeerCertificate,
        grace_s: i64,
        time: ClockReading,
    ) -> Result<RenewingOperator, AuthnError> {
        let renewing = authn::renewing_operator(peer, self.records(), self.as_of(), grace_s, time)?;
        self.acting_operator(renewing.name());
        Ok(renewing)
    }
}

/// Operators.
impl<'w> Reading<'w> {
    pub(crate) fn operator(&self, name: &OperatorName) -> Option<&'w Operator> {
        self.under(operators::keys::operator(name)).operators.named(name)
    }

    /// The approval keys of `operator`.
    pub(crate) fn approval_keys(&self, operator: &'w Operator) -> &'w ApprovalKeys {
        self.under(operators::keys::approval_keys(&operator.name));
        &operator.approval_keys
    }

    /// The present records of the operator `principal`.
    ///
    /// # Errors
    /// [`AuthnError`].
    pub(crate) fn operator_again(
        &self,
        principal: &OperatorPrincipal,
    ) -> Result<OperatorPrincipal, AuthnError> {
        self.acting_operator(principal.name());
        self.subject(&Subject::Operator(principal.id()));
        operator_again(principal, self.records(), self.as_of())
    }

    /// Checks that the operator of `order` still has the id, role and scope of then, and a valid certificate of the same
    /// enrolment. A renewal of its certificate changes none of these.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn still_ordered(&self, order: &PendingOrder) -> Result<(), Failure> {
        let Some(ordering) = &order.operator else { return Ok(()) };
        let name: OperatorName = order.by.parse().map_err(|_| Failure::new(code::CERTIFICATE_UNKNOWN))?;
        self.acting_operator(&name);
        self.subject(&Subject::Operator(ordering.id));
        let now = enrolled_operator(ordering.id, &name, ordering.enrolled_seq, self.records())?;
        if now.role.as_str() != ordering.role {
            return Err(Failure::new(code::OPERATOR_ROLE_INSUFFICIENT));
        }
        if now.scope != ordering.scope {
            return Err(Failure::new(code::OPERATOR_SCOPE_INSUFFICIENT));
        }
        Ok(())
    }

    /// Checks that an unrestricted admin that can act remains without `leaving`: otherwise only the host could help. An
    /// admin can act if it [has a certificate](acting) for that; the operator of break-glass access, which ends within an
    /// hour, neither counts nor has to stay. `grace_s` is the grace period of operators.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn another_admin_than(&self, leaving: &Operator, grace_s: i64) -> Result<(), Failure> {
        let world = self.under(operators::keys::admins());
        let mut others = acting_admins(world, grace_s, self.now()).filter(|(one, _)| one.id != leaving.id);
        if !is_lasting_admin(leaving) || others.next().is_some() {
            return Ok(());
        }
        Err(Failure::new(code::LAST_ADMIN))
    }
}

impl Reading<'_> {
    /// The same without the certificate of `holder` with this serial, and those of the same enrolment.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn another_admin_certificate_than(
        &self,
        holder: &Operator,
        serial: &[u8; 16],
        grace_s: i64,
    ) -> Result<(), Failure> {
        let world = self.under(operators::keys::admins());
        let enrolment = holder.certificate(serial).map(|one| one.enrolled_seq);
        let mut own = acting(holder, world, grace_s, self.now());
        if own.any(|one| Some(one.enrolled_seq) != enrolment) {
            return Ok(());
        }
        self.another_admin_than(holder, grace_s)
    }
}

/// Whether the operator is an unrestricted admin, and not the one of break-glass access.
fn is_lasting_admin(operator: &Operator) -> bool {
    operator.is_full_admin() && !is_of_host(&operator.name)
}

/// The unrestricted admins that can act at `now`, each with every certificate for that. `grace_s` is the grace period of
/// operators.
pub(crate) fn acting_admins(
    world: &World,
    grace_s: i64,
    now: Timestamp,
) -> impl Iterator<Item = (&Operator, &Certificate)> {
    let admins = world.operators.all().filter(|one| is_lasting_admin(one));
    admins.flat_map(move |one| acting(one, world, grace_s, now).map(move |certificate| (one, certificate)))
}

/// The valid certificates of `operator` at `now`.
pub(crate) fn counting<'o>(
    operator: &'o Operator,
    world: &'o World,
    now: Timestamp,
) -> impl Iterator<Item = &'o Certificate> {
    live_certificates(operator, world).filter(move |one| now < one.not_after)
}

/// The certificates of `operator` that are valid at `now` or can be renewed, if the grace period is `grace_s` seconds. A
/// certificate of a tainted authority has no grace period.
pub(crate) fn renewable<'o>(
    operator: &'o Operator,
    world: &'o World,
    grace_s: i64,
    now: Timestamp,
) -> impl Iterator<Item = &'o Certificate> {
    let is_tainted = move |one: &Certificate| {
        let generation = one.signed.and_then(|signed| signed.authority);
        let mut all = world.keys.authority.generations().all();
        all.any(|(known, standing)| Some(known) == generation && standing.stage == KeyStage::Tainted)
    };
    live_certificates(operator, world).filter(move |one| {
        let grace_s = if is_tainted(one) { 0 } else { grace_s };
        now < operator.renewable_until(one, grace_s)
    })
}

/// The certificates with which `operator` can act at `now`: their time has begun, and they are valid or can be renewed. A
/// certificate from a time when the clock was wrong may begin in the future.
fn acting<'o>(
    operator: &'o Operator,
    world: &'o World,
    grace_s: i64,
    now: Timestamp,
) -> impl Iterator<Item = &'o Certificate> {
    renewable(operator, world, grace_s, now).filter(move |one| one.not_before <= now)
}

/// The certificates of `operator` that are neither revoked nor suspended; they may have expired.
fn live_certificates<'o>(operator: &'o Operator, world: &'o World) -> impl Iterator<Item = &'o Certificate> {
    let is_live = move |certificate: &&Certificate| {
        live(Credential::OperatorCertificate { operator, certificate, from: None }, records(world)).is_ok()
    };
    operator.certificates.iter().filter(is_live)
}
