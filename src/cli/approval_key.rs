//! The approval keys of this machine: files in the home directory, sealed with a passphrase. No process keeps them open.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::{SystemEntropy, code};
use crate::cli::client::Client;
use crate::cli::identity::{Identity, IdentityKind};
use crate::cli::owners::{may, roles_of};
use crate::cli::sealed_key::{KeyPurpose, SealedKey, passphrase_key};
use crate::console::{CommandFailure, known_approval_passphrase, new_approval_passphrase, visible};
use crate::files::{private_dir, remove, replace};
use crate::keyring::PassphraseKey;
use crate::policy::VoteApprovals;
use crate::wire::{GET_OWN_APPROVAL_KEYS, Nothing, OPERATOR_WHOAMI};

/// Checks that the operator of `client` has a role that approves requests.
///
/// # Errors
/// [`CommandFailure`] if it has another role, before a key is made or used.
pub(crate) async fn check_role(client: &Client) -> Result<(), CommandFailure> {
    let operator = client.call(OPERATOR_WHOAMI, &Nothing, &Nothing).await?;
    if may::<VoteApprovals>(&operator) {
        return Ok(());
    }
    let (name, role) = (visible(&operator.name, ROLE_CHARS), visible(&operator.role, ROLE_CHARS));
    let why = format!("the operator `{name}` has the role `{role}`, which cannot approve requests");
    let fix = format!(
        "ask an operator with the role {} to approve, or ask an admin for another role, which replaces yours: `keyward operator \
         role {name} approver`",
        roles_of::<VoteApprovals>()
    );
    Err(CommandFailure::new(code::OPERATOR_ROLE_INSUFFICIENT).because(why).mended_by(fix))
}

/// Characters of a name or a role that are shown.
const ROLE_CHARS: usize = 64;

/// The approval keys of a home directory.
#[derive(Debug)]
pub(crate) struct MachineKeys {
    home: PathBuf,
    /// The key that approves now.
    current: Option<SealedKey>,
    /// A key that takes its place once it is accepted.
    next: Option<SealedKey>,
}

/// The name of the key's file, and of its successor's.
const CURRENT: &str = "approval-key.pem";
const NEXT: &str = "approval-key.next.pem";

impl MachineKeys {
    /// Reads the keys of `home`.
    ///
    /// # Errors
    /// [`CommandFailure`] if a file cannot be read.
    pub(crate) fn load(home: &Path) -> Result<Self, CommandFailure> {
        let [current, next] = [CURRENT, NEXT].map(|name| read(&home.join(name)));
        Ok(Self { home: home.to_owned(), current: current?, next: next? })
    }

    /// The newest key: the one that was proposed last.
    pub(crate) fn newest(&self) -> Option<&SealedKey> {
        self.next.as_ref().or(self.current.as_ref())
    }

    /// Whether a key with this fingerprint is in the home directory.
    pub(crate) fn has(&self, fingerprint: &str) -> bool {
        self.fingerprints().any(|one| one == fingerprint)
    }

    /// The fingerprints of the keys.
    pub(crate) fn fingerprints(&self) -> impl Iterator<Item = String> {
        [&self.current, &self.next].into_iter().flatten().map(|key| key.public().hex())
    }

    /// Makes a key with a new passphrase from the terminal, and stores it sealed. A key that is there stays until the new one
    /// is accepted.
    ///
    /// # Errors
    /// [`CommandFailure`].
    pub(crate) fn create(&mut self) -> Result<&SealedKey, CommandFailure> {
        let passphrase = new_approval_passphrase()?;
        // The passphrase of the identity may be in a file that a program reads.
        let identity = Identity::load(&self.home, IdentityKind::Operator)?.sealed_key()?;
        if identity.is_some_and(|identity| passphrase_key(&identity, &passphrase).is_ok()) {
            return Err(CommandFailure::new(code::PASSPHRASE_REFUSED)
                .because("the passphrase is that of the operator's sealed key")
                .mended_by("choose another passphrase for the approval key"));
        }
        let by = PassphraseKey::choose(&passphrase, &SystemEntropy);
        let by = by.map_err(|error| CommandFailure::internal(&error.to_string()))?;
        let key = SealedKey::new_for(KeyPurpose::Approval, &by, &SystemEntropy)?;
        private_dir(&self.home).map_err(|error| CommandFailure::of_file(&self.home, &error))?;
        let (name, place) = match self.current {
            None => (CURRENT, &mut self.current),
            Some(_) => (NEXT, &mut self.next),
        };
        let path = self.home.join(name);
        replace(&path, key.text()?.as_bytes()).map_err(|error| CommandFailure::of_file(&path, &error))?;
        Ok(place.insert(key))
    }

    /// The key of this machine that the broker counts.
    ///
    /// # Errors
    /// [`CommandFailure`], also if no key of the operator is accepted.
    pub(crate) async fn accepted_by(&mut self, client: &Client) -> Result<&SealedKey, CommandFailure> {
        let own = client.call(GET_OWN_APPROVAL_KEYS, &Nothing, &Nothing).await?;
        let accepted = own.keys.iter().find(|key| &*key.state == "accepted");
        let accepted = accepted.ok_or_else(|| CommandFailure::new(code::APPROVAL_KEY_NOT_ACCEPTED))?;
        self.accepted(&accepted.fingerprint)
    }

