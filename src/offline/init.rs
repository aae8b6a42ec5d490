use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::host_checks::check_addresses;
use super::slot_keys::{KeyOptions, unnamed_key};
use crate::app::assemble::{assemble_to_record, record_slot_changes};
use crate::app::data_dir::{give_to_broker, keyring_path, private_dir};
use crate::app::environment::Environment;
use crate::app::failures::{keyring_lost, start_failed};
use crate::app::ledger_place::check_new_place;
use crate::app::open_keyring::{open_by, slot_key};
use crate::app::public_documents::publish;
use crate::app::server_identity::server_identity;
use crate::app::trusted_files::{BrokerUser, TrustedFile};
use crate::base::code;
use crate::base::{Clock, Entropy, OperatorName};
use crate::broker::{AgentServices, certify_operator, effect_of_reissue, other_certificates};
use crate::cli::Question;
use crate::cli::{Identity, IdentityKind, InitArgs, NEW_KEY_IN_CLEAR, identity_lock};
use crate::config::{Config, RootKey};
use crate::console::{CommandFailure, Console, host_user, known_passphrase, new_passphrase};
use crate::keyring::{Keyring, SlotKey};
use crate::ledger::{RESERVE_BYTES, SEGMENT_BYTES};
use crate::operators::is_of_host;
use crate::pki::{
    AuthorityCertificate, SpiffeId, authorities_pem, certificate_pem, new_key_and_request, read_request,
};
use crate::telemetry::free_bytes;
use crate::wire::InitOutput;

const OF_INIT: KeyOptions =
    KeyOptions { key_file: "--root-key-file FILE", passphrase: "--passphrase", shares: None };

/// Asks whether the effect in the text is wanted.
pub type Confirmation<'a> = &'a (dyn Fn(&str) -> Result<(), CommandFailure> + Sync);

/// The input of `init`.
pub struct InitOptions<'a> {
    /// The operator's name.
    pub operator: &'a str,
    /// Whether to give an operator of an existing broker a new certificate.
    pub reissue: bool,
    /// The directory for the operator's identity.
    pub home: &'a Path,
    /// The file with the unseal key, if the configuration names a systemd credential, which only the service gets.
    pub root_key: Option<&'a Path>,
    /// Asks before a new certificate changes more than the certificate. Its text says what.
    pub confirm: Confirmation<'a>,
    /// The key of a second slot; for an existing broker the key that opens the keyring.
    pub key: Option<SlotKey>,
}

/// `keyward init`
///
/// # Errors
/// [`CommandFailure`].
pub async fn init(home: &Path, args: &InitArgs, console: &Console) -> Result<(), CommandFailure> {
    let config = Config::load(&args.config)?;
    let asked = args.passphrase || args.passphrase_file.is_some();
    let ask = if args.reissue_operator { known_passphrase } else { new_passphrase };
    let passphrase = asked.then(|| ask(args.passphrase_file.as_deref(), console)).transpose()?;
    let key = match passphrase.map(SlotKey::Passphrase) {
        None if args.reissue_operator && args.root_key_file.is_none() => {
            Some(unnamed_key(&config, &OF_INIT, console)?)
        }
        named => named,
    };
    let options = InitOptions {
        operator: &args.operator,
        reissue: args.reissue_operator,
        home,
        root_key: args.root_key_file.as_deref(),
        confirm: &|effect| confirm_reissue(args, effect, console),
        key,
    };
    // A question and a line of progress would be mixed.
    let progress = (!args.reissue_operator).then(|| console.progress("initialising the broker"));
    let was_sealed = Identity::has_sealed_key(home, IdentityKind::Operator);
    let made = initialise(&config, options, &Environment::of(&config)).await;
    let made = give_to_broker(&config, made)?;
    drop(progress);
    tell(&made, console);
    if !console.is_json() {
        note(&config, args, was_sealed, console);
        tell_others(&made.other_certificates, console);
    }
    Ok(())
}

