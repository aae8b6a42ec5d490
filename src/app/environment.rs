use std::path::PathBuf;
use std::sync::Arc;

use crate::base::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::config::Config;
use crate::upstream;

/// Where a Linux machine's own id is (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// Time and chance, as everybody gets them.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Gives unpredictable bytes.
    pub entropy: Arc<dyn Entropy>,
    /// The file with the machine's id.
    pub machine_id: PathBuf,
}

impl Environment {
    /// The machine's own.
    #[must_use]
    pub fn system() -> Self {
        Self::with(SystemClock::new())
    }

    /// The machine's own, with what `config` names to tell whether its clock is synchronised.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let clock = SystemClock::synchronised_by(config.clock.synchronised_by.clone());
        Self::with(clock)
    }

    fn with(clock: SystemClock) -> Self {
        Self { clock: Arc::new(clock), entropy: Arc::new(SystemEntropy), machine_id: MACHINE_ID.into() }
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