    /// The key with the fingerprint `accepted`, which the broker counts. A key that was replaced is deleted.
    ///
    /// # Errors
    /// [`CommandFailure`] if this machine does not have it.
    fn accepted(&mut self, accepted: &str) -> Result<&SealedKey, CommandFailure> {
        if self.next.as_ref().is_some_and(|next| next.public().hex() == accepted) {
            self.current = self.next.take();
            let (path, next) = (self.home.join(CURRENT), self.home.join(NEXT));
            if let Some(current) = &self.current {
                let stored = replace(&path, current.text()?.as_bytes()).and_then(|()| remove(&next));
                stored.map_err(|error| CommandFailure::of_file(&path, &error))?;
            }
        }
        let found = self.current.as_ref().filter(|key| key.public().hex() == accepted);
        found.ok_or_else(|| {
            CommandFailure::new(code::APPROVAL_KEY_NOT_ON_MACHINE).because(format!(
                "the accepted approval key of this operator (fingerprint {accepted}) is not in `{}`",
                self.home.display()
            ))
        })
    }
}

/// Checks with the passphrase from the terminal that the person made `key`: another program may have written its file.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn check_own(key: &SealedKey) -> Result<(), CommandFailure> {
    let found = format!("this machine has an approval key that is not proposed: {}\n", key.public().hex());
    passphrase_key(key, &known_approval_passphrase(&found)?).map(drop).map_err(|failure| {
        if failure.code() == code::KEY_PASSPHRASE_WRONG.as_str() {
            failure.because("the passphrase does not open the approval key that is on this machine; nothing was proposed").mended_by(
                "check the passphrase; if you did not make this key, a program did: find out which, then make another key: \
                 `keyward approval key create --replace`",
            )
        } else {
            failure
        }
    })
}

/// The signature of `message` by `key` (ECDSA P-256 with SHA-256, DER). Asks at the terminal for the passphrase, below
/// `shown`; passphrase and key are wiped when this returns.
///
/// # Errors
/// [`CommandFailure`].
pub(crate) fn sign_approval(key: &SealedKey, message: &[u8], shown: &str) -> Result<Vec<u8>, CommandFailure> {
    let passphrase = known_approval_passphrase(shown)?;
    let by = passphrase_key(key, &passphrase).map_err(|failure| {
        if failure.code() == code::KEY_PASSPHRASE_WRONG.as_str() {
            failure.because("the passphrase does not open the approval key; nothing was signed").mended_by(
                "check upper and lower case and the keyboard layout, and repeat the command; if the passphrase is lost, make \
                 another key: `keyward approval key create --replace`",
            )
        } else {
            failure
        }
    })?;
    key.sign(&by, message).ok_or_else(|| CommandFailure::internal("the approval key does not sign"))
}

fn read(path: &Path) -> Result<Option<SealedKey>, CommandFailure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CommandFailure::of_file(path, &error)),
    };
    let key = SealedKey::read_for(KeyPurpose::Approval, &text)?;
    key.map(Some).ok_or_else(|| {
        let why = format!("`{}` is no sealed approval key", path.display());
        CommandFailure::new(code::IDENTITY_DAMAGED)
            .because(why)
            .mended_by("move the file away, then make a key: `keyward approval key create`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Sensitive;
    use crate::keyring::Passphrase;

    fn stored(home: &Path, name: &str) -> String {
        let words = Passphrase::entered(&Sensitive::new(b"correct horse battery".to_vec())).unwrap();
        let by = PassphraseKey::choose(&words, &SystemEntropy).unwrap();
        let key = SealedKey::new_for(KeyPurpose::Approval, &by, &SystemEntropy).unwrap();
        replace(&home.join(name), key.text().unwrap().as_bytes()).unwrap();
        key.public().hex()
    }

    #[test]
    fn next_key_takes_the_place_of_the_current_one_once_it_is_accepted() {
        let home = tempfile::tempdir().unwrap();
        let (old, new) = (stored(home.path(), CURRENT), stored(home.path(), NEXT));
        let mut keys = MachineKeys::load(home.path()).unwrap();
        assert_eq!(keys.newest().unwrap().public().hex(), new);
        assert_eq!(keys.accepted(&old).unwrap().public().hex(), old);
        assert_eq!(keys.accepted(&new).unwrap().public().hex(), new);
        assert_eq!(keys.accepted(&old).unwrap_err().code(), "approval_key_not_on_machine");
        let mut again = MachineKeys::load(home.path()).unwrap();
        assert_eq!(again.fingerprints().collect::<Vec<_>>(), std::slice::from_ref(&new));
        assert!(again.accepted(&new).is_ok() && !home.path().join(NEXT).exists());
    }

    #[test]
    fn key_in_clear_is_no_approval_key() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(CURRENT), "-----BEGIN PRIVATE KEY-----\n").unwrap();
        assert_eq!(MachineKeys::load(home.path()).unwrap_err().code(), "identity_damaged");
    }
}
