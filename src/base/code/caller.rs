//! Who is calling, and what they may.

super::codes! {
    CERTIFICATE_REQUIRED "certificate_required" Unauthenticated:
        "this route needs a client certificate issued by this broker",
        "connect with the certificate and key that `keyward join` stored";
    CERTIFICATE_EXPIRED "certificate_expired" Unauthenticated:
        "the certificate is outside its time",
        "`keyward renew`, for an agent whose certificate has not ended for long; otherwise enrol again: `keyward agent invite NAME` or `keyward operator invite NAME`, then `keyward join`";
    CERTIFICATE_REVOKED "certificate_revoked" Unauthenticated:
        "the certificate was revoked or suspended",
        "an operator revoked or suspended it: have its holder resumed (`keyward agent resume NAME`, `keyward operator resume NAME`), or invited anew";
    AUTHORITY_REVOKED "authority_revoked" Unauthenticated:
        "the authority that signed the certificate was revoked",
        "enrol again: `keyward agent invite NAME` or `keyward operator invite NAME`, then `keyward join`";
    CERTIFICATE_UNKNOWN "certificate_unknown" Unauthenticated:
        "the certificate is not one that this broker has on record",
        "enrol again: `keyward agent invite NAME` or `keyward operator invite NAME`, then `keyward join`";
    CERTIFICATE_WRONG_KIND "certificate_wrong_kind" Unauthenticated:
        "the certificate is for another kind of caller",
        "agents call the agent listener, operators the admin listener";
    TOKEN_MISSING "token_missing" Unauthenticated:
        "this route needs an access token in the Authorization header",
        "ask for a token at /oauth/token";
    TOKEN_INVALID "token_invalid" Unauthenticated:
        "the token is not one of this broker's, or not for this use",
        "ask for a new token at /oauth/token";
    TOKEN_EXPIRED "token_expired" Unauthenticated:
        "the token's time is over",
        "ask for a new token at /oauth/token";
    TOKEN_REVOKED "token_revoked" Unauthenticated:
        "the token was revoked, or something that it was issued under",
        "ask for a new token at /oauth/token";
    TOKEN_UNRECORDED "token_unrecorded" Unauthenticated:
        "the token names a ledger entry that this broker does not have",
        "ask for a new token at /oauth/token; the broker has raised an alarm";
    TOKEN_NOT_ISSUED "token_not_issued" Unauthenticated:
        "the token is signed with a key of this broker, and the ledger entry that it names did not issue it",
        "ask for a new token at /oauth/token; an operator ends a stolen token key: `keyward token-key revoke GENERATION`";
    TOKEN_TOO_OLD "token_too_old" Unauthenticated:
        "the secret's sensitivity is `high`: it takes no token that was issued more than 300 seconds ago",
        "ask for a new token at /oauth/token";
    TOKEN_BINDING_MISMATCH "token_binding_mismatch" Unauthenticated:
        "the token is bound to another certificate",
        "use the token over the connection of the agent that it was issued to, or ask for a new one";
    ENROLMENT_CODE_INVALID "enrolment_code_invalid" Unauthenticated:
        "the enrolment code is unknown, wrong, or has ended",
        "have an operator make a new one: `keyward agent invite NAME` or `keyward operator invite NAME`";
    CAPABILITY_NOT_GRANTED "capability_not_granted" NotGranted:
        "none of the capabilities asked for is declared and held by a role of this agent",
        "give the agent a role that holds the capability in a declaration file, and `keyward apply` it";
    CAPABILITY_SUSPENDED "capability_suspended" Denied:
        "what is asked for is suspended: the capability, a role that holds it, its owner or its secret",
        "ask an operator who contained it; nothing is issued for it until the suspension is lifted";
    CAPABILITY_DELIVERED_AS_LEASE "capability_delivered_as_lease" InvalidScope:
        "a capability asked for is for a login of one's own, and no token is needed or made for it",
        "`keyward lease get CAPABILITY`, or POST /v1/leases; leave it out of the token request";
    LEASE_NOT_GRANTED "lease_not_granted" Denied:
        "no role of this agent holds a capability of this name that is delivered as a lease",
        "`keyward whoami` lists the agent's capabilities; have an operator give it a role that holds the right one";
    SCOPE_EMPTY_OR_TOO_LONG "scope_empty_or_too_long" InvalidScope:
        "a token request names 1 to 32 capabilities in `scope`",
        "name the capabilities; `keyward whoami` lists them";
    AUDIENCE_MISMATCH "audience_mismatch" InvalidTarget:
        "a token has one audience, and the capabilities or the `resource` asked for have others",
        "ask for one token per audience; `keyward whoami` shows the audience of each capability";
    SECRET_NOT_GRANTED "secret_not_granted" Denied:
        "no capability that the caller holds names this secret",
        "ask for a token with the capability whose secret this is; `keyward whoami` lists them";
    SECRET_OWNER_MISMATCH "secret_owner_mismatch" Denied:
        "the secret's sensitivity is `high`, and the capability belongs to another owner than the secret",
        "declare the capability with the secret's own `owner` and `keyward apply` it, or `keyward secret classify NAME ordinary`";
    CERTIFICATE_EXPIRES_TOO_SOON "certificate_expires_too_soon" Denied:
        "the agent's certificate ends before a token or a login could be of use",
        "enrol again: `keyward agent invite NAME`, then `keyward join`";
    INTROSPECTION_NOT_ALLOWED "introspection_not_allowed" Denied:
        "only a resource server asks about tokens",
        "declare the caller as a `[[resource_server]]` with its audience, and `keyward apply` it";
    OPERATOR_ROLE_INSUFFICIENT "operator_role_insufficient" Denied:
        "this needs another role than the operator has",
        "ask an operator whose role gives it, or have an admin change yours: `keyward operator role NAME ROLE`";
    OPERATOR_SCOPE_INSUFFICIENT "operator_scope_insufficient" Denied:
        "this is not for operators who are bound to an owner",
        "ask an operator who is bound to no owner";
    HOST_USER_NOT_ALLOWED "host_user_not_allowed" Denied:
        "the socket on the broker's host is for root and for the broker's own user",
        "run this on the broker's host as root";
    UNSEAL_KEY_WRONG "unseal_key_wrong" Unauthenticated:
        "what was given opens none of the keyring's slots",
        "mind the case and the keyboard, or name another file; `keyward slot list` shows what opens the keyring";
    LEASE_LIMIT_REACHED "lease_limit_reached" Limited:
        "the agent has as many outstanding leases of this capability as it may have",
        "give leases up that are not needed (`keyward lease give-up ID`), or raise `per_agent` in the lease's declaration";
    RATE_LIMITED "rate_limited" Limited:
        "the caller asks too often",
        "wait as long as Retry-After says, and spread requests out";
    OPERATOR_TOO_MANY_HEAVY_REQUESTS "operator_too_many_heavy_requests" Limited:
        "two heavy requests of this operator (plan, apply, calendar, report, page of the ledger) are under way",
        "wait until one of them has ended; revocations are never limited";
}
