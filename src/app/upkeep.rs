use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::environment::Environment;
use super::failures::start_failed;
use super::public_documents::publish;
use super::server_identity::server_identity;
use crate::broker::{AgentServices, Services};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::pki::tls::ServerTls;

/// Interval of checks for due work.
const LOOK: Duration = Duration::from_secs(60);

/// The periodic upkeep of a serving broker: its certificate, the key schedules, and the authorities that listeners trust.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) config: Config,
    pub(super) services: Arc<Services>,
    pub(super) environment: Environment,
    /// Of all listeners.
    pub(super) listeners: [ServerTls; 2],
}

impl Upkeep {
    /// Works until `stop` is true: at once after a change of authorities and the refusal of a contained subject, else at the
    /// interval.
    pub(super) async fn keep(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut changed = self.services.notifications.authorities.subscribe();
        let refusals = &self.services.notifications.refusals;
        let Some(mut requests) = self.services.keyring.publishing.requests() else { return };
        loop {
            let request = tokio::select! {
                () = tokio::time::sleep(LOOK) => None,
                result = changed.changed() => if result.is_ok() { None } else { return },
                () = refusals.summary_asked_for() => None,
                request = requests.recv() => request,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if let Some(done) = request {
                publish(&self.config, AgentServices::new(Arc::clone(&self.services))).await;
                if done.send(()).is_err() {
                    tracing::debug!("the public documents were written too late");
                }
                continue;
            }
            self.look().await;
        }
    }

    /// Does the due work. Failures are logged and retried the next time.
    pub(super) async fn look(&self) {
        if let Err(failure) = self.update_listeners().await {
            tracing::error!(?failure, "the certificates of the listeners could not be updated");
        }
        publish(&self.config, AgentServices::new(Arc::clone(&self.services))).await;
        if !self.services.clocks_agree() {
            self.services.record_refused_certificates().await;
            return;
        }
        if let Err(failure) = self.services.keep_token_keys().await {
            tracing::error!(?failure, "the schedule of the token key failed");
        }
        if let Err(failure) = self.services.keep_authorities().await {
            tracing::error!(?failure, "the schedule of the certificate authority failed");
        }
        if let Err(failure) = self.services.shed_signing_keys() {
            tracing::error!(?failure, "revoked keys could not be removed from the keyring");
        }
        if let Err(failure) = self.services.keep_value_key().await {
            tracing::error!(?failure, "the schedule of the value key failed");
        }
        if let Err(failure) = self.services.keep_sealing_keys().await {
            tracing::error!(
                ?failure,
                "the rotation of the delta, index and digest keys could not be recorded, or earlier keys not removed from the keyring"
            );
        }
        if let Err(failure) = self.services.keep_checkpoint_key().await {
            tracing::error!(?failure, "the schedule of the checkpoint key failed");
        }
        // Changes of the schedule.
        publish(&self.config, AgentServices::new(Arc::clone(&self.services))).await;
        self.services.record_refused_certificates().await;
        self.services.record_ended_readings().await;
    }

    /// First the trusted authorities: a client with a certificate of the newest one must be accepted.
    async fn update_listeners(&self) -> Result<(), CommandFailure> {
        let authorities = self.services.signing.issuer.authorities();
        for listener in &self.listeners {
            listener.trust(&authorities).map_err(|error| start_failed(&error))?;
        }
        let identity = server_identity(&self.config, &self.services, &self.environment).await?;
        for listener in &self.listeners {
            listener.show(&identity).map_err(|error| start_failed(&error))?;
        }
        Ok(())
    }
}
