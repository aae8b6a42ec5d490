use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::declaration::{TargetError, refuse};
use super::driver::{Capabilities, RotationCall, SlotCount};
use super::fault::UpstreamFault;
use super::random::random_password;
use crate::base::{SecretName, Sensitive, code};
use crate::secrets::SecretValue;

/// The accounts whose passwords a secret holds, and the account that sets them.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    kept: Kept,
    admin: Option<Administrator>,
}

#[derive(Clone, Debug)]
enum Kept {
    /// The password of one account.
    One(String),
    /// The passwords of two accounts in turn: a JSON object with name and password.
    InTurn([String; 2]),
}

#[derive(Clone, Debug)]
struct Administrator {
    name: String,
    secret: SecretName,
}

/// The accounts in a declaration.
pub(super) struct DeclaredAccounts {
    pub(super) one: Option<String>,
    pub(super) two: Option<[String; 2]>,
    pub(super) admin: Option<String>,
    pub(super) admin_secret: Option<SecretName>,
}

/// The names of the fields of [`DeclaredAccounts`] in a declaration.
pub(super) struct FieldNames {
    pub(super) one: &'static str,
    pub(super) two: &'static str,
    pub(super) admin: &'static str,
}

/// The name of an account, and its password.
#[derive(Deserialize, Serialize)]
pub(super) struct Account {
    #[serde(rename = "username")]
    pub(super) name: String,
    pub(super) password: Zeroizing<String>,
}

const fn unreadable() -> UpstreamFault {
    UpstreamFault::refused(code::UPSTREAM_VALUE_INVALID)
}

const fn internal() -> UpstreamFault {
    UpstreamFault::refused(code::INTERNAL)
}

impl Accounts {
    /// The accounts, and the account that sets their passwords, for people.
    pub(super) fn describe(&self) -> String {
        let kept = match &self.kept {
            Kept::One(name) => format!("login `{name}`"),
            Kept::InTurn([one, other]) => format!("logins `{one}` and `{other}`"),
        };
        match &self.admin {
            Some(admin) => format!("{kept}, set by `{}`", admin.name),
            None => kept,
        }
    }

    /// The checked accounts of a declaration.
    pub(super) fn of(declared: DeclaredAccounts, fields: &FieldNames) -> Result<Self, TargetError> {
        let FieldNames { one, two, admin } = fields;
        let kept = match (declared.one, declared.two) {
            (Some(_), Some(_)) => {
                return refuse(&format!("`{one}` contradicts `{two}`: leave one of them out"));
            }
            (None, None) => {
                return refuse(&format!("`{one}` is missing: the login whose password is rotated"));
            }
            (None, Some([first, second])) if first == second => {
                return refuse(&format!("`{two}` must name two logins"));
            }
            (Some(name), None) => Kept::One(name),
            (None, Some(names)) => Kept::InTurn(names),
        };
        let admin = match (declared.admin, declared.admin_secret) {
            (Some(_), None) => {
                return refuse(&format!("`admin_secret` is missing: the password of `{admin}`"));
            }
            (None, Some(_)) => {
                return refuse(&format!("`{admin}` is missing: the login that `admin_secret` belongs to"));
            }
            (None, None) if matches!(kept, Kept::InTurn(_)) => {
                return refuse(&format!(
                    "`{two}` needs an `{admin}`: neither login can set the other's password"
                ));
            }
            (Some(name), Some(secret)) => Some(Administrator { name, secret }),
            (None, None) => None,
        };
        Ok(Self { kept, admin })
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        let shape = match self.kept {
            Kept::One(_) => SlotCount::OneSlot,
            Kept::InTurn(_) => SlotCount::TwoSlots,
        };
        Capabilities { shape, creates: false, retires_by_slot: false, needs_current: self.sets_itself() }
    }

    pub(super) fn admin_secret(&self) -> Option<&SecretName> {
        self.admin.as_ref().map(|admin| &admin.secret)
    }

    /// Whether an account sets its own password.
    pub(super) const fn sets_itself(&self) -> bool {
        self.admin.is_none()
    }

    /// The form of the values of two accounts, for people.
    pub(super) fn value_form(&self) -> Option<String> {
        let Kept::InTurn([one, other]) = &self.kept else { return None };
        let form = r#"{"username":"…","password":"…"}"#;
        Some(format!("a value of the form `{form}`, with the user name `{one}` or `{other}`"))
    }

    /// Whether there are two accounts. After the grace period, the sessions of the unused one are ended.
    pub(super) const fn are_in_turn(&self) -> bool {
        matches!(self.kept, Kept::InTurn(_))
    }

    /// The names of the accounts whose passwords are rotated.
    pub(super) fn names(&self) -> &[String] {
        match &self.kept {
            Kept::One(name) => std::slice::from_ref(name),
            Kept::InTurn(names) => names,
        }
    }

    /// The account of a value.
    pub(super) fn account(&self, value: &SecretValue) -> Result<Account, UpstreamFault> {
        match &self.kept {
            Kept::One(name) => Account::of(name, value),
            Kept::InTurn(names) => {
                let account: Account = serde_json::from_slice(value.expose()).map_err(|_| unreadable())?;
                if names.contains(&account.name) { Ok(account) } else { Err(unreadable()) }
            }
        }
    }

    /// The account of the pending value.
    pub(super) fn pending(&self, call: RotationCall<'_>) -> Result<Account, UpstreamFault> {
        self.account(call.pending.ok_or_else(unreadable)?)
    }

    /// A value with a new password; with two accounts, of the unused one.
    pub(super) fn new_value(&self, call: RotationCall<'_>) -> Result<SecretValue, UpstreamFault> {
        let password = random_password(&*call.with.entropy)?;
        let Kept::InTurn([first, second]) = &self.kept else { return Ok(password) };
        let used = call.current.map(|value| self.account(value)).transpose()?;
        let name = if used.is_some_and(|used| used.name == *first) { second } else { first };
        let json = serde_json::to_vec(&Account::of(name, &password)?).map_err(|_| internal())?;
        SecretValue::new(Sensitive::new(json)).map_err(|_| internal())
    }

    /// The login that sets passwords: the administrator, or the account itself.
    pub(super) fn setter(&self, call: RotationCall<'_>) -> Result<Account, UpstreamFault> {
        match &self.admin {
            Some(admin) => Account::of(&admin.name, call.admin.ok_or_else(unreadable)?),
            None => self.account(call.current.ok_or_else(unreadable)?),
        }
    }

    /// The account of `old` to revoke, with a random password that is not stored: with two accounts in turn, if the
    /// current value is of the other one.
    pub(super) fn retired(
        &self,
        call: RotationCall<'_>,
        old: &SecretValue,
    ) -> Result<Option<Account>, UpstreamFault> {
        let old = self.account(old)?;
        let in_use = call.current.and_then(|current| self.account(current).ok());
        if matches!(self.kept, Kept::One(_)) || in_use.is_some_and(|used| used.name == old.name) {
            return Ok(None);
        }
        Account::of(&old.name, &random_password(&*call.with.entropy)?).map(Some)
    }
}

impl Account {
    /// `name` with `value` as the password.
    fn of(name: &str, value: &SecretValue) -> Result<Self, UpstreamFault> {
        let password = std::str::from_utf8(value.expose()).map_err(|_| unreadable())?;
        Ok(Self { name: name.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }
}