/// Says which other certificates give access as this operator.
fn tell_others(serials: &[String], console: &Console) {
    if serials.is_empty() {
        return;
    }
    console.say(&format!(
        "note: the operator's other certificates are still accepted: {}; if the key of one may be in other hands, start the \
         broker, then `keyward cert revoke SERIAL --reason TEXT`",
        serials.join(", ")
    ));
}

/// The notes that apply to what was made.
fn note(config: &Config, args: &InitArgs, was_sealed: bool, console: &Console) {
    if was_sealed {
        console.say(NEW_KEY_IN_CLEAR);
    }
    if args.reissue_operator {
        return;
    }
    let is_file = args.root_key_file.is_some() || config.root_key != RootKey::Attended;
    console.say(if is_file {
        "note: keep a copy of the unseal key away from the data directory: without an unseal key all data are lost"
    } else {
        "note: only the passphrase opens the keyring: without it all data are lost; `keyward slot add` adds another \
         unseal key"
    });
}

/// Says what the new certificate of an operator changes, and asks.
fn confirm_reissue(args: &InitArgs, effect: &str, console: &Console) -> Result<(), CommandFailure> {
    console.say(effect);
    if args.yes {
        return Ok(());
    }
    let question = format!("Give the operator `{}` the certificate of an admin?", args.operator);
    let fix = "name an admin (`--operator NAME`), or add `--yes`";
    Question { act: "this change", question: &question, fix }.ask(console)
}

impl fmt::Debug for InitOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InitOptions").field("operator", &self.operator).finish_non_exhaustive()
    }
}

/// Initialises a broker, or gives an operator of a stopped broker a new certificate. Existing files are never
/// overwritten. Returns the output of the command.
///
/// # Errors
/// [`CommandFailure`].
pub async fn initialise(
    config: &Config,
    options: InitOptions<'_>,
    environment: &Environment,
) -> Result<InitOutput, CommandFailure> {
    let operator: OperatorName = options.operator.parse()?;
    if is_of_host(&operator) {
        return Err(CommandFailure::usage(
            "the operator's name is reserved for break-glass access",
            "choose another name: `--operator NAME`",
        ));
    }
    let mut config = config.clone();
    if let Some(file) = options.root_key {
        config.root_key = RootKey::File(file.to_owned());
    }
    let config = &config;
    let spiffe = SpiffeId::Operator { trust_domain: config.trust_domain.clone(), name: operator.clone() };
    let (clock, entropy) = (&*environment.clock, &*environment.entropy);
    if !options.reissue && !keyring_path(config).exists() {
        // An existing identity cannot be of a new broker.
        Identity::check_reissue(options.home, &spiffe, &[])?;
        check_new_place(config, &environment.clock)?;
    }
    let (keyring, key) = if options.reissue {
        let key = options.key.map_or_else(|| slot_key(config), Ok)?;
        (open_by(config, &key)?, key)
    } else {
        create(config, options.key, clock, entropy)?
    };
    let ledger = keyring.ledger();
    let services = assemble_to_record(config, keyring, environment).await?;
    let authorities = services.signing.issuer.authorities();
    let pins: Vec<_> = authorities.iter().map(AuthorityCertificate::key_pin).collect();
    Identity::check_reissue(options.home, &spiffe, &pins)?;
    if let Some(effect) = effect_of_reissue(&services, &operator).filter(|_| options.reissue)
        && let Err(refused) = (options.confirm)(&effect)
    {
        services.state.store.close().await;
        return Err(refused);
    }
    record_slot_changes(&services, &host_user()).await?;
    // The caller proves to own the host by opening the keyring.
    let keyring = open_by(config, &key)?;
    let (key_pem, request) = new_key_and_request().map_err(|error| start_failed(&error))?;
    let key = read_request(&request).map_err(|error| start_failed(&error))?;
    let certified = certify_operator(&services, &keyring, operator.clone(), key).await;
    let certificate = certified?;
    let other_certificates = other_certificates(&services, &operator, certificate.plan.serial);
    let identity = Identity {
        address: config.server.admin_address.clone(),
        key_pem,
        certificate_pem: certificate_pem(&certificate.der),
        authority_pem: authorities_pem(&services.signing.issuer.authorities()),
    };
    crate::files::private_dir(options.home).map_err(|error| CommandFailure::of_file(options.home, &error))?;
    let lock = identity_lock(options.home)?;
    lock.lock().map_err(|error| CommandFailure::of_file(options.home, &error))?;
    identity.save(options.home, IdentityKind::Operator)?;
    drop(lock);
    // The server certificate of a broker that starts sealed.
    server_identity(config, &services, environment).await?;
    let services = Arc::new(services);
    publish(config, AgentServices::new(Arc::clone(&services))).await;
    services.state.store.close().await;
    Ok(InitOutput {
        data_dir: config.data_dir.display().to_string(),
        ledger,
        operator: certificate.plan.spiffe.to_string(),
        operator_until: certificate.plan.not_after.to_string(),
        operator_identity: options.home.join("operator").display().to_string(),
        other_certificates,
    })
}

