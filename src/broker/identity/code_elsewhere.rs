use crate::base::{AgentName, CodeId, Network, OperatorName};
use crate::broker::identity::redemption::Redemption;
use crate::broker::reading::Reading;
use crate::broker::services::{ElsewhereCredential, Services};
use crate::quota::Note;
use crate::registry::CodeElsewhere;

/// An enrolment code that is bound to networks, and whose caller is in none of them.
struct BoundCode {
    agent: Option<AgentName>,
    operator: Option<OperatorName>,
    networks: Vec<Network>,
}

impl BoundCode {
    /// The code of `redemption`, if the caller has its secret.
    fn of(reading: &Reading<'_>, redemption: &Redemption<'_>) -> Option<Self> {
        let world = reading.unconditional();
        let request = redemption.request();
        if let Some(code) = world.registry.code(request.code).filter(|code| request.has_secret_of(&code.hash))
        {
            let network = code.network.filter(|network| !network.contains(request.source))?;
            let agent = world.registry.agent(code.agent)?.name.clone();
            return Some(Self { agent: Some(agent), operator: None, networks: vec![network] });
        }
        let code = world.operators.code(request.code).filter(|code| request.has_secret_of(&code.hash))?;
        let operator = world.operators.named(&code.operator)?;
        let (name, profile) = (&operator.name, &operator.profile);
        let is_elsewhere = !profile.admits(request.source);
        is_elsewhere.then(|| Self {
            agent: None,
            operator: Some(name.clone()),
            networks: profile.networks.clone(),
        })
    }
}

impl Services {
    /// Records that a code was refused because its caller is outside its networks: the answer to the caller does not say
    /// so. At most one entry a minute for each code and peer.
    pub(crate) async fn record_code_elsewhere(&self, redemption: &Redemption<'_>) {
        let bound = self.state.read(|reading| BoundCode::of(reading, redemption)).0;
        let Some(BoundCode { agent, operator, networks }) = bound else { return };
        let (code, connection): (CodeId, _) = (redemption.input.code, redemption.input.connection);
        let credential = ElsewhereCredential::Code(code);
        let noted = self.limits.elsewhere.note(&credential, Some(connection.source));
        let Note::Record { unrecorded } = noted else { return };
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        let peer = connection.source.to_canonical().to_string();
        tracing::warn!(
            %code, %peer, networks = %networks.join(", "),
            "an enrolment code was refused, because the caller is outside the networks that the code is bound to"
        );
        let (agent, operator) = (agent.as_ref(), operator.as_ref());
        let event = CodeElsewhere { agent, operator, code, networks, peer, unrecorded };
        self.record_refusal(&event, Some(connection)).await;
    }
}
