use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The sensitivity of a secret, by the harm of a theft.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sensitivity {
    /// The default.
    #[default]
    Ordinary,
    /// Tokens for it live at most 300 seconds, and only capabilities of its own owner deliver it.
    High,
}

/// The text is not the name of a sensitivity.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a sensitivity is `ordinary` or `high`")]
pub struct SensitivityError;

impl Sensitivity {
    /// The name, as operators write it.
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
