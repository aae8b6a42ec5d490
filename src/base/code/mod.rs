//! Every stable code that a refusal or a failure can carry, in one place: what it means, what would
//! fix it, and of what sort it is. Answers, the command line and the reference draw from here.
//!
//! A code is never given another meaning, and never goes away while something out there may know it.

mod caller;
mod input;
mod machine;
mod record;
mod upstream;

use std::fmt;
use std::str::FromStr;

pub use caller::*;
pub use input::*;
pub use machine::*;
pub use record::*;
pub use upstream::*;

/// A stable code. Two are the same when their names are.
#[derive(Clone, Copy)]
pub struct Code(&'static Entry);

struct Entry {
    name: &'static str,
    sort: Sort,
    meaning: &'static str,
    fix: &'static str,
}

/// What sort of refusal or failure a code stands for; the edges map it to their own terms.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sort {
    /// The caller has not proved who it is, or presented a bad token.
    Unauthenticated,
    /// The caller is known and may not.
    Denied,
    /// Nothing of the OAuth `scope` is granted to the caller.
    NotGranted,
    /// The OAuth `scope` is wrong.
    InvalidScope,
    /// The OAuth `resource` does not fit.
    InvalidTarget,
    /// The input is wrong.
    Invalid,
    /// The OAuth grant is not one that is offered.
    UnsupportedGrant,
    /// The OAuth response type is not one that is offered.
    UnsupportedResponse,
    /// The OAuth `authorization_details` are not taken.
    InvalidDetails,
    /// There is no such thing, or the caller may not know of it.
    NotFound,
    /// The input contradicts what there is.
    Conflict,
    /// Too often, or too much at once: later is better.
    Limited,
    /// The broker cannot acknowledge anything now, or cannot be reached.
    Unavailable,
    /// A fault of the broker's own.
    Internal,
    /// The broker cannot start as things are.
    NotStarted,
    /// The command line was used wrongly.
    Usage,
    /// Something of the machine that the command ran on.
    Local,
    /// A verification failed.
    Unverified,
    /// What was asked was done in part.
    Partial,
}

/// The text is no code of this version.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there is no such code")]
pub struct UnknownCode;

impl Code {
    /// The code as it stands in answers, in the ledger and in the reference.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0.name
    }

    /// Of what sort it is.
    #[must_use]
    pub const fn sort(self) -> Sort {
        self.0.sort
    }

    /// What it says happened.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.0.meaning
    }

    /// What would fix it.
    #[must_use]
    pub const fn fix(self) -> &'static str {
        self.0.fix
    }

    /// Whether the same request may do better later, with nothing changed by the caller.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self.0.sort, Sort::Limited | Sort::Unavailable)
    }

    /// The codes that the broker answers with, over HTTP.
    pub fn answered() -> impl Iterator<Item = Self> {
        [upstream::ALL, caller::ALL, input::ALL, record::ALL].into_iter().flatten().copied()
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

/// `NAME "name" Sort: "meaning", "fix";` each; the meaning is also the constant's documentation.
macro_rules! codes {
    ($($constant:ident $name:literal $sort:ident: $meaning:literal, $fix:literal;)*) => {
        use super::{Code, Entry, Sort};

        $(
            #[doc = $meaning]
            pub const $constant: Code =
                Code(&Entry { name: $name, sort: Sort::$sort, meaning: $meaning, fix: $fix });
        )*

        pub(super) const ALL: &[Code] = &[$($constant),*];
    };
}
use codes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_codes_share_a_name_and_each_is_found_by_it() {
        let all: Vec<Code> = Code::all().collect();
        for code in &all {
            let same = all.iter().filter(|other| *other == code).count();
            assert_eq!((same, code.as_str().parse()), (1, Ok(*code)), "{code}");
        }
        assert_eq!("no_such_code".parse::<Code>(), Err(UnknownCode));
    }

    #[test]
    fn every_code_says_what_it_means_and_what_would_fix_it() {
        for code in Code::all() {
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            for text in [code.meaning(), code.fix()] {
                assert!(text.len() > 10 && !text.ends_with('.'), "{code}: {text}");
                assert!(!text.starts_with(char::is_uppercase) || text.starts_with("POST "), "{code}: {text}");
            }
        }
    }
}