/// The space that a new broker takes: a segment of the ledger, its reserve, the index and the keyring.
const NEW_BROKER_BYTES: u64 = SEGMENT_BYTES + RESERVE_BYTES + 7 * MIB;
const MIB: u64 = 1024 * 1024;

/// Checks the free space before anything is written: half a broker could not be initialised again.
fn check_space(data_dir: &Path) -> Result<(), CommandFailure> {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let Some(free) = absolute.ancestors().find_map(free_bytes) else { return Ok(()) };
    if free >= NEW_BROKER_BYTES {
        return Ok(());
    }
    let why = format!(
        "the disk of `{}` has {} MiB free, and a new broker needs {} MiB; nothing was written",
        data_dir.display(),
        free / MIB,
        NEW_BROKER_BYTES / MIB
    );
    let fix = "free space on this disk, or name a directory on another disk: `data_dir` in the configuration";
    Err(CommandFailure::new(code::LEDGER_NO_SPACE).because(why).mended_by(fix))
}

fn tell(made: &InitOutput, console: &Console) {
    if console.is_json() {
        console.json(made);
        return;
    }
    let InitOutput { data_dir, operator, operator_until, operator_identity, .. } = made;
    console.line(&format!("broker in {data_dir}"));
    console.line(&format!("operator {operator} until {operator_until}"));
    console.line(&format!("identity in {operator_identity}"));
}

fn create(
    config: &Config,
    second: Option<SlotKey>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Result<(Keyring, SlotKey), CommandFailure> {
    if let Some(lost) = keyring_lost(&config.data_dir) {
        return Err(lost);
    }
    let path = keyring_path(config);
    if path.exists() {
        let why = format!("`{}` contains a broker already; nothing was changed", config.data_dir.display());
        return Err(CommandFailure::new(code::ALREADY_INITIALISED).because(why));
    }
    check_space(&config.data_dir)?;
    check_addresses(config)?;
    let user = BrokerUser::of_data(config);
    TrustedFile::key_directories(config).iter().try_for_each(|one| one.check(user))?;
    let by_itself = match &config.root_key {
        RootKey::File(file) if !file.exists() => Some(SlotKey::create_file(file, entropy)?),
        RootKey::File(_) | RootKey::Credential(_) => Some(slot_key(config)?),
        RootKey::Attended => None,
    };
    let mut slots: Vec<SlotKey> = by_itself.into_iter().chain(second).collect();
    if slots.is_empty() {
        let why = "`[root_key]` has `attended = true`, and the command names no unseal key";
        return Err(CommandFailure::usage(
            why,
            "add `--passphrase`, or `--root-key-file FILE` on a removable medium",
        ));
    }
    private_dir(&config.data_dir)?;
    let keyring = Keyring::create(&path, &slots, clock.now(), entropy);
    Ok((keyring?, slots.swap_remove(0)))
}
