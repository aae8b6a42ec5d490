//! The caller: authentication, rights and limits.

super::codes! {
    CERTIFICATE_REQUIRED "certificate_required" Unauthenticated:
        "the request came without a client certificate of this broker",
        "connect with the certificate and key that `keyward join` stored";
    CERTIFICATE_EXPIRED "certificate_expired" Unauthenticated:
        "the certificate has expired, or is not valid yet",
        "renew it: `keyward renew`, as an operator `keyward renew --operator`; when its grace period has ended too, ask an operator for a new enrolment code, then `keyward join --replace`";
    CERTIFICATE_REVOKED "certificate_revoked" Unauthenticated:
        "the certificate, or its agent, operator or owner, was revoked",
        "ask an operator with the role `admin` why, and for a new enrolment code; then `keyward join --replace`";
    CERTIFICATE_SUSPENDED "certificate_suspended" Unauthenticated:
        "the certificate, or its agent, operator or owner, is suspended or contained",
        "ask an operator with the role `admin` or `security` why; the certificate is valid again once the operator resumes it (`keyward agent resume NAME`, `keyward operator resume NAME`) or lifts the containment (`keyward lift INCIDENT --reason TEXT`)";
    NETWORK_CONTAINED "network_contained" Unauthenticated:
        "the network from which the connection comes is contained by an incident",
        "connect from another network, or ask an operator on another network to end the containment: `keyward incident list`, then `keyward lift INCIDENT --reason TEXT`; if no operator can connect, stop the broker and run `keyward init --reissue-operator` on its host: the broker accepts this certificate from every network";
    AUTHORITY_REVOKED "authority_revoked" Unauthenticated:
        "the authority that signed the certificate was revoked",
        "ask an operator for a new enrolment code, then `keyward join --replace`";
    CERTIFICATE_UNKNOWN "certificate_unknown" Unauthenticated:
        "the certificate is not in this broker's records",
        "check that the address is that of the broker that you joined; if this directory is a copy of a renewed identity, use the renewed one; if no program on your machines renewed the certificate, another person may have a copy of the key and have renewed it: tell an operator, who revokes the instance (`keyward agent revoke --instance ID`), because a new enrolment does not; then ask an operator for a new enrolment code, and `keyward join --replace`; the name of a deleted agent or operator stays reserved, so that the code has to be for another name";
    CERTIFICATE_WRONG_KIND "certificate_wrong_kind" Unauthenticated:
        "the certificate is of a kind that this listener, or this endpoint, does not accept",
        "agents and resource servers call the agents' listener (port 8443 by default), operators the operators' listener (8444 by default); only a resource server introspects tokens, and only an agent gets tokens, secrets and leases";
    TOKEN_MISSING "token_missing" Unauthenticated:
        "the request has no access token in its Authorization header",
        "get a token at /oauth/token, and send `Authorization: Bearer TOKEN`";
    TOKEN_INVALID "token_invalid" Unauthenticated:
        "the token was not issued by this broker for this use",
        "get a new token at /oauth/token";
    TOKEN_EXPIRED "token_expired" Unauthenticated:
        "the token has expired",
        "get a new token at /oauth/token";
    TOKEN_REVOKED "token_revoked" Unauthenticated:
        "the token was revoked, or its agent, its certificate, a role, a capability, or the signing key was",
        "get a new token at /oauth/token; if that is denied, ask an operator";
    TOKEN_UNRECORDED "token_unrecorded" Unauthenticated:
        "the token names a ledger entry that this broker does not have; the broker has raised an alarm",
        "get a new token at /oauth/token";
    TOKEN_NOT_ISSUED "token_not_issued" Unauthenticated:
        "the token has a valid signature of this broker, but the ledger entry that it names did not issue it",
        "get a new token at /oauth/token, and tell an operator: a token key may be stolen";
    TOKEN_TOO_OLD "token_too_old" Unauthenticated:
        "the token is older than 300 seconds, and the secret has the sensitivity `high`",
        "get a new token at /oauth/token";
    TOKEN_BINDING_MISMATCH "token_binding_mismatch" Unauthenticated:
        "the token is bound to another certificate than the one of this connection",
        "use the token over a connection of the agent that got it, or get a new token";
    ENROLMENT_CODE_INVALID "enrolment_code_invalid" Unauthenticated:
        "the enrolment code is wrong, unknown, expired or revoked, or is bound to another network",
        "check that you copied the whole code, and use it on a machine in its network; otherwise ask an operator for a new one: \
         after a use from another network, `keyward audit list --kind enrolment.refused` shows the operator the address";
    ENROLMENT_CODE_REVOKED "enrolment_code_revoked" Unauthenticated:
        "the enrolment code was revoked with an instance that had used it: a revoked machine must not enrol again",
        "ask an operator for a new code: `keyward agent invite NAME`, with `--uses N` for N further machines";
    CAPABILITY_NOT_GRANTED "capability_not_granted" NotGranted:
        "no role of this agent holds any of the requested capabilities",
        "`keyward whoami` lists the agent's capabilities; ask an operator for a role that holds the capability, and name the decision (`dec_…`): `keyward audit list --decision ID` shows it to the operator, who adds the role to the agent's `[[agent]]` table with all its roles (`keyward export`, `keyward apply`)";
    CAPABILITY_SUSPENDED "capability_suspended" Denied:
        "an incident contains the capability, its owner, its secret, or a role that holds it",
        "ask an operator; the request works again once the operator lifts the containment: `keyward lift INCIDENT --reason TEXT`";
    POLICY_DENIED "policy_denied" Denied:
        "a policy denies the request",
        "change the request as the reason of the policy says, or ask an operator: `keyward export --kind policy` shows the operator the rule";
    POLICY_FAILED "policy_failed" Denied:
        "a policy cannot be evaluated for this request, so the request is denied",
        "ask an operator to correct the policy: `keyward export --kind policy` shows the rule, and the log has its name";
    CAPABILITY_DELIVERED_AS_LEASE "capability_delivered_as_lease" InvalidScope:
        "the scope names a capability that is delivered as a lease: there are no tokens for it",
        "leave the capability out of the scope; get its login with `keyward lease get CAPABILITY` or POST /v1/leases";
    LEASE_NOT_GRANTED "lease_not_granted" Denied:
        "no role of this agent holds a capability of this name that is delivered as a lease",
        "`keyward whoami` lists the agent's capabilities; ask an operator for a role that holds the capability, and name the decision (`dec_…`): `keyward audit list --decision ID` shows it to the operator, who adds the role to the agent's `[[agent]]` table with all its roles (`keyward export`, `keyward apply`)";
    SCOPE_EMPTY_OR_TOO_LONG "scope_empty_or_too_long" InvalidScope:
        "`scope` names no capability, or more than 32",
        "name 1 to 32 capabilities; `keyward whoami` lists them";
    AUDIENCE_MISMATCH "audience_mismatch" InvalidTarget:
        "the requested capabilities have several audiences, or another one than `resource` names",
        "get one token for each audience; `keyward whoami` shows the audience of each capability";
    CAPABILITY_ACTION_MISMATCH "capability_action_mismatch" InvalidDetails:
        "`authorization_details` names another action than the access of the capability",
        "leave `actions` out, or name the access that `keyward whoami` shows";
    TOKEN_TOO_LARGE "token_too_large" InvalidScope:
        "the token would have more than 4,096 bytes, and the broker would not accept it",
        "request fewer capabilities, or shorter parameters";
    PARAMETER_MISSING "parameter_missing" InvalidDetails:
        "the request does not give a parameter that the capability requires",
        "name the capability in `authorization_details` with its `parameters` (`keyward token CAPABILITY --parameter NAME=VALUE`); `keyward whoami -o json` shows them";
    PARAMETER_UNKNOWN "parameter_unknown" InvalidDetails:
        "the request gives a parameter that the capability does not have",
        "correct the name, or leave the parameter out; `keyward whoami -o json` shows the parameters of each capability";
    PARAMETER_INVALID "parameter_invalid" InvalidDetails:
        "the request gives a parameter a value that the capability does not allow",
        "give a value of the declared type and range; `keyward whoami -o json` shows them";
    SECRET_NOT_GRANTED "secret_not_granted" Denied:
        "no capability in the token delivers this secret",
        "get a token with the capability that delivers the secret; `keyward whoami` lists capabilities and secrets";
    SECRET_OWNER_MISMATCH "secret_owner_mismatch" Denied:
        "the secret has the sensitivity `high`, and the capability has another owner than the secret",
        "ask an operator to declare the capability under the secret's `owner`, or to lower the secret's sensitivity";
    CERTIFICATE_EXPIRES_TOO_SOON "certificate_expires_too_soon" Denied:
        "the agent's certificate expires too soon: no token or lease outlives the certificate, so a new one would be too short, and a lease that already ends with the certificate cannot be extended",
        "renew the certificate (`keyward renew`), then repeat the request";
    INTROSPECTION_NOT_ALLOWED "introspection_not_allowed" Denied:
        "the caller is not a resource server, and only resource servers introspect tokens",
        "ask an operator to declare the service as a `[[resource_server]]` with its audience, then enrol it";
    OPERATOR_ROLE_INSUFFICIENT "operator_role_insufficient" Denied:
        "the operator's role does not allow this request",
        "`keyward whoami --operator` shows your role; ask an operator with the role `admin`: `keyward operator role NAME ROLE`";
    OPERATOR_SCOPE_INSUFFICIENT "operator_scope_insufficient" Denied:
        "the scope of the operator is one owner, and the request concerns all owners",
        "ask an operator with the scope `all`";
    OPERATOR_OUTSIDE_NETWORK "operator_outside_network" Denied:
        "the operator's certificate is bound to networks, and the request comes from another one; the broker has raised an alarm",
        "send the request from one of the operator's networks, or ask an operator with the role `admin` for another network: `keyward operator update NAME --network NETWORK`";
    APPROVAL_KEY_OF_ACCEPTER "approval_key_of_accepter" Denied:
        "an admin cannot accept its own approval key, nor that of another operator of the same person",
        "ask an admin who is another person, or accept the key on the broker's host: `keyward approval key accept NAME --fingerprint HEX --on-host`";
    ACCEPTER_INTRODUCED_OPERATOR "accepter_introduced_operator" Denied:
        "this broker demands a second operator, and the admin who accepts the approval key, another operator of the same person, or an operator that one of them introduced, invited the operator or named its person",
        "ask an admin who did neither; if there is none, accept the key on the broker's host, as root: `keyward approval key accept NAME --fingerprint HEX --on-host`";
    NOT_BY_BREAK_GLASS "not_by_break_glass" Denied:
        "break-glass access contains and freezes, and never lifts a containment or thaws the broker",
        "lift or thaw as another operator; if no operator has a certificate, stop the broker and make one on its host: `keyward init --reissue-operator`";
    EVIDENCE_ABOUT_ONESELF "evidence_about_oneself" Denied:
        "the bundle would be about the operator itself, or have steps of an incident about it",
        "ask an admin or security operator with the scope `all` to make the bundle";
    HOST_USER_NOT_ALLOWED "host_user_not_allowed" Denied:
        "the user of this process is neither root nor the broker's own user",
        "run the command on the broker's host as root";
    UNSEAL_KEY_WRONG "unseal_key_wrong" Unauthenticated:
        "the passphrase, key or shares open no slot of the keyring",
        "check upper and lower case and the keyboard layout, or name another file; `keyward slot list` shows the slots";
    LEASE_LIMIT_REACHED "lease_limit_reached" Full:
        "the agent has as many leases of this capability as `per_agent` of its declaration allows",
        "give up leases that you do not need (`keyward lease give-up ID`), or ask an operator to raise `per_agent`";
    TOO_MANY_CONNECTIONS "too_many_connections" Limited:
        "the certificate has as many open connections as one certificate may have: a quarter of `connections.max_per_peer`",
        "end connections that are not needed, or send the requests over one connection; a greater `connections.max_per_peer` in the broker's configuration allows more";
    RATE_LIMITED "rate_limited" Limited:
        "the caller sends more requests than its rate limit allows",
        "wait as long as Retry-After says, and spread the requests";
    OPERATOR_TOO_MANY_HEAVY_REQUESTS "operator_too_many_heavy_requests" Limited:
        "two heavy requests of this operator (plan, apply, calendar, report, page of the ledger) are in progress",
        "wait until one of them has ended; revocations are never limited";
}
