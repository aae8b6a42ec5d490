use crate::base::{NameError, Network};
use crate::console::CommandFailure;

/// The network in an option.
pub(crate) fn named_network(text: &str) -> Result<Network, CommandFailure> {
    text.parse().map_err(|error: NameError| match Network::around(text) {
        Some(around) => CommandFailure::usage(
            &format!("`{text}` is the address of a host and a prefix length, not a network"),
            &format!("name the network `{around}`, or the host alone with the prefix length of an address"),
        ),
        None => error.into(),
    })
}
