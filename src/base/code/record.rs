//! The broker's records: what a request concerns, and whether the broker can record the request.

super::codes! {
    AGENT_UNKNOWN "agent_unknown" NotFound:
        "there is no agent of this name",
        "check the name: `keyward agent list` shows the agents";
    NAME_RESERVED_BY_OWNER "name_reserved_by_owner" Conflict:
        "the name belonged to another owner before; systems that still use it would reach your object",
        "choose another name, or ask an operator with the scope `all` to declare it";
    NAME_DELETED "name_deleted" Conflict:
        "an agent or an operator of this name was deleted; the name stays reserved, because certificates with it were trusted",
        "choose another name";
    SECRET_IN_USE "secret_in_use" Conflict:
        "a capability, a rotation or a lease still needs the secret",
        "remove the objects that the message names from your declarations (`keyward plan --prune -f FILES` shows the effect), then delete the secret";
    TOO_MANY_FORMER_NAMES "too_many_former_names" Conflict:
        "the name is new, and the broker has reached its limit of remembered names, for this owner or for all owners",
        "use a former name of the owner again, or ask an operator with the scope `all` to declare the name";
    REPLAY_TOKEN_REVOKED "replay_token_revoked" Conflict:
        "the first request with this Idempotency-Key got a token that is revoked or expired now",
        "send the request with a new Idempotency-Key";
    ROLE_UNKNOWN "role_unknown" NotFound:
        "a role that the request names is not declared",
        "check the name (`keyward role list`), or declare the role in a file and `keyward apply` it";
    POLICY_UNKNOWN "policy_unknown" NotFound:
        "there is no policy of this name",
        "check the name: `keyward policy list` shows the policies";
    POLICY_VERSION_UNKNOWN "policy_version_unknown" NotFound:
        "the ledger has no such version of the policy within your scope",
        "`keyward policy history NAME` lists the versions of a policy with their hashes; `keyward policy history` those of all policies together";
    ROLLBACK_DIFFERS "rollback_differs" Conflict:
        "the application would not make the version that the rollback names",
        "use `keyward policy rollback`, which makes the declarations from the ledger";
    WIDENING_NOT_CONFIRMED "widening_not_confirmed" Conflict:
        "the application gives more access than before, and the request does not confirm this; nothing was changed",
        "read what becomes reachable (`keyward plan -f FILE`), then add `--widen` to `keyward apply`";
    DECISION_UNKNOWN "decision_unknown" NotFound:
        "the ledger has no decision of this id, or none that the caller may see",
        "copy the id from the answer to the request, or from `keyward audit list`";
    SECRET_UNKNOWN "secret_unknown" NotFound:
        "there is no secret of this name, or no value is stored in it",
        "check the name; an operator stores the value with `keyward secret put NAME`";
    SUBJECT_UNKNOWN "subject_unknown" NotFound:
        "there is no agent, instance or certificate of this name, id or serial number",
        "`keyward agent list` shows the agents, `keyward agent show NAME` the instances and certificates of one";
    ENROLMENT_CODE_UNKNOWN "enrolment_code_unknown" NotFound:
        "there is no enrolment code of this id within your scope, or it ended more than a day ago",
        "`keyward agent show NAME` and `keyward operator show NAME` list the codes that can be used; `keyward audit list --kind \
         agent.invited` shows the ids of all";
    INCIDENT_UNKNOWN "incident_unknown" NotFound:
        "there is no incident of this id within your scope",
        "`keyward incident list` shows the incidents";
    INCIDENT_CLOSED "incident_closed" Conflict:
        "the incident is closed: its record takes notes, and nothing else",
        "open another incident: `keyward incident open SUBJECT --reason TEXT`, or `keyward contain SUBJECT --reason TEXT`";
    INCIDENT_STILL_CONTAINS "incident_still_contains" Conflict:
        "the incident still contains a subject, so it cannot be closed",
        "lift the containment first: `keyward lift INCIDENT --reason TEXT`";
    INCIDENT_CONTAINS_NOTHING "incident_contains_nothing" Conflict:
        "the incident contains no subject, so there is nothing to lift",
        "there is nothing to do; to end the incident: `keyward incident close INCIDENT --cause TEXT`";
    INCIDENT_FULL "incident_full" Conflict:
        "the record of the incident has reached a limit",
        "open another incident for the rest: `keyward incident open SUBJECT --reason TEXT`";
    TOO_MANY_INCIDENTS "too_many_incidents" Conflict:
        "the broker has reached its limit of open incidents without a containment",
        "close incidents that are over: `keyward incident list --open`, then `keyward incident close INCIDENT --cause TEXT`";
    SUBJECT_CONTAINED "subject_contained" Conflict:
        "an incident contains the subject: it can be neither resumed nor invited until the containment is lifted",
        "lift the containment: `keyward lift INCIDENT --reason TEXT`; `keyward incident list` shows the incidents";
    OPERATOR_UNKNOWN "operator_unknown" NotFound:
        "there is no operator of this name",
        "check the name (`keyward operator list`), or create the operator: `keyward operator invite NAME --role ROLE`";
    ENTRY_UNKNOWN "entry_unknown" NotFound:
        "the ledger has no entry of this number, or none that this operator may see",
        "`keyward audit list` lists the newest entries";
    ROUTE_UNKNOWN "route_unknown" NotFound:
        "this listener has no such route",
        "check path and port: agents and operators have a listener each; /openapi.json lists its routes";
    GENERATION_UNKNOWN "generation_unknown" NotFound:
        "the key has no generation of this number",
        "`keyward token-key list` or `keyward authority list` shows the generations";
    BROKER_FROZEN "broker_frozen" Unavailable:
        "the broker is frozen: it issues no tokens, reveals no secrets and gives no leases",
        "ask an operator; requests work again once an operator thaws the broker: `keyward thaw --reason TEXT`";
    BROKER_NOT_FROZEN "broker_not_frozen" Conflict:
        "the broker is not frozen",
        "there is nothing to do: the broker serves requests";
    SEALED "sealed" Unavailable:
        "the broker is sealed: it holds no keys until it is unsealed",
        "on the broker's host: `keyward unseal`";
    NOT_SEALED "not_sealed" Conflict:
        "the broker is not sealed",
        "there is nothing to do: the broker serves requests";
    UNSEAL_FAILED "unseal_failed" Unavailable:
        "the broker did not start after it was unsealed, and is sealed again",
        "the message begins with another code: `keyward help error CODE` says how to correct that; then run `keyward unseal` again";
    PENDING_ORDERS_FULL "pending_orders_full" Conflict:
        "the queue of pending orders is full",
        "unseal the broker (`keyward unseal`): it carries the orders out before it serves requests";
    PENDING_ORDER_NOT_STORED "pending_order_not_stored" Unavailable:
        "the order could not be stored, and will not be carried out",
        "correct the fault of the data disk, then give the order again";
    OPERATOR_IS_BREAK_GLASS "operator_is_break_glass" Conflict:
        "this is the operator of break-glass access: it gets one certificate for one hour, and cannot be invited or renewed",
        "choose another name; for another hour of access run `keyward break-glass operator` on the broker's host";
    OPERATOR_IS_PROGRAM "operator_is_program" Conflict:
        "the operator is a service or an automation; the host gives an admin's certificate only to a person",
        "name an operator that is a person, or a new operator: `keyward init --reissue-operator --operator NAME`";
    CERTIFICATES_NOT_RENEWED "certificates_not_renewed" Conflict:
        "some live agents or operators have not renewed their certificates since the newer authority was prepared or activated, and would lose access",
        "wait until these agents and operators have renewed (`keyward authority list` counts them); `--force` makes the change now, and they lose access";
    GENERATION_ALREADY_PREPARED "generation_already_prepared" Conflict:
        "the key has a generation in the state `prepared` already",
        "activate that generation, or revoke it and prepare a new one";
    GENERATION_INVALID_STATE "generation_invalid_state" Conflict:
        "the generation's state does not allow this step",
        "the states are prepared, active, old, tainted, revoked, in this order; activating the next generation makes the active one old";
    REPLAY_SECRET_NOT_STORED "replay_secret_not_stored" Conflict:
        "the request with this Idempotency-Key was carried out; its response held a secret, which the broker does not store",
        "if you lost that response, send the request with a new Idempotency-Key; an unused code or login of the first request expires";
    ENROLMENT_CODE_USED "enrolment_code_used" Conflict:
        "the enrolment code was used with another key and has no uses left; the broker has raised an alarm",
        "if fewer machines used the code than it has uses, another person has it: tell an operator at once; for one machine more than the code has uses, ask for a new code";
    OPERATOR_WITHOUT_PERSON "operator_without_person" Conflict:
        "the operator is not recorded as a person, and only persons have approval keys and approve requests",
        "ask an admin to record the person: `keyward operator update NAME --person PERSON`; a service or an automation cannot approve";
    APPROVAL_KEY_UNKNOWN "approval_key_unknown" NotFound:
        "the operator has proposed no approval key with this fingerprint",
        "ask the operator to read the fingerprint to you (`keyward approval key show`); `keyward operator show NAME` shows the proposed key";
    APPROVAL_KEY_IN_USE "approval_key_in_use" Conflict:
        "the key belongs to a certificate, or is the approval key of another operator",
        "make a new key, as `keyward approval key create` does";
    ENROLMENT_KEY_IN_USE "enrolment_key_in_use" Conflict:
        "the key of the certificate request belongs to another agent",
        "make a new key for every agent, as `keyward join` does; the enrolment code is still valid";
    TOO_MANY_INSTANCES "too_many_instances" Conflict:
        "the agent has as many live instances as `max_instances` of its declaration allows",
        "ask an operator to raise `max_instances` in the agent's declaration (`keyward apply`), or to revoke an instance that is no longer used (`keyward agent revoke --instance ID`); that also revokes the enrolment code that the instance had used, with its unused uses, so that further machines need a new code (`keyward agent invite NAME`)";
    RENEWAL_SAME_KEY "renewal_same_key" Conflict:
        "the certificate request contains the key of the current certificate",
        "make a new key for every renewal, as `keyward renew` does";
    RENEWAL_KEY_IN_USE "renewal_key_in_use" Conflict:
        "the key of the certificate request belongs to another certificate",
        "make a new key for every renewal, as `keyward renew` does";
    AGENT_SUSPENDED "agent_suspended" Conflict:
        "the agent is suspended: its enrolment codes would be refused",
        "resume it first (`keyward agent resume NAME`), then invite it again; what was revoked stays revoked";
    OPERATOR_SUSPENDED "operator_suspended" Conflict:
        "the operator is suspended: its enrolment codes would be refused",
        "resume it first (`keyward operator resume NAME`), then invite it again; what was revoked stays revoked";
    AGENT_ROLES_MISMATCH "agent_roles_mismatch" Conflict:
        "the agent exists and has other roles than the invitation names",
        "leave the roles out of the invitation; to change them, declare the agent with all its roles in a `[[agent]]` table (`keyward export` prints the present one), then `keyward plan -f FILE` and `keyward apply -f FILE`";
    AGENT_PERSON_MISMATCH "agent_person_mismatch" Conflict:
        "the agent exists and acts for another person than the invitation names",
        "leave the person out of the invitation, or change it in the agent's declaration and `keyward apply` it";
    OPERATOR_ROLE_MISMATCH "operator_role_mismatch" Conflict:
        "the operator exists and has another role or owner than the request names or expects",
        "leave role and owner out of an invitation, or change the role first: `keyward operator role NAME ROLE`; for a change, read the present role (`keyward operator show NAME`) and decide again";
    OPERATOR_PROFILE_MISMATCH "operator_profile_mismatch" Conflict:
        "the operator exists, and its kind, networks, life or person differ from those that the request names or expects",
        "leave them out of an invitation, or change them first: `keyward operator update NAME` (the kind never changes); for a change, read the present profile (`keyward operator show NAME`) and decide again";
    LAST_ADMIN "last_admin" Conflict:
        "this is the last unrestricted admin that can act",
        "invite another admin first, and wait until it has joined: `keyward operator invite NAME --role admin`";
    VERSION_UNKNOWN "version_unknown" NotFound:
        "the secret has no version of this number",
        "`keyward secret versions NAME` lists the versions";
    VERSION_INVALID_STATE "version_invalid_state" Conflict:
        "the version is the current one, is part of a rotation, or is destroyed",
        "name a former version: `keyward secret versions NAME` lists them";
    SECRET_HAS_ROTATION "secret_has_rotation" Conflict:
        "the secret is rotated, and its upstream no longer accepts the former value",
        "rotate the secret instead (`keyward secret rotate NAME`), or store a value that the upstream accepts (`keyward secret put NAME`)";
    SENSITIVITY_CANNOT_BE_LOWERED "sensitivity_cannot_be_lowered" Conflict:
        "the secret has the sensitivity `high`, and storing a value cannot lower it",
        "leave the sensitivity out; lower it with a separate command: `keyward secret classify NAME ordinary`";
    VERSION_MISMATCH "version_mismatch" Conflict:
        "the secret's current version is not the one that the request expects",
        "read the current version (`keyward secret show NAME`), then decide again";
    PLAN_OUTDATED "plan_outdated" Conflict:
        "the files or the present declarations are not those of the plan any more; nothing was changed",
        "plan again with the same files (`keyward plan -f FILE`), read the changes, then apply the plan of the new id";
    EXPORT_TOO_LARGE "export_too_large" Conflict:
        "the declarations are longer than one upload may be, so they could not be applied together",
        "export them in parts: `keyward export --kind KIND` or `--owner OWNER`";
    ROTATION_UNKNOWN "rotation_unknown" NotFound:
        "no rotation is declared for a secret of this name",
        "check the name (`keyward rotation list`), or declare a `[[rotation]]` in a file and `keyward apply` it";
    ROTATION_IN_PROGRESS "rotation_in_progress" Conflict:
        "a rotation of the secret is in progress, and its upstream may have the new value",
        "wait until it has ended (`keyward rotation show NAME`); if it needs attention, adopt the version that works: `keyward rotation adopt NAME`";
    ROTATION_IN_GRACE_PERIOD "rotation_in_grace_period" Conflict:
        "the previous version is in its grace period, and a new rotation would revoke it too early",
        "wait until the grace period has ended, or end it (`keyward rotation revoke-previous NAME`), then rotate again";
    ROTATION_HAS_ORPHANS "rotation_has_orphans" Conflict:
        "the upstream may hold orphans: values of earlier attempts that the broker does not use",
        "delete them at the upstream (`keyward rotation show NAME` lists them), then `keyward rotation clear-orphans NAME`";
    ROTATION_NO_VERSION_ACCEPTED "rotation_no_version_accepted" Conflict:
        "the upstream accepts none of the versions that the broker tried",
        "try another version (`keyward secret versions NAME`, then `keyward rotation adopt NAME VERSION`), or set a value at the upstream and store the same with `keyward secret put NAME`";
    ROTATION_INVALID_STATE "rotation_invalid_state" Conflict:
        "the state of the rotation does not allow this step",
        "`keyward rotation show NAME` shows the state and the next steps";
    CAPABILITY_UNKNOWN "capability_unknown" NotFound:
        "no capability of this name is delivered as a lease",
        "check the name: `keyward whoami` lists an agent's capabilities, `keyward capability list` (operators) all of them";
    LEASE_UNKNOWN "lease_unknown" NotFound:
        "there is no lease of this id, or it has ended, or it belongs to another agent",
        "check the id; get a new lease with `keyward lease get CAPABILITY`";
    LEASE_NOT_ACTIVE "lease_not_active" Conflict:
        "the lease has expired or is being revoked",
        "get a new one: `keyward lease get CAPABILITY`";
    LEASE_INVALID_STATE "lease_invalid_state" Conflict:
        "no revocation of this lease has failed: there is nothing to retry or to forget",
        "`keyward lease list` shows the state; `keyward lease revoke ID` revokes the lease";
    LEASE_MAX_LIFE_REACHED "lease_max_life_reached" Conflict:
        "the lease has reached the longest life that its capability allows",
        "get a new one: `keyward lease get CAPABILITY --fresh`";
    SECRET_VALUE_UNCERTAIN "secret_value_uncertain" Unavailable:
        "the secret is being rotated, and the broker does not know yet which value the upstream accepts",
        "repeat the request in some seconds; if it keeps failing, tell an operator: `keyward rotation show NAME` has the cause";
    SECRET_WITHOUT_VALUE "secret_without_value" Unavailable:
        "the secret has no value yet: its rotation has not made the first one",
        "repeat the request in some seconds; if it keeps failing, tell an operator: `keyward rotation show NAME` has the cause";
    SIGNING_KEY_MISSING "signing_key_missing" Unavailable:
        "the keyring lacks a key that the ledger names: the keyring is an older copy",
        "stop the broker, put the newest copy of the file `keyring` into the data directory, and start it again";
    LEDGER_FAILED "ledger_failed" Unavailable:
        "a write to the ledger failed: whether the request was recorded is unknown",
        "repeat the request with the same Idempotency-Key once the broker works again; operators: correct the fault of the data disk, then restart the broker";
    LEDGER_UNWRITTEN "ledger_unwritten" Unavailable:
        "a write to the ledger failed, and nothing was written",
        "repeat the request later; operators: check the data disk; the broker's log has the error, and the broker continues by itself once writes succeed";
    READ_ONLY "read_only" Unavailable:
        "the broker is in read-only mode (`serve --read-only`, or a copy of the data that is not adopted): it records, issues and revokes nothing",
        "use the broker that serves these data; operators: once all other brokers with these data have stopped for good, restart this one without `--read-only`, or run `keyward adopt` on its host";
    TOKEN_KEY_TOO_NEW "token_key_too_new" Conflict:
        "the token key was published less than 60 seconds ago, and verifiers may not have fetched it yet",
        "activate it later; `--force` activates it now, and verifiers refuse its tokens until they have fetched it";
    DATA_COPIED "data_copied" Unavailable:
        "the data directory is a copy: the broker last served these data with another file `lock`",
        "the broker serves in read-only mode; when no other broker will serve these data again, run `keyward adopt` on this host";
    CLOCK_UNTRUSTED "clock_untrusted" Unavailable:
        "the system clock and the boot clock of the broker's host disagree, so the broker issues no credential that could be valid for too long",
        "repeat the request later; operators: correct the system clock of the broker's host; if the broker does not adopt the clock by itself, run `keyward clock accept` on that host; until then `keyward break-glass contain SUBJECT --reason TEXT` and `keyward break-glass freeze --reason TEXT` work on that host, as root";
    LEDGER_STALLED "ledger_stalled" Unavailable:
        "the broker's data disk does not answer a write",
        "repeat the request later; operators: check the data disk; the broker continues by itself once the disk answers";
    LEDGER_NO_SPACE "ledger_no_space" Unavailable:
        "the broker's data disk has no space for the next segment of the ledger, which needs 64 MiB",
        "repeat the request later; operators: free at least 64 MiB on the data disk (docs/runbooks/full-disk.md); the broker continues by itself";
    REVOCATION_UNRECORDED "revocation_unrecorded" Unavailable:
        "a revocation or suspension of the same subject is in force, but not recorded in the ledger yet",
        "repeat the request later; operators: check the data disk; the broker records the revocation by itself once the disk answers";
    LEDGER_BUSY "ledger_busy" Unavailable:
        "the ledger's queue of writes is full",
        "repeat the request in some seconds";
    OVERLOADED "overloaded" Unavailable:
        "the broker has reached its limit of requests in progress",
        "wait as long as Retry-After says; if it lasts, the broker needs more cores or a faster disk";
    TOO_MANY_HEAVY_REQUESTS "too_many_heavy_requests" Unavailable:
        "the broker has reached its limit of heavy requests in progress (plan, apply, calendar, report)",
        "wait as long as Retry-After says; revocations are never limited";
    EVIDENCE_RANGE_EMPTY "evidence_range_empty" Conflict:
        "the range of the evidence bundle contains no time before now",
        "correct `--since` and `--until`; compare the clocks of both machines";
    EVIDENCE_TOO_LARGE "evidence_too_large" Conflict:
        "the range has more entries than an evidence bundle may have",
        "make several bundles with `--since` and `--until`";
    HEAVY_TIMEOUT "heavy_timeout" Unavailable:
        "the request took longer than 20 seconds and was cancelled; nothing was changed",
        "divide the declarations into smaller uploads, or repeat the request when the broker has less to do";
    KEY_EXHAUSTED "key_exhausted" Unavailable:
        "the value key has reached its limit of records, or the keyring its limit of writes; the message says which",
        "value key: wait a minute until the broker has rotated it (at once: `keyward value-key rotate`); keyring: it cannot be changed any more, set up a new broker";
    MODIFIED_CONCURRENTLY "modified_concurrently" Unavailable:
        "other requests kept changing the same objects while this one was decided; nothing was changed",
        "repeat the request in some seconds";
    INTERNAL "internal" Internal:
        "a fault in the broker prevented the request",
        "give the request id to an operator: the broker's log has the cause under this id";
    ISSUANCE_FAILED "issuance_failed" Internal:
        "the broker failed to sign or decrypt after it had recorded the request",
        "give the request id to an operator: the broker's log has the cause under this id";
    RECORD_UNREADABLE "record_unreadable" Internal:
        "the broker cannot read one of its own records",
        "give the request id to an operator: the broker's log has the cause under this id";
    AUTHORITY_FAILED "authority_failed" Internal:
        "the broker's certificate authority failed to sign",
        "give the request id to an operator: the broker's log has the cause under this id";
    KEYRING_FAILED "keyring_failed" NotStarted:
        "the broker cannot read or write its keyring",
        "check the file `keyring` in the data directory, its disk and its permissions";
    LEDGER_DAMAGED "ledger_damaged" Unverified:
        "the ledger is damaged",
        "keep the data directory as it is; `keyward verify` names the damaged place; then restore the ledger from its backup: docs/how-to/recover.md";
}
