use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use super::data_dir::{keyring_path, store_options};
use super::duty::ServeMode;
use super::environment::Environment;
use super::failures::start_failed;
use super::ledger_place::not_opened;
use super::location::DataLocation;
use super::runtime_dir::kept_orders;
use super::sealing_keys::keep_sealing_keys;
use super::webhook::webhook;
use crate::base::code;
use crate::base::encoding::hex;
use crate::base::limits::{
    EARLIER_DIGESTS_MAX, EXPLANATIONS_BURST, EXPLANATIONS_PER_S, VALUE_CHECKS_PER_MINUTE,
};
use crate::base::{LedgerId, OperatorId};
use crate::broker::{
    self, EntryLimits, Followed, Founding, HeavyWork, KeyedLocks, KeyringAccess, KeyringContents,
    LedgerReadings, Notaries, Notifications, OperatorUses, Proofs, Publishing, PutValues, RequestLimits,
    Services, Settings, Signing, State, UpstreamAccess, Values, World, authorities, notary, record_slots,
    root_is_current, token_keys, value_key_is_there,
};
use crate::config::Config;
use crate::console::CommandFailure;
use crate::crypto::{AeadKey, MacKey, ValueDigestKeys};
use crate::issuance::Issuer;
use crate::keyring::{Family, Keyring};
use crate::ledger::OpenReport;

use crate::policy::LifeLimits;
use crate::quota::{Denials, DenialsBySource, Guesses, Limiter, Rate};
use crate::secrets::{Opener, Sealer};
use crate::store::{AcceptedLoss, OnLostEntries, Store};
use crate::telemetry::{Alarm, Alarms, Meters};
use crate::token::{MintedLately, Verifier};

/// Denials of one agent or operator with their own ledger entry: this number at once, then one per second.
const DENIAL_BURST: u32 = 30;

/// Opens the store and builds the rooms. Each key goes only to the room that uses it.
pub(crate) async fn assemble(
    config: &Config,
    mut keyring: Keyring,
    environment: &Environment,
    on_lost_entries: OnLostEntries,
    duty: ServeMode,
) -> Result<(Services, ServeMode), CommandFailure> {
    let options = store_options(config, environment, on_lost_entries, duty)?;
    let opened = Store::open(&options, &keyring);
    let (store, report) = opened.map_err(|error| not_opened(config, error))?;
    tracing::info!(head = store.head().seq, report = ?report, "the ledger is open");
    let (duty, alarms) = located(&store, config, environment, claimed(&report, duty)).await?;
    let (clock, entropy) = (&*environment.clock, &*environment.entropy);
    let founding = Founding { trust_domain: &config.trust_domain, clock, entropy };
    root_is_current(&store, &keyring)?;
    let authorities = authorities(&store, &founding, &keyring).await?;
    let token_keys = token_keys(&store, &founding, &keyring).await?;
    let notary = notary(&store, &keyring, &config.trust_domain)?;
    value_key_is_there(&store, &keyring)?;
    let store = keep_sealing_keys(store, &mut keyring, config, environment).await?;
    let issuer_name = config.tokens.issuer.as_str();
    let opener = Opener::new(value_keys(&keyring)?);
    let issuer = Issuer::new(token_keys, authorities, opener, issuer_name.to_owned());
    let verifier = Verifier::new(issuer_name, &issuer.key_set()).map_err(|error| start_failed(&error))?;
    let sealer = Sealer::new(keyring.aead(Family::Value)?);
    sealer.count_from(store.read(|world, _| world.secrets.seals()));
    let digests = MacKey::new(keyring.current(Family::Digest)?.1);
    let meters = Arc::new(Meters::new(store.syncs(), &alarms));
    let services = Services {
        signing: Signing {
            issuer,
            followed: store.read(|world, _| Followed::of(world)),
            notaries: Notaries::new(notary),
            proofs: Proofs::default(),
            verifier,
            minted: MintedLately::default(),
        },
        values: Values {
            sealer,
            key_lock: tokio::sync::Mutex::default(),
            put: PutValues::new(&*environment.entropy),
            digests: ValueDigestKeys::derive(keyring.generations(Family::Digest)),
            checks: value_checks(environment),
        },
        limits: request_limits(config, environment, HeavyWork::new(meters.heavy_requests())),
        upstream: UpstreamAccess {
            driver_context: environment.for_upstreams(config),
            breakers: Mutex::default(),
            leasing: KeyedLocks::default(),
            making: Mutex::default(),
            renewals: KeyedLocks::default(),
            login_prefix: login_prefix(keyring.ledger()),
            webhook: webhook(config, environment)?,
        },
        notifications: Notifications::new(meters, Arc::clone(&environment.clock)),
        state: State {
            store,
            clock: Arc::clone(&environment.clock),
            entropy: Arc::clone(&environment.entropy),
            digests,
            earlier_digests: earlier_digests(&keyring),
            kept_orders: kept_orders(config)?,
            operator_uses: OperatorUses::default(),
            ledger_readings: LedgerReadings::default(),
        },
        keyring: KeyringAccess {
            ring: Mutex::new(keyring),
            path: keyring_path(config),
            writing: Mutex::default(),
            checkpoint_lock: tokio::sync::Mutex::default(),
            publishing: Publishing::default(),
        },
        settings: settings(config),
    };
    Ok((services, duty))
}

