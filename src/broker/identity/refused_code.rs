use crate::base::code::{self, Code};
use crate::base::{AgentName, CodeId, InstanceId, Network, OperatorName};
use crate::broker::failure::Failure;
use crate::broker::identity::redemption::Redemption;
use crate::broker::reading::Reading;
use crate::broker::services::{ElsewhereCredential, Services};
use crate::broker::world::records;
use crate::policy::revoked_user;
use crate::quota::Note;
use crate::registry::CodeRefused;
use crate::token::IssuanceRefused;

/// A refused enrolment code whose caller has its secret.
struct RefusedCode {
    agent: Option<AgentName>,
    operator: Option<OperatorName>,
    /// The networks of the code, if the caller is in none of them.
    networks: Vec<Network>,
    /// The revoked instance that had used the code.
    instance: Option<InstanceId>,
}

impl RefusedCode {
    /// The code of `redemption`, if the caller has its secret and the cause of the refusal is worth an entry.
    fn of(reading: &Reading<'_>, redemption: &Redemption<'_>, refusal: Code) -> Option<Self> {
        let world = reading.unconditional();
        let request = redemption.request();
        if let Some(code) = world.registry.code(request.code).filter(|code| request.has_secret_of(&code.hash))
        {
            let agent = world.registry.agent(code.agent)?;
            let networks: Vec<_> =
                code.network.into_iter().filter(|network| !network.contains(request.source)).collect();
            let is_revoked = refusal == code::ENROLMENT_CODE_REVOKED;
            let instance = is_revoked.then(|| revoked_user(records(world), agent, code)).flatten();
            let is_noted = refusal != code::ENROLMENT_CODE_INVALID || !networks.is_empty();
            let agent = Some(agent.name.clone());
            return is_noted.then_some(Self { agent, operator: None, networks, instance });
        }
        let code = world.operators.code(request.code).filter(|code| request.has_secret_of(&code.hash))?;
        let operator = world.operators.named(&code.operator)?;
        let (name, profile) = (&operator.name, &operator.profile);
        let is_elsewhere = !profile.admits(request.source);
        let is_noted = is_elsewhere || refusal == code::CLOCK_UNTRUSTED;
        is_noted.then(|| Self {
            agent: None,
            operator: Some(name.clone()),
            networks: profile.networks.clone(),
            instance: None,
        })
    }
}

/// The refusals of a code that get an entry. A code that is used up raises an alarm instead.
const NOTED: [Code; 3] =
    [code::ENROLMENT_CODE_INVALID, code::ENROLMENT_CODE_REVOKED, code::TOO_MANY_INSTANCES];

impl Services {
    /// Records why a code was refused, if the caller has its secret and is outside its networks, an instance that had
    /// used the code was revoked, or the agent has too many instances. At most one entry a minute for each code and peer.
    pub(crate) async fn record_refused_code(&self, redemption: &Redemption<'_>, refusal: Code) {
        if !NOTED.contains(&refusal) {
            return;
        }
        let refused = self.state.read(|reading| RefusedCode::of(reading, redemption, refusal)).0;
        let Some(RefusedCode { agent, operator, networks, instance }) = refused else { return };
        let (code, connection): (CodeId, _) = (redemption.input.code, redemption.input.connection);
        let credential = ElsewhereCredential::Code(code);
        let noted = self.limits.entries.elsewhere.note(&credential, Some(connection.source));
        let Note::Record { unrecorded } = noted else { return };
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        let peer = connection.source.to_canonical().to_string();
        let refusal = refusal.as_str();
        if networks.is_empty() {
            tracing::warn!(%code, %peer, refusal, "an enrolment code was refused");
        } else {
            tracing::warn!(
                %code, %peer, networks = %networks.join(", "),
                "an enrolment code was refused, because the caller is outside the networks that the code is bound to"
            );
        }
        let (agent, operator) = (agent.as_ref(), operator.as_ref());
        let event = CodeRefused { agent, operator, code, refusal, networks, peer, instance, unrecorded };
        self.record_refusal(&event, Some(connection)).await;
    }

    /// Records that a code was not redeemed because of the clock, if the caller has its secret: at most one entry a minute
    /// for each code and peer. Other results are returned unchanged.
    pub(crate) async fn noting_clock_refusal_of_code<T>(
        &self,
        redemption: &Redemption<'_>,
        enrolled: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Err(failure) = enrolled else { return enrolled };
        if failure.code != code::CLOCK_UNTRUSTED {
            return Err(failure);
        }
        let refused = self.state.read(|reading| RefusedCode::of(reading, redemption, failure.code)).0;
        let Some(RefusedCode { agent, operator, .. }) = refused else { return Err(failure) };
        let credential = ElsewhereCredential::Code(redemption.input.code);
        let connection = redemption.input.connection;
        if let Note::Record { unrecorded } =
            self.limits.entries.elsewhere.note(&credential, Some(connection.source))
        {
            let event = IssuanceRefused {
                agent: agent.as_ref(),
                operator: operator.as_ref(),
                instance: None,
                action: "enrol",
                code: failure.code.as_str(),
                unrecorded,
            };
            self.record_refusal(&event, Some(connection)).await;
        }
        Err(failure)
    }
}
