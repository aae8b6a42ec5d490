//! TLS configurations: 1.3 only, X25519MLKEM768 with every client that offers it, no resumption, our clock.

mod client;
mod fault;
mod parts;
mod peer_refusal;
mod remote_key;
mod server;
mod server_verifier;

pub use client::{client_config, pinned_client_config, signed_client_config, upstream_config};
pub use fault::{HandshakeFault, certified_names};
pub use parts::{TlsError, TlsIdentity};
pub use peer_refusal::PeerRefusal;
pub use remote_key::{HandshakeSigner, is_client_handshake};
pub use server::{Gate, RefusedPeer, ServerConfigs, ServerTls, sealed_server_configs, take_refused_peer};