/// The duty of a broker whose ledger was opened so: without a claim, it only reads.
fn claimed(report: &OpenReport, wanted: ServeMode) -> ServeMode {
    if report.is_claimed || wanted == ServeMode::ReadOnly {
        return wanted;
    }
    tracing::error!(
        code = %code::DATA_COPIED,
        "the broker of another data directory has claimed the ledger in the database: this one is in read-only mode until `keyward adopt`"
    );
    ServeMode::ReadOnly
}

/// Builds the rooms for a verb that records; fails if the data are a copy that no order adopts.
pub(crate) async fn assemble_to_record(
    config: &Config,
    keyring: Keyring,
    environment: &Environment,
) -> Result<Services, CommandFailure> {
    match assemble(config, keyring, environment, OnLostEntries::Refuse, ServeMode::Full).await? {
        (services, ServeMode::Full) => Ok(services),
        (_, ServeMode::ReadOnly) => Err(CommandFailure::new(code::DATA_COPIED)),
    }
}

/// The duties of a broker with these data, and its alarms. The location of the data is recorded first.
async fn located(
    store: &Store<World>,
    config: &Config,
    environment: &Environment,
    wanted: ServeMode,
) -> Result<(ServeMode, Alarms), CommandFailure> {
    let found = DataLocation::at(&config.data_dir, store, environment)?;
    let duty = found.duty(store, wanted);
    restrict(store, duty);
    let alarms = alarms_of(store).await?;
    if duty == ServeMode::Full {
        found.record(store, &alarms).await?;
    }
    Ok((duty, alarms))
}

fn request_limits(config: &Config, environment: &Environment, heavy: HeavyWork) -> RequestLimits {
    let (quota, clock) = (&config.quota, || Arc::clone(&environment.clock));
    let mints = Rate { per_s: quota.mints_per_s, burst: quota.mints_burst };
    let introspections = Rate { per_s: quota.introspections_per_s, burst: quota.introspections_burst };
    let enrolments = Rate { per_s: quota.enrolments_per_s, burst: quota.enrolments_burst };
    let operations = Rate { per_s: quota.operations_per_s, burst: quota.operations_burst };
    RequestLimits {
        mints: Limiter::new(mints, clock()),
        explanations: Limiter::new(explanations(), clock()),
        introspections: Limiter::new(introspections, clock()),
        enrolments: Limiter::new(enrolments, clock()),
        entries: EntryLimits {
            agents: Denials::new(Limiter::new(denials(), clock())),
            operators: Denials::new(Limiter::new(denials(), clock())),
            elsewhere: DenialsBySource::new(clock()),
        },
        operator_requests: Limiter::new(operations, clock()),
        heavy,
    }
}

/// Makes the store read-only before any other step: a start records, too.
fn restrict(store: &Store<World>, duty: ServeMode) {
    if duty == ServeMode::ReadOnly {
        store.make_read_only();
        tracing::warn!("the broker is in read-only mode: it records, issues and revokes nothing");
    }
}

