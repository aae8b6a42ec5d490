use crate::base::{Scope, SecretName};
use crate::config::FaultMessage;

/// The fault of a declaration whose `admin_secret` is not among the objects of `scope`. For an operator with an owner it
/// does not say whether the secret exists: the advice to store it could replace the value of another team's secret.
pub(in crate::broker) fn missing_admin_secret(admin: &SecretName, scope: &Scope) -> FaultMessage {
    match scope {
        Scope::Everything => format!(
            "the `admin_secret` `{admin}` does not exist: store it first (`keyward secret put {admin}`)"
        )
        .into(),
        Scope::Owner(owner) => FaultMessage::foreign(format!(
            "the `admin_secret` `{admin}` is not among the secrets of owner `{owner}`: an operator with the scope `all` sees \
             whether it exists (`keyward secret show {admin}`) and what its owner is; a new secret is stored with \
             `keyward secret put {admin} --owner {owner}`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_to_store_a_secret_is_for_those_who_see_all() {
        let admin = "db/admin".parse().unwrap();
        let whole = missing_admin_secret(&admin, &Scope::Everything);
        assert!(whole.text().contains("does not exist: store it first"));
        let scoped = missing_admin_secret(&admin, &Scope::Owner("payments".parse().unwrap()));
        let scoped = scoped.text();
        assert!(!scoped.contains("does not exist") && scoped.contains("owner `payments`"), "{scoped}");
    }
}
