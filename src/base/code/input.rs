//! What is wrong with a request, whoever sent it.

super::codes! {
    PRECONDITION_INVALID "precondition_invalid" Invalid:
        "`If-Match` takes a version in quotes, `If-None-Match` takes `*`, and one of them at most",
        "send `If-Match: \"3\"` or `If-None-Match: *`";
    JSON_INVALID "json_invalid" Invalid:
        "the body is not the JSON that this route takes",
        "see the reference for the route's fields";
    FORM_INVALID "form_invalid" Invalid:
        "the body is not a form",
        "send an URL-encoded form";
    FORM_FIELD_REPEATED "form_field_repeated" Invalid:
        "a field of the form came twice",
        "send each field once";
    NAME_NOT_CANONICAL "name_not_canonical" Invalid:
        "a name is not in canonical form",
        "use lower-case letters, digits and hyphens, as the reference says of the name";
    ID_NOT_CANONICAL "id_not_canonical" Invalid:
        "an id or serial is not in canonical form",
        "take the id from a listing or from the ledger, as it is printed";
    TOKEN_PARAMETER_MISSING "token_parameter_missing" Invalid:
        "the form has no `token`",
        "send token=… of the token that is meant";
    SCOPE_MALFORMED "scope_malformed" InvalidScope:
        "a part of `scope` is no capability's name",
        "name capabilities, with one space between two; `keyward whoami` lists them";
    RESOURCE_MALFORMED "resource_malformed" InvalidTarget:
        "`resource` is not an audience in canonical form",
        "send an absolute URI without a fragment, in the spelling that the capability declares";
    GRANT_TYPE_MISSING "grant_type_missing" Invalid:
        "the form has no `grant_type`",
        "send grant_type=client_credentials";
    ENROLMENT_MALFORMED "enrolment_malformed" Invalid:
        "a part of the enrolment code is not in the form that an enrolment takes",
        "take the parts from the enrolment code as it was printed, or use `keyward join`";
    RENEWAL_MALFORMED "renewal_malformed" Invalid:
        "`csr` is not in the form that a renewal takes",
        "send a PKCS#10 request in DER, base64url, or use `keyward renew`";
    CSR_TOO_LARGE "csr_too_large" Invalid:
        "the certificate request is too large",
        "send a request for one P-256 key";
    CSR_MALFORMED "csr_malformed" Invalid:
        "the certificate request cannot be read",
        "send one PKCS#10 request in DER, base64url";
    CSR_KEY_TYPE "csr_key_type" Invalid:
        "the certificate request is for another type of key than P-256",
        "make a P-256 key: `openssl ecparam -name prime256v1 -genkey`";
    CSR_SIGNATURE "csr_signature" Invalid:
        "the certificate request is not signed with the key that it is for",
        "sign the request with the key that it is for";
    CSR_SUBJECT_OR_EXTENSIONS "csr_subject_or_extensions" Invalid:
        "the certificate request asks for more than a certificate for its key",
        "only the key is taken: make the request with an empty subject and no extensions";
    SECRET_SIZE_INVALID "secret_size_invalid" Invalid:
        "a secret value has 1 to 65,536 bytes",
        "send the value itself as the body, in a file or on standard input";
    SENSITIVITY_UNKNOWN "sensitivity_unknown" Invalid:
        "a secret's sensitivity is `ordinary` or `high`",
        "send one of these words";
    QUERY_INVALID "query_invalid" Invalid:
        "the query takes `after`, what the page before ended with, and `limit`, from 1 to what a page may have",
        "send e.g. ?limit=100, and `next_after` of the answer as `after`: entries come 500 at most, lists 1000";
    QUERY_NOT_ALLOWED "query_not_allowed" Invalid:
        "this route takes nothing in the query: it would end up in logs",
        "send it in the body";
    PATH_NOT_CANONICAL "path_not_canonical" Invalid:
        "the path is not in canonical form",
        "send the path as the reference writes it: no escapes, no `#`, no empty or dotted segments";
    HOST_MISSING "host_missing" Invalid:
        "the request has no `Host` (RFC 9112 §3.2)",
        "send `Host: ` and the name that the broker is called by";
    HEADER_REPEATED "header_repeated" Invalid:
        "a header field came twice that means nothing, or something else, then",
        "send it once";
    TRANSFER_ENCODING_INVALID "transfer_encoding_invalid" Invalid:
        "the request has two lengths, or a transfer encoding other than `chunked`: it could be taken for two requests",
        "send the body with one `Content-Length`, or with `Transfer-Encoding: chunked` and without `Content-Length`";
    TARGET_TOO_LONG "target_too_long" Invalid:
        "path and query have at most 1024 bytes",
        "send names as they were declared; they are shorter";
    TOO_MANY_HEADERS "too_many_headers" Invalid:
        "a request has at most 64 header fields",
        "send fewer header fields";
    HEADERS_TOO_LARGE "headers_too_large" Invalid:
        "the header fields have at most 16,384 bytes together",
        "send less in the header";
    FORM_TOO_MANY_FIELDS "form_too_many_fields" Invalid:
        "a form has at most 32 fields",
        "send the fields that the route takes";
    FILE_NAME_TOO_LONG "file_name_too_long" Invalid:
        "the name of a declaration file has at most 4096 bytes",
        "give the file a shorter name";
    IDEMPOTENCY_KEY_INVALID "idempotency_key_invalid" Invalid:
        "an Idempotency-Key has 1 to 128 visible ASCII characters",
        "send a fresh UUID for every new request, and the same one again when it is repeated";
    IDEMPOTENCY_KEY_REUSED "idempotency_key_reused" Invalid:
        "the Idempotency-Key came before with another request; nothing was done",
        "send a fresh key for every new request";
    FILE_COUNT_INVALID "file_count_invalid" Invalid:
        "1 to 256 files are taken at once",
        "name at least one file, or put declarations together into fewer files";
    DECLARATIONS_INVALID "declarations_invalid" Invalid:
        "the declarations have faults; nothing was changed",
        "mend each place that is named, then plan again";
    TOO_MANY_ROLES "too_many_roles" Invalid:
        "an agent holds at most 32 roles",
        "name fewer roles, or declare one role that holds what they hold";
    OPERATOR_ROLE_UNKNOWN "operator_role_unknown" Invalid:
        "an operator's role is one of admin, security, approver, auditor",
        "send one of these words";
    INVITATION_OUT_OF_RANGE "invitation_out_of_range" Invalid:
        "a code has 1 to 10000 uses and a life of 1 to 604800 seconds",
        "invite for less, or leave it out: one use, 15 minutes";
    ENTRY_TOO_LARGE "entry_too_large" Invalid:
        "what was asked for does not fit into one entry of the ledger",
        "send less at once";
    GRANT_TYPE_UNSUPPORTED "grant_type_unsupported" UnsupportedGrant:
        "the only grant here is `client_credentials`",
        "send grant_type=client_credentials";
    CLIENT_ID_MISMATCH "client_id_mismatch" Unauthenticated:
        "the client id, in the form or in HTTP Basic, is not the identity in the certificate",
        "send the SPIFFE ID of the certificate as the client id, or none";
    CLIENT_SECRET_NOT_SUPPORTED "client_secret_not_supported" Unauthenticated:
        "the request carries a client secret: clients authenticate by certificate here (`tls_client_auth`)",
        "send no client secret; in HTTP Basic leave the password empty";
    RESOURCE_REPEATED "resource_repeated" InvalidTarget:
        "`resource` came more than once: a token is for one audience",
        "ask for one token for each resource";
    AUTHORIZATION_DETAILS_NOT_SUPPORTED "authorization_details_not_supported" InvalidDetails:
        "`authorization_details` is not taken in requests: capabilities are named in `scope`",
        "name the capabilities in `scope`";
    LEASE_LIFE_TOO_SHORT "lease_life_too_short" Invalid:
        "a lease lasts a minute at least",
        "ask for `life_s` of 60 or more, or leave it out";
    LEASE_SELECTION_INVALID "lease_selection_invalid" Invalid:
        "a request to end leases names one of `lease`, `agent`, `capability` and `all`",
        "name which leases are to end, in one way";
    REASON_INVALID "reason_invalid" Invalid:
        "a reason is one line of 1 to 300 characters",
        "say in one line why it is done: it stays in the ledger";
    EXPIRES_IN_INVALID "expires_in_invalid" Invalid:
        "`expires_in` is not a whole number of seconds from 10 on",
        "send a number such as 300, or nothing";
    RESPONSE_TYPE_UNSUPPORTED "response_type_unsupported" UnsupportedResponse:
        "this broker has no authorization endpoint: agents use the `client_credentials` grant",
        "POST to /oauth/token over mTLS";
    BODY_INCOMPLETE "body_incomplete" Invalid:
        "the body ended before it was whole",
        "send the whole body";
    BODY_TIMEOUT "body_timeout" Invalid:
        "the body did not arrive in time",
        "send the body at once";
    BODY_TOO_LARGE "body_too_large" Invalid:
        "the body is larger than this route takes",
        "send less at once";
    CONTENT_TYPE_UNSUPPORTED "content_type_unsupported" Invalid:
        "the body is of another content type than this route takes",
        "set Content-Type to what the route takes";
    CONTENT_ENCODING_UNSUPPORTED "content_encoding_unsupported" Invalid:
        "encoded bodies are not taken",
        "send the body as it is, without Content-Encoding";
    METHOD_NOT_ALLOWED "method_not_allowed" Invalid:
        "the route does not take this method",
        "see the reference for the route's methods";
    UNSEAL_MALFORMED "unseal_malformed" Invalid:
        "what was given is neither a passphrase, nor the key of a slot, nor enough shares of one",
        "give the one line of a passphrase, a key file or shares as `keyward init` or `keyward slot add` made them";
}
