//! When agents and resource servers were connected last. In memory only.

use std::collections::HashMap;

use crate::base::limits::AGENTS_SEEN_MAX;
use crate::base::{AgentName, Timestamp};

/// The connections of each agent and resource server since the start.
#[derive(Debug, Default)]
pub(super) struct LastSeen(HashMap<AgentName, Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The number of open connections.
    open: usize,
    ended_at: Option<Timestamp>,
}

impl LastSeen {
    pub(super) fn opened(&mut self, agent: &AgentName) {
        if let Some(seen) = self.0.get_mut(agent) {
            seen.open = seen.open.saturating_add(1);
            return;
        }
        if self.0.len() >= AGENTS_SEEN_MAX {
            self.0.retain(|_, seen| seen.open > 0);
        }
        self.0.insert(agent.clone(), Seen { open: 1, ended_at: None });
    }

    pub(super) fn ended(&mut self, agent: &AgentName, at: Timestamp) {
        if let Some(seen) = self.0.get_mut(agent) {
            *seen = Seen { open: seen.open.saturating_sub(1), ended_at: Some(at) };
        }
    }

    /// Forgets a deleted agent; its open connections are about to be closed.
    pub(super) fn forget(&mut self, agent: &AgentName) {
        self.0.remove(agent);
    }

    /// The last time at which the agent was connected, seen from `now`.
    pub(super) fn at(&self, agent: &AgentName, now: Timestamp) -> Option<Timestamp> {
        let seen = self.0.get(agent)?;
        if seen.open > 0 { Some(now) } else { seen.ended_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(number: usize) -> AgentName {
        format!("bot-{number}").parse().unwrap()
    }

    #[test]
    fn an_agent_is_seen_while_connected_and_then_at_its_end() {
        let (mut seen, now) = (LastSeen::default(), Timestamp::from_s(1_800_000_000));
        assert_eq!(seen.at(&named(1), now), None);
        seen.opened(&named(1));
        seen.opened(&named(1));
        seen.ended(&named(1), now);
        assert_eq!(seen.at(&named(1), now.plus_s(60)), Some(now.plus_s(60)), "one connection is open");
        seen.ended(&named(1), now.plus_s(60));
        assert_eq!(seen.at(&named(1), now.plus_s(90)), Some(now.plus_s(60)));
    }

    #[test]
    fn a_deleted_agent_is_forgotten_also_when_its_connection_ends_later() {
        let (mut seen, now) = (LastSeen::default(), Timestamp::from_s(1_800_000_000));
        seen.opened(&named(1));
        seen.opened(&named(2));
        seen.forget(&named(1));
        seen.ended(&named(1), now);
        assert!(seen.at(&named(1), now).is_none() && !seen.0.contains_key(&named(1)));
        assert_eq!(seen.at(&named(2), now), Some(now), "another one");
    }

    #[test]
    fn so_many_agents_are_remembered() {
        let (mut seen, now) = (LastSeen::default(), Timestamp::from_s(1_800_000_000));
        seen.opened(&named(0));
        for number in 1..AGENTS_SEEN_MAX {
            seen.opened(&named(number));
            seen.ended(&named(number), now);
        }
        assert_eq!(seen.at(&named(1), now), Some(now));
        seen.opened(&named(AGENTS_SEEN_MAX));
        assert_eq!(seen.at(&named(1), now), None, "one more forgets those that are not connected");
        assert_eq!(seen.at(&named(0), now), Some(now));
    }
}
