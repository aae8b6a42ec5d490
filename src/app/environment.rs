use std::path::PathBuf;
use std::sync::Arc;

use crate::base::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::config::Config;
use crate::http::listener::ConnectionIds;
use crate::upstream;

/// The file with the id of a Linux machine (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// The sources of time and randomness.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The file with the machine's id.
    pub machine_id: PathBuf,
}

impl Environment {
    /// The machine's clock and randomness.
    #[must_use]
    pub fn system() -> Self {
        Self::with(SystemClock::new())
    }

    /// The machine's clock and randomness, with the synchronisation file that `config` names.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let clock = SystemClock::synchronised_by(config.clock.synchronised_by.clone());
        Self::with(clock)
    }

    fn with(clock: SystemClock) -> Self {
        Self { clock: Arc::new(clock), entropy: Arc::new(SystemEntropy), machine_id: MACHINE_ID.into() }
    }

    pub(super) fn connection_ids(&self) -> ConnectionIds {
        ConnectionIds { clock: Arc::clone(&self.clock), entropy: Arc::clone(&self.entropy) }
    }

    pub(crate) fn for_upstreams(&self, config: &Config) -> upstream::DriverContext {
        upstream::DriverContext {
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            reach: upstream::AllowedNetworks::new(config.upstream.allow_networks.clone()),
            called: upstream::Called::default(),
        }
    }
}
