//! TLS configurations: 1.3 only, X25519MLKEM768 with every client that offers it, no resumption, our clock.

mod client;
mod fault;
mod parts;
mod server;
mod server_verifier;

pub use client::{client_config, pinned_client_config, upstream_config};
pub use fault::HandshakeFault;
pub use parts::{TlsError, TlsIdentity};
pub use server::{Gate, PeerRefusal, ServerConfigs, ServerTls, sealed_server_configs};
