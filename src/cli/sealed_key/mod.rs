//! Private keys that are sealed with a passphrase, and the process that uses them for a stated time.

mod agent;
mod agent_client;
mod opener;
mod protocol;
mod record;

pub(crate) use agent::{KeyAgentServer, KeyAgentSocket};
pub(crate) use agent_client::KeyAgent;
pub(crate) use opener::{KeyOpener, SealedKeySigner, passphrase_key};
pub(crate) use record::{KeyPurpose, SealedKey};
