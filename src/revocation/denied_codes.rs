use std::collections::HashMap;

use crate::base::CodeId;

/// Enrolment codes that ended alone or together with an instance, until the entries are durable, and by how many denials.
#[derive(Debug, Default)]
pub struct DeniedCodes(HashMap<CodeId, u32>);

impl DeniedCodes {
    /// Takes in that these codes ended, which no entry says yet.
    pub fn deny(&mut self, codes: &[CodeId]) {
        for code in codes {
            let denials = self.0.entry(*code).or_default();
            *denials = denials.saturating_add(1);
        }
    }

    /// The entry of one such denial has been taken in.
    pub fn recorded(&mut self, codes: &[CodeId]) {
        for code in codes {
            if let Some(denials) = self.0.get_mut(code) {
                *denials = denials.saturating_sub(1);
            }
        }
        self.0.retain(|_, denials| *denials > 0);
    }

    /// Whether the code ended by a denial that is not durable yet.
    #[must_use]
    pub fn contains(&self, code: CodeId) -> bool {
        self.0.contains_key(&code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{SystemEntropy, Timestamp};

    #[test]
    fn a_code_is_denied_until_each_denial_is_recorded() {
        let code = CodeId::mint(Timestamp::from_s(1), &SystemEntropy);
        let mut denied = DeniedCodes::default();
        denied.deny(&[code]);
        denied.deny(&[code]);
        denied.recorded(&[code]);
        assert!(denied.contains(code));
        denied.recorded(&[code]);
        assert!(!denied.contains(code));
    }
}
