//! Every stable error code with its meaning, its fix and its sort. Responses, the command line and the reference use
//! this list.
//!
//! A code never changes its meaning, and is never removed.

mod approval;
mod caller;
mod input;
mod machine;
mod record;
mod upstream;

use std::fmt;
use std::str::FromStr;

pub use approval::*;
pub use caller::*;
pub use input::*;
pub use machine::*;
pub use record::*;
pub use upstream::*;

/// A stable error code.
#[derive(Clone, Copy)]
pub struct Code(&'static CodeEntry);

struct CodeEntry {
    name: &'static str,
    sort: CodeClass,
    meaning: &'static str,
    fix: &'static str,
}

/// The sort of a code. `http` maps it to a status, `cli` to an exit code.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CodeClass {
    /// The caller is not authenticated, or its token is invalid.
    Unauthenticated,
    /// The caller is authenticated and not authorised.
    Denied,
    /// No capability of the OAuth `scope` is granted to the caller.
    NotGranted,
    /// The OAuth `scope` is wrong.
    InvalidScope,
    /// The OAuth `resource` does not fit.
    InvalidTarget,
    /// The input is wrong.
    Invalid,
    /// The broker does not support the OAuth grant.
    UnsupportedGrant,
    /// The broker does not support the OAuth response type.
    UnsupportedResponse,
    /// The OAuth `authorization_details` are wrong.
    InvalidDetails,
    /// The object does not exist, or the caller may not know that it exists.
    NotFound,
    /// The request contradicts the present state.
    Conflict,
    /// Too many requests.
    Limited,
    /// As many objects exist as may: the same request fails until one of them ends.
    Full,
    /// The broker cannot carry out requests now, or cannot be reached.
    Unavailable,
    /// A bug or fault of the broker.
    Internal,
    /// The broker cannot start.
    NotStarted,
    /// The command line is wrong.
    Usage,
    /// A problem of the machine on which the command runs.
    Local,
    /// A verification failed.
    Unverified,
    /// Only a part of the request was carried out.
    Partial,
}

/// This version has no code of this name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this version has no error code of this name")]
pub struct UnknownCode;

impl Code {
    /// The name, in responses, on the ledger and in the reference.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// The sort.
    #[must_use]
    pub const fn sort(self) -> CodeClass {
        self.0.sort
    }

    /// The problem, in the present tense.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.0.meaning
    }

    /// The step that solves the problem, for the person who receives the code.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        self.0.fix
    }

    /// Whether the unchanged request may succeed later.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self.0.sort, CodeClass::Limited | CodeClass::Unavailable)
    }

    /// The codes that the broker returns over HTTP.
    pub fn answered() -> impl Iterator<Item = Self> {
        [upstream::ALL, caller::ALL, input::ALL, record::ALL, approval::ALL].into_iter().flatten().copied()
    }

    /// Every code.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::answered().chain(machine::ALL.iter().copied())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        Self::all().find(|code| code.as_str() == text).ok_or(UnknownCode)
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// `NAME "name" CodeClass: "meaning", "fix";` each; the meaning is also the constant's documentation.
macro_rules! codes {
    ($($constant:ident $name:literal $sort:ident: $meaning:literal, $fix:literal;)*) => {
        use super::{Code, CodeEntry, CodeClass};

        $(
            #[doc = $meaning]
            pub const $constant: Code =
                Code(&CodeEntry { name: $name, sort: CodeClass::$sort, meaning: $meaning, fix: $fix });
        )*

        pub(super) const ALL: &[Code] = &[$($constant),*];
    };
}
use codes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_own_name() {
        let all: Vec<Code> = Code::all().collect();
        for code in &all {
            let same = all.iter().filter(|other| *other == code).count();
            assert_eq!((same, code.as_str().parse()), (1, Ok(*code)), "{code}");
        }
        assert_eq!("no_such_code".parse::<Code>(), Err(UnknownCode));
    }

    #[test]
    fn every_code_has_a_meaning_and_a_fix() {
        for code in Code::all() {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            for text in [code.meaning(), code.fix()] {
                assert!(text.len() > 10 && !text.ends_with('.'), "{code}: {text}");
                assert!(!text.starts_with(char::is_uppercase) || text.starts_with("POST "), "{code}: {text}");
            }
        }
    }
}
