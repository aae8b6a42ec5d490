use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::enrolment_code::AgentCode;
use crate::base::{CodeId, Timestamp};

/// Codes are forgotten this long after they ended: long enough to recognise a late second use.
const CODE_MEMORY_S: i64 = 24 * 3600;

/// The enrolment codes of agents that are not forgotten.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct AgentCodes {
    codes: HashMap<CodeId, AgentCode>,
    /// The ends of the codes, the earliest first; those of codes that are gone may linger.
    ends: BTreeSet<(Timestamp, CodeId)>,
}

impl AgentCodes {
    pub(super) fn get(&self, id: CodeId) -> Option<&AgentCode> {
        self.codes.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: CodeId) -> Option<&mut AgentCode> {
        self.codes.get_mut(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &AgentCode> {
        self.codes.values()
    }

    /// Adds a code, and forgets those that ended long before `now`.
    pub(super) fn issue(&mut self, now: Timestamp, code: AgentCode) {
        self.forget(now);
        self.ends.insert((code.expires_at, code.id));
        self.codes.insert(code.id, code);
    }

    /// Ends a code that can still be redeemed.
    pub(super) fn end(&mut self, now: Timestamp, id: CodeId) {
        let Some(code) = self.codes.get_mut(&id).filter(|code| code.expires_at > now) else { return };
        self.ends.remove(&(code.expires_at, id));
        code.expires_at = now;
        code.forget_digest();
        self.ends.insert((now, id));
    }

    /// Ends all codes: a wrong clock may have set their ends.
    pub(super) fn time_went_back(&mut self, now: Timestamp) {
        for code in self.codes.values_mut() {
            code.expires_at = code.expires_at.min(now);
        }
        self.ends = self.codes.values().map(|code| (code.expires_at, code.id)).collect();
    }

    fn forget(&mut self, now: Timestamp) {
        while let Some(&(expires_at, id)) = self.ends.first() {
            if expires_at.plus_s(CODE_MEMORY_S) > now {
                break;
            }
            self.ends.pop_first();
            self.codes.remove(&id);
        }
        for (_, expired) in self.ends.iter().take_while(|(expires_at, _)| *expires_at <= now) {
            if let Some(code) = self.codes.get_mut(expired) {
                code.forget_digest();
            }
        }
    }
}
