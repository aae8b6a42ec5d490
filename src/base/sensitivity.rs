use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much harm a secret does in the wrong hands: what is asked of whoever wants to read it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// What every secret is until somebody says otherwise.
    #[default]
    Ordinary,
    /// Tokens that reach it are short, and only capabilities of its own owner do.
    High,
}

/// No word for a sensitivity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a sensitivity is `ordinary` or `high`")]
pub struct SensitivityError;

impl Sensitivity {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ordinary => "ordinary",
            Self::High => "high",
        }
    }
}

impl FromStr for Sensitivity {
    type Err = SensitivityError;

    fn from_str(text: &str) -> Result<Self, SensitivityError> {
        [Self::Ordinary, Self::High].into_iter().find(|one| one.as_str() == text).ok_or(SensitivityError)
    }
}
