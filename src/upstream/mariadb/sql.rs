//! The statements. Names and values are quoted for a session in which backslashes escape nothing.

use mysql_common::packets::AuthPlugin;
use mysql_common::value::Value;

use super::session::password_hash;
use crate::base::encoding::hex;

/// A user of the server, by name and the hosts that it may come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account<'a> {
    pub(super) user: &'a str,
    pub(super) host: &'a str,
}

/// A text as a literal.
pub(super) fn quoted(text: &str) -> String {
    Value::Bytes(text.as_bytes().to_vec()).as_sql(true)
}

impl Account<'_> {
    pub(super) fn quoted(self) -> String {
        format!("{}@{}", quoted(self.user), quoted(self.host))
    }
}

/// How an account is authenticated: by the hash of a password, so that the server never sees the password.
pub(super) fn identified(password: &[u8]) -> String {
    let hash = password_hash(&AuthPlugin::MysqlNativePassword, password).unwrap_or_default();
    format!("IDENTIFIED VIA mysql_native_password USING '*{}'", hex(&hash).to_uppercase())
}

/// Creates a locked account.
pub(super) fn create(account: Account<'_>, password: &[u8], connections: u32) -> String {
    format!(
        "CREATE USER {} {} REQUIRE SSL WITH MAX_USER_CONNECTIONS {connections} ACCOUNT LOCK",
        account.quoted(),
        identified(password)
    )
}

pub(super) fn unlock(account: Account<'_>) -> String {
    format!("ALTER USER {} ACCOUNT UNLOCK", account.quoted())
}

pub(super) fn lock(account: Account<'_>) -> String {
    format!("ALTER USER IF EXISTS {} ACCOUNT LOCK", account.quoted())
}

pub(super) fn drop_account(account: Account<'_>) -> String {
    format!("DROP USER IF EXISTS {}", account.quoted())
}

/// Sets the password of an account.
pub(super) fn set_password(account: Account<'_>, password: &[u8]) -> String {
    format!("ALTER USER {} {}", account.quoted(), identified(password))
}

/// Sets the password of the session's own account.
pub(super) fn set_own_password(password: &[u8]) -> String {
    let hash = password_hash(&AuthPlugin::MysqlNativePassword, password).unwrap_or_default();
    format!("SET PASSWORD = '*{}'", hex(&hash).to_uppercase())
}

/// The ids of the sessions of a user, and of the administrator's own that execute a statement which names it:
/// one whose broker is gone may still be creating the account.
pub(super) fn sessions(user: &str) -> String {
    let user = quoted(user);
    format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() \
         AND (BINARY USER = BINARY {user} \
         OR (USER = SUBSTRING_INDEX(USER(), '@', 1) AND INSTR(INFO, {user}) > 0))"
    )
}

/// Ends a session. A server that names anything but a number is asked for nothing.
pub(super) fn end_session(id: &str) -> String {
    format!("KILL HARD CONNECTION {}", id.parse::<u64>().unwrap_or_default())
}

/// Waits for sessions to end.
pub(super) const PAUSE: &str = "DO SLEEP(0.2)";

/// The names of the users of a host part whose names start with `prefix`.
pub(super) fn users(prefix: &str, host: &str) -> String {
    format!(
        "SELECT User FROM mysql.user WHERE BINARY LEFT(User, CHAR_LENGTH({prefix})) = BINARY {prefix} AND Host = {}",
        quoted(host),
        prefix = quoted(prefix)
    )
}

/// The global privileges of the session's account.
pub(super) fn own_privileges() -> String {
    "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES \
     WHERE GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')"
        .to_owned()
}

/// The privilege to create accounts, to set their passwords and to drop them.
pub(super) const CREATE_USER: &str = "CREATE USER";

/// The privileges to find and end the sessions of other accounts.
pub(super) const OF_SESSIONS: [&str; 2] = ["PROCESS", "CONNECTION ADMIN"];

/// One row: the release, and the server's connection limit.
pub(super) const SERVER_STATE: &str = "SELECT VERSION(), @@GLOBAL.max_connections";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_quoted() {
        let account = Account { user: "o'brien", host: r"%\" };
        assert_eq!(account.quoted(), r"'o''brien'@'%\'");
        assert_eq!(drop_account(account), r"DROP USER IF EXISTS 'o''brien'@'%\'");
    }

    #[test]
    fn a_password_is_sent_as_its_hash() {
        let account = Account { user: "kw_1", host: "%" };
        let said = create(account, b"CNRY", 4);
        assert!(
            said.starts_with("CREATE USER 'kw_1'@'%' IDENTIFIED VIA mysql_native_password USING '*"),
            "{said}"
        );
        assert!(said.ends_with("' REQUIRE SSL WITH MAX_USER_CONNECTIONS 4 ACCOUNT LOCK"), "{said}");
        // As `SELECT PASSWORD('mypass')` of a server says it.
        assert!(identified(b"mypass").ends_with("'*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4'"));
        assert!(!said.contains("CNRY"), "{said}");
    }
}
