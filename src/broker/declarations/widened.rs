use crate::base::{AgentName, CapabilityName, EnvironmentName, ParameterName, PolicyName, SecretName};

/// A request that becomes possible, or that is restricted less.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::broker) struct Widened {
    /// The agent; `None` for all.
    pub(in crate::broker) agent: Option<AgentName>,
    /// The capability; `None` for all.
    pub(in crate::broker) capability: Option<CapabilityName>,
    pub(in crate::broker) environment: Option<EnvironmentName>,
    pub(in crate::broker) cause: WideningCause,
}

/// Why it becomes possible.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::broker) enum WideningCause {
    /// The agent gets the capability.
    Granted,
    /// A policy that can restrict it is removed.
    PolicyRemoved(PolicyName),
    /// A policy that can restrict it changes, and the new rule is less strict, or cannot be compared.
    PolicyChanged(PolicyName),
    /// Facts that policies test change.
    FactsChanged(String),
    /// The longest life is longer.
    LongerLife,
    /// The token or the secret is another one.
    DeliveredOtherwise,
    /// A parameter ends, need not be given any more, or allows other values.
    ParameterLoosened(ParameterName),
    /// The rotation of a secret sends its values to another upstream, or in another way.
    RotationRedirected(SecretName),
    /// A new rotation or lease sends a secret of the sensitivity `high` to its upstream, to administer it.
    SecretSent(SecretName),
}

impl Widened {
    /// The kind, and the policy or the fact.
    pub(in crate::broker) fn cause_text(&self) -> (&'static str, Option<String>) {
        match &self.cause {
            WideningCause::Granted => ("granted", None),
            WideningCause::PolicyRemoved(policy) => ("policy-removed", Some(policy.to_string())),
            WideningCause::PolicyChanged(policy) => ("policy-changed", Some(policy.to_string())),
            WideningCause::FactsChanged(fact) => ("facts-changed", Some(fact.clone())),
            WideningCause::LongerLife => ("longer-life", None),
            WideningCause::DeliveredOtherwise => ("delivered-otherwise", None),
            WideningCause::ParameterLoosened(name) => ("parameter-loosened", Some(name.to_string())),
            WideningCause::RotationRedirected(secret) => ("rotation-redirected", Some(secret.to_string())),
            WideningCause::SecretSent(secret) => ("secret-sent", Some(secret.to_string())),
        }
    }

    /// One line about it.
    pub(in crate::broker) fn text(&self) -> String {
        if let WideningCause::RotationRedirected(secret) = &self.cause {
            return format!("secret `{secret}`: its rotation has another upstream");
        }
        if let WideningCause::SecretSent(secret) = &self.cause {
            return format!("secret `{secret}`: a new rotation or lease sends it to its upstream");
        }
        let agent =
            self.agent.as_ref().map_or_else(|| "all agents".to_owned(), |agent| format!("agent `{agent}`"));
        let environment =
            self.environment.as_ref().map_or_else(String::new, |environment| format!(" in `{environment}`"));
        let (cause, what) = self.cause_text();
        let what = what.map_or_else(String::new, |what| format!(" {what}"));
        let capability = self.capability.as_ref();
        let capability =
            capability.map_or_else(|| "all capabilities".to_owned(), |name| format!("capability `{name}`"));
        format!("{agent}, {capability}{environment}: {cause}{what}")
    }
}
