use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use super::assemble::{
    Surroundings, assemble, broken, broker_failure, keyring_failure, open_keyring, private_dir, slot_key,
};
use crate::base::{Clock, Entropy, NameError, OperatorName, SystemClock, SystemEntropy};
use crate::broker::certify_operator;
use crate::cli::{Console, Failure, Identity, Kind};
use crate::config::{Config, RootKey};
use crate::keyring::{Keyring, SlotKey};
use crate::pki::{certificate_pem, new_key_and_request, read_request};
use crate::store::OnLostEntries;

/// What `init` is to do.
pub(super) struct Order<'a> {
    pub(super) operator: &'a str,
    pub(super) reissue: bool,
    pub(super) home: &'a Path,
}

/// Makes a broker, or gives an operator of a stopped one a new certificate. What is there already is
/// never written over.
pub(super) async fn init(config: &Config, order: &Order<'_>, console: &Console) -> Result<(), Failure> {
    let operator: OperatorName = order
        .operator
        .parse()
        .map_err(|error: NameError| Failure::usage(&error.to_string(), &format!("use {}", error.rule())))?;
    let surroundings =
        Surroundings { clock: Arc::new(SystemClock::new()), entropy: Arc::new(SystemEntropy) };
    let keyring = if order.reissue {
        open_keyring(config)?
    } else {
        create(config, &*surroundings.clock, &*surroundings.entropy)?
    };
    let core = assemble(config, &keyring, &surroundings, OnLostEntries::Refuse).await?;
    let (key_pem, request) = new_key_and_request().map_err(|error| broken(&error))?;
    let key = read_request(&request).map_err(|error| broken(&error))?;
    let certified = certify_operator(&core, &keyring, operator, key).await;
    let certificate = certified.map_err(|failure| broker_failure(&failure))?;
    let identity = Identity {
        address: config.server.admin_address.clone(),
        key_pem,
        certificate_pem: certificate_pem(&certificate.der),
        authority_pem: certificate_pem(core.issuer.authority().certificate()),
    };
    identity.save(order.home, Kind::Operator)?;
    core.store.close().await;
    let told = json!({
        "data_dir": config.data_dir, "ledger": keyring.ledger(),
        "operator": certificate.plan.spiffe.to_string(),
        "operator_until": certificate.plan.not_after.to_string(),
        "operator_identity": order.home.join("operator"),
    });
    if console.is_json() {
        console.json(&told);
    } else {
        console.line(&format!("broker in {}", config.data_dir.display()));
        console.line(&format!("operator {} until {}", certificate.plan.spiffe, certificate.plan.not_after));
        console.line(&format!("identity in {}", order.home.join("operator").display()));
        console.say("keep a copy of the root key away from the data directory: without it nothing opens");
    }
    Ok(())
}

fn create(config: &Config, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Keyring, Failure> {
    private_dir(&config.data_dir)?;
    let path = config.data_dir.join("keyring");
    if path.exists() {
        let why = format!("there is a broker in `{}` already; nothing was changed", config.data_dir.display());
        let fix = "run it: `keyward serve`; for a new operator certificate: `keyward init --reissue-operator`";
        return Err(Failure::local("initialised_already", &why, fix));
    }
    let slot = match &config.root_key {
        RootKey::File(file) if !file.exists() => {
            SlotKey::create_file(file, entropy).map_err(|error| keyring_failure(&error))?
        }
        RootKey::File(_) | RootKey::Credential(_) => slot_key(config)?,
    };
    Keyring::create(&path, &slot, clock.now(), entropy).map_err(|error| keyring_failure(&error))
}