/// The alarms of `store`. The first one is an accepted loss of entries, which is recorded.
async fn alarms_of(store: &Store<World>) -> Result<Alarms, CommandFailure> {
    let alarms = Alarms::new();
    if store.is_read_only() {
        return Ok(alarms);
    }
    let lost = store.record_accepted_loss().await.map_err(broker::Failure::from)?;
    if let Some(AcceptedLoss { what, .. }) = lost {
        alarms.raise(
            Alarm::DataLossAccepted,
            format_args!("an operator accepted a loss of entries: {what}; repeat the revocations of that time, and see docs/how-to/recover.md"),
        );
    }
    Ok(alarms)
}

/// The rate limit of checks of leaked texts.
fn value_checks(environment: &Environment) -> Guesses<OperatorId> {
    let times = NonZeroU32::new(VALUE_CHECKS_PER_MINUTE).unwrap_or(NonZeroU32::MIN);
    let clock = || Arc::clone(&environment.clock);
    Guesses::new(Limiter::per_minute(times, times, clock()), clock())
}

fn explanations() -> Rate {
    let at_least_one = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Rate { per_s: at_least_one(EXPLANATIONS_PER_S), burst: at_least_one(EXPLANATIONS_BURST) }
}

fn denials() -> Rate {
    let one = NonZeroU32::MIN;
    Rate { per_s: one, burst: NonZeroU32::new(DENIAL_BURST).unwrap_or(one) }
}

/// The prefix of logins, from the random last bytes of the ledger id, so that two brokers at one server do not confuse
/// their logins.
fn login_prefix(ledger: LedgerId) -> String {
    let [.., a, b, c, d] = *ledger.as_bytes();
    format!("kw_{}_", hex(&[a, b, c, d]))
}

fn settings(config: &Config) -> Settings {
    Settings {
        trust_domain: config.trust_domain.clone(),
        address: config.server.address.clone(),
        admin_address: config.server.admin_address.clone(),
        agent_life_s: config.certificates.agent_life_s,
        renewal_grace_s: config.certificates.renewal_grace_s,
        authority_life_s: config.certificates.authority_life_s,
        operator_life_s: config.certificates.operator_life_s,
        operator_renewal_grace_s: config.certificates.operator_renewal_grace_s,
        service_life_s: config.certificates.service_life_s,
        value_key_life_s: config.secrets.key_life_s,
        keep_versions: config.secrets.keep_versions,
        sealing_key_life_s: config.ledger.key_life_s,
        checkpoint_key_life_s: config.checkpoints.key_life_s,
        token_key_life_s: config.tokens.key_life_s,
        tokens: LifeLimits { default_s: config.tokens.life_s, broker: config.tokens.issuer.clone() },
        widening_second_operator: config.policies.widening_second_operator,
    }
}

/// All generations of the value key: more than one during a rotation.
fn value_keys(keyring: &Keyring) -> Result<Vec<AeadKey>, CommandFailure> {
    let generations = keyring.generations(Family::Value).map(|(generation, _)| generation);
    let keys = generations.map(|generation| keyring.aead_of(Family::Value, generation));
    Ok(keys.collect::<Result<_, _>>()?)
}

/// The former digest keys, newest first, so that a replayed request is recognised after a rotation of these keys.
fn earlier_digests(keyring: &Keyring) -> Vec<MacKey> {
    let keys: Vec<_> = keyring.generations(Family::Digest).map(|(_, key)| key).collect();
    keys.iter().rev().skip(1).take(EARLIER_DIGESTS_MAX).map(|key| MacKey::new(key)).collect()
}

/// The recorded actor of unexplained slot changes.
pub(crate) const FOUND_AT_START: &str = "found at start";

/// Records the changes of the keyring's slots since the last record.
pub(crate) async fn record_slot_changes(services: &Services, by: &str) -> Result<(), CommandFailure> {
    let found = {
        let keyring = services.keyring.ring.lock().unwrap_or_else(PoisonError::into_inner);
        KeyringContents::of(&keyring, &services.keyring.path)?
    };
    Ok(record_slots(&services.state, &found, by).await?)
}
