//! Which files of the use cases sign, open, seal, change the keyring or change the records: a listing is in no list.

use super::assert_none;
use super::confined::reviewed;
use crate::support::source::{Source, sources};

/// A service of the broker, by what a file says that uses it. Reviewed: a file that is added here can do it from then on.
struct Service {
    does: &'static str,
    says: &'static [&'static str],
    files: &'static [&'static str],
}

const SERVICES: &[Service] = &[
    Service {
        does: "signs tokens or certificates",
        says: &[".mint(", ".mint_again(", ".certify(", ".certify_server("],
        files: &[
            "src/broker/identity/bootstrap.rs",
            "src/broker/identity/certificates.rs",
            "src/broker/tokens/mint.rs",
        ],
    },
    Service {
        does: "opens values of secrets or leases",
        says: &[".reveal(", ".lend(", ".rewrap(", "issuer.lease(", ".begin_lease(", ".lease_again("],
        files: &[
            "src/broker/keys/rotate_value_key.rs",
            "src/broker/leases/issue.rs",
            "src/broker/leases/lease_upstream.rs",
            "src/broker/rotation/context.rs",
            "src/broker/secrets/reveal.rs",
        ],
    },
    Service {
        does: "seals values of secrets or leases",
        says: &[".seal("],
        files: &["src/broker/rotation/advance.rs", "src/broker/secrets/put_secret.rs"],
    },
    Service {
        does: "changes the keyring",
        says: &["change_keyring("],
        files: &[
            "src/broker/keys/keyring_file.rs",
            "src/broker/keys/rotate_checkpoint_key.rs",
            "src/broker/keys/rotate_value_key.rs",
            "src/broker/keys/sealing_keys.rs",
            "src/broker/keys/shed_signing_keys.rs",
            "src/broker/keys/staging.rs",
        ],
    },
    Service {
        does: "changes the records",
        says: &[
            ".commit(",
            ".commit_draft(",
            ".change(",
            ".change_once(",
            ".commit_revocation(",
            ".change_revoking(",
        ],
        files: &[
            "src/broker/administration/apply.rs",
            "src/broker/administration/narrow.rs",
            "src/broker/approvals/ask.rs",
            "src/broker/approvals/vote.rs",
            "src/broker/approvals/withdraw.rs",
            "src/broker/changes.rs",
            "src/broker/evidence/export.rs",
            "src/broker/host/clock.rs",
            "src/broker/host/custody.rs",
            "src/broker/host/host_services.rs",
            "src/broker/host/kept.rs",
            "src/broker/host/location.rs",
            "src/broker/host/orders.rs",
            "src/broker/identity/approval_keys.rs",
            "src/broker/identity/bootstrap.rs",
            "src/broker/identity/certificates.rs",
            "src/broker/identity/delete.rs",
            "src/broker/identity/enrol.rs",
            "src/broker/identity/enrol_operator.rs",
            "src/broker/identity/invite.rs",
            "src/broker/identity/last_use.rs",
            "src/broker/identity/operator_profile.rs",
            "src/broker/identity/operators.rs",
            "src/broker/identity/redemption.rs",
            "src/broker/identity/renew.rs",
            "src/broker/identity/renew_operator.rs",
            "src/broker/identity/revoke.rs",
            "src/broker/identity/revoke_code.rs",
            "src/broker/incidents/contain.rs",
            "src/broker/incidents/freeze.rs",
            "src/broker/incidents/lift.rs",
            "src/broker/incidents/record_recognised.rs",
            "src/broker/incidents/records.rs",
            "src/broker/keys/rotate_checkpoint_key.rs",
            "src/broker/keys/rotate_value_key.rs",
            "src/broker/keys/sealing_keys.rs",
            "src/broker/keys/signing_keys.rs",
            "src/broker/keys/staging.rs",
            "src/broker/leases/failed_revocations.rs",
            "src/broker/leases/issue.rs",
            "src/broker/leases/lease_upstream.rs",
            "src/broker/leases/revoke.rs",
            "src/broker/removals.rs",
            "src/broker/rotation/adopt.rs",
            "src/broker/rotation/context.rs",
            "src/broker/rotation/update.rs",
            "src/broker/secrets/classify.rs",
            "src/broker/secrets/delete.rs",
            "src/broker/secrets/put_secret.rs",
            "src/broker/secrets/reveal.rs",
            "src/broker/secrets/versions.rs",
            "src/broker/tokens/mint.rs",
        ],
    },
];

fn of_use_cases() -> Vec<Source> {
    let mut sources = sources("src");
    sources.retain(|source| matches!(source.room(), Some("broker" | "jobs")));
    sources
}

/// What a change relies on follows from what was read: a use case reads by a `Reading`, which notes the keys.
fn noted_by_hand(sources: &[Source]) -> Vec<String> {
    let changes = SERVICES.last().map_or(&[][..], |service| service.says);
    let mut changing = sources.to_vec();
    changing.retain(|source| changes.iter().any(|say| source.code.contains(say)));
    reviewed(&changing, (&["store.read(", ".store\n"], "reads facts of a change without their keys"), &[])
}

#[test]
fn a_service_is_used_where_it_was_reviewed() {
    let sources = of_use_cases();
    for Service { does, says, files } in SERVICES {
        assert_none(&reviewed(&sources, (says, does), files));
        assert!(files.is_sorted(), "the list is in order");
    }
}

#[test]
fn a_change_relies_on_what_was_read() {
    assert_none(&noted_by_hand(&of_use_cases()));
}

#[test]
fn a_listing_that_signs_is_found() {
    let signing = &SERVICES[0];
    let source = Source::new("src/broker/x.rs", "fn f() { services.signing.issuer.certify(receipt) }");
    assert_eq!(reviewed(&[source], (signing.says, signing.does), &[]).len(), 1);
    let deciding = "fn f() { services.state.store.read(facts); services.state.commit(change) }";
    assert_eq!(noted_by_hand(&[Source::new("src/broker/x.rs", deciding)]).len(), 1);
    let listing = "fn f() { services.state.store.read(view) }";
    assert!(noted_by_hand(&[Source::new("src/broker/x.rs", listing)]).is_empty());
}
