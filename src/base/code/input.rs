//! The request: syntax, sizes and values.

super::codes! {
    PRECONDITION_INVALID "precondition_invalid" Invalid:
        "`If-Match` or `If-None-Match` is malformed, or the request has both",
        "send `If-Match: \"3\"` (a version in quotes) or `If-None-Match: *`";
    JSON_INVALID "json_invalid" Invalid:
        "the body is not the JSON object that this route expects",
        "compare the fields with the route's schema at /openapi.json";
    FORM_INVALID "form_invalid" Invalid:
        "the body is not a URL-encoded form",
        "send the fields as application/x-www-form-urlencoded";
    FORM_FIELD_REPEATED "form_field_repeated" Invalid:
        "a field occurs more than once in the form",
        "send each field once";
    INCIDENT_INCOMPLETE "incident_incomplete" Invalid:
        "the request names no subject of a new incident, or no detail to add",
        "name at least one subject of a new incident, or one detail to add";
    INCIDENT_TIMES_INVALID "incident_times_invalid" Invalid:
        "the times of an incident contradict each other, are in the future, or have another form",
        "state RFC 3339 times in this order: first sign, detection, containment, recovery; the broker itself knows when it contained a subject";
    NAME_NOT_CANONICAL "name_not_canonical" Invalid:
        "a name is not in canonical form",
        "use lower-case letters, digits and hyphens, e.g. `orders-bot`; a secret's name may have parts joined by `/`, a capability's by `.`";
    ID_NOT_CANONICAL "id_not_canonical" Invalid:
        "an id or a serial number is not in canonical form",
        "copy the id from a listing or from the ledger";
    TOKEN_PARAMETER_MISSING "token_parameter_missing" Invalid:
        "the form has no field `token`",
        "send the token as `token=…`";
    ROTATED_VALUE_INVALID "rotated_value_invalid" Invalid:
        "the value does not have the form that the rotation of the secret needs; nothing was stored",
        "store a value as docs/reference/drivers.md shows it for this driver: `keyward secret put NAME`";
    SCOPE_MALFORMED "scope_malformed" InvalidScope:
        "a word in `scope` is not the name of a capability",
        "separate the names by one space; `keyward whoami` lists them";
    RESOURCE_MALFORMED "resource_malformed" InvalidTarget:
        "`resource` is not an audience in canonical form",
        "send the audience exactly as `keyward whoami` shows it, e.g. `https://orders.internal`";
    GRANT_TYPE_MISSING "grant_type_missing" Invalid:
        "the form has no field `grant_type`",
        "send `grant_type=client_credentials`";
    DEVICE_CODE_MISSING "device_code_missing" Invalid:
        "the form has no field `device_code`",
        "send the `device_code` of the response of /oauth/device_authorization";
    APPROVAL_REQUEST_INVALID "approval_request_invalid" Invalid:
        "a number of the request for approval is out of its range, or its parameters are of another capability",
        "name 1 to 100 `uses`, a `grant_life_s` of 60 to 86400 seconds, and in `parameters` only capabilities of the request";
    ENROLMENT_MALFORMED "enrolment_malformed" Invalid:
        "a part of the enrolment code or the certificate request is malformed",
        "use `keyward join`, or copy the parts of the code exactly as it was printed";
    RENEWAL_MALFORMED "renewal_malformed" Invalid:
        "the certificate request in `csr` is not base64url",
        "use `keyward renew`, or send a PKCS#10 request in DER, encoded as base64url";
    FINGERPRINT_MALFORMED "fingerprint_malformed" Invalid:
        "the fingerprint is not the SHA-256 of a key in 64 hexadecimal digits, in lower case",
        "copy it from `keyward approval key show`, which the operator of the key runs";
    CSR_TOO_LARGE "csr_too_large" Invalid:
        "the certificate request is larger than a request for one key",
        "send a PKCS#10 request for one P-256 key";
    CSR_MALFORMED "csr_malformed" Invalid:
        "the certificate request is not valid PKCS#10 in DER",
        "send one PKCS#10 request in DER, encoded as base64url";
    CSR_KEY_TYPE "csr_key_type" Invalid:
        "the key of the certificate request is not a P-256 key",
        "make a P-256 key: `openssl ecparam -name prime256v1 -genkey`";
    CSR_SIGNATURE "csr_signature" Invalid:
        "the signature of the certificate request does not belong to the key in it",
        "sign the request with the private key of the public key in it";
    CSR_SUBJECT_OR_EXTENSIONS "csr_subject_or_extensions" Invalid:
        "the certificate request contains a subject, extensions or attributes; only its key is used",
        "make the request with an empty subject and without extensions";
    SECRET_SIZE_INVALID "secret_size_invalid" Invalid:
        "the secret's value is empty, or larger than 65,536 bytes",
        "send 1 to 65,536 bytes, in a file or on standard input";
    SENSITIVITY_UNKNOWN "sensitivity_unknown" Invalid:
        "the sensitivity is neither `ordinary` nor `high`",
        "send `ordinary` or `high`";
    QUERY_INVALID "query_invalid" Invalid:
        "a parameter of the query is unknown, repeated or out of range",
        "send `limit` (1 to 500 for entries, 1 to 1000 for lists) and `after` (`next_after` of the previous page), e.g. ?limit=100";
    QUERY_NOT_ALLOWED "query_not_allowed" Invalid:
        "the URL has a query, but the route accepts none, because queries are logged",
        "send the parameters in the body";
    PATH_NOT_CANONICAL "path_not_canonical" Invalid:
        "the path contains upper-case letters, escapes, `#`, or empty or dotted segments",
        "send the path exactly as the reference writes it; names are in lower case";
    HOST_MISSING "host_missing" Invalid:
        "the request has no `Host` header (RFC 9112 §3.2)",
        "send `Host:` with the broker's host name";
    HEADER_REPEATED "header_repeated" Invalid:
        "a header that may occur once occurs twice",
        "send the header once";
    TRANSFER_ENCODING_INVALID "transfer_encoding_invalid" Invalid:
        "the body has two lengths, or a transfer encoding other than `chunked`: a proxy could read two requests",
        "send one `Content-Length`, or `Transfer-Encoding: chunked` without `Content-Length`";
    TARGET_TOO_LONG "target_too_long" Invalid:
        "path and query are longer than 1,024 bytes together",
        "check the names in the path: declared names are shorter";
    TOO_MANY_HEADERS "too_many_headers" Invalid:
        "the request has more than 64 headers",
        "send at most 64 headers";
    HEADERS_TOO_LARGE "headers_too_large" Invalid:
        "the headers have more than 16,384 bytes together",
        "send smaller headers";
    FORM_TOO_MANY_FIELDS "form_too_many_fields" Invalid:
        "the form has more than 32 fields",
        "send only the fields that the route accepts";
    FILE_NAME_TOO_LONG "file_name_too_long" Invalid:
        "the name of a declaration file is longer than 4,096 bytes",
        "give the file a shorter name";
    IDEMPOTENCY_KEY_INVALID "idempotency_key_invalid" Invalid:
        "the Idempotency-Key is empty, longer than 128 characters, or not visible ASCII",
        "send a new UUID with each new request, and the same UUID when you repeat it";
    IDEMPOTENCY_KEY_REUSED "idempotency_key_reused" Invalid:
        "the Idempotency-Key belongs to an earlier, different request; nothing was changed",
        "send a new key with each new request";
    FILE_COUNT_INVALID "file_count_invalid" Invalid:
        "the upload contains no declaration file, or more than 256",
        "name 1 to 256 files; join small files into larger ones";
    DECLARATIONS_INVALID "declarations_invalid" Invalid:
        "the declaration files have errors; nothing was changed",
        "correct each place that is listed, then run `keyward plan` again";
    TOO_MANY_ROLES "too_many_roles" Invalid:
        "the request gives the agent more than 32 roles",
        "name fewer roles, or declare one role that holds the capabilities of several";
    OPERATOR_PROFILE_INVALID "operator_profile_invalid" Invalid:
        "kind, role, owner, networks and life of the operator do not fit each other",
        "a service has the role `metrics` or `auditor`, 1 to 16 networks and a life of up to 90 days; an automation has the role `deployer` or `auditor`, an owner and a life of up to 24 hours; a human has neither networks nor a life of its own";
    PERSON_INVALID "person_invalid" Invalid:
        "the person is empty, longer than 128 characters, or has invisible characters",
        "name the person in one line, e.g. by an email address";
    OPERATOR_ROLE_UNKNOWN "operator_role_unknown" Invalid:
        "the operator's role is none of `admin`, `security`, `approver`, `auditor`, `metrics`, `deployer`",
        "send one of these six words";
    INVITATION_OUT_OF_RANGE "invitation_out_of_range" Invalid:
        "the uses or the life of the enrolment code are out of range",
        "ask for 1 to 10,000 uses and 1 to 604,800 seconds; the default is one use and 900 seconds";
    ENTRY_TOO_LARGE "entry_too_large" Invalid:
        "the ledger entry of the request would be larger than the ledger allows",
        "divide the request into several smaller ones";
    GRANT_TYPE_UNSUPPORTED "grant_type_unsupported" UnsupportedGrant:
        "`grant_type` is neither `client_credentials` nor the grant of device codes",
        "send `grant_type=client_credentials`, or `urn:ietf:params:oauth:grant-type:device_code` after /oauth/device_authorization";
    CLIENT_ID_MISMATCH "client_id_mismatch" Unauthenticated:
        "the client id in the form or in HTTP Basic is not the identity in the certificate",
        "send the SPIFFE ID of the certificate as client id, or no client id";
    CLIENT_SECRET_NOT_SUPPORTED "client_secret_not_supported" Unauthenticated:
        "the request contains a client secret, but clients authenticate by certificate (`tls_client_auth`)",
        "send no client secret; in HTTP Basic leave the password empty";
    RESOURCE_REPEATED "resource_repeated" InvalidTarget:
        "`resource` occurs more than once, but a token has one audience",
        "get one token for each resource";
    AUTHORIZATION_DETAILS_INVALID "authorization_details_invalid" InvalidDetails:
        "`authorization_details` is not a JSON array of objects of the type `keyward_capability`, each with a `capability` and at most `actions`, `locations` and `parameters`",
        "correct the field, or name the capabilities in `scope`; docs/reference/http.md has an example";
    PARAMETERS_TOO_LARGE "parameters_too_large" InvalidDetails:
        "the parameters of the request have more than 1,024 bytes in JSON",
        "shorten the texts, or get one token for each capability";
    PARAMETER_NOT_WITH_DEVICE_CODE "parameter_not_with_device_code" InvalidDetails:
        "the request gives a sensitive parameter, and a request with a device code is stored without its value",
        "request the token with `client_credentials`, and name its approval in `approval`";
    LEASE_LIFE_TOO_SHORT "lease_life_too_short" Invalid:
        "the requested life of the lease is less than 60 seconds",
        "ask for 60 seconds or more (`--life 60s`; over HTTP `life_s`), or leave the life out";
    LEASE_SELECTION_INVALID "lease_selection_invalid" Invalid:
        "the request names none, or more than one, of `lease`, `agent`, `capability` and `all`",
        "select the leases to revoke by exactly one of them";
    REASON_INVALID "reason_invalid" Invalid:
        "the reason is empty, has several lines, or is longer than 300 characters",
        "give the reason in one line of 1 to 300 characters; the ledger keeps it";
    TEXT_TOO_MANY_WORDS "text_too_many_words" Invalid:
        "the texts of the request have more than 200 words that the broker has to compare with stored values",
        "shorten the texts, or add further notes: `keyward incident note INCIDENT TEXT`";
    TEXT_CONTAINS_SECRET "text_contains_secret" Invalid:
        "the text contains a token, an enrolment code, or a value that the broker knows as a secret; it was not recorded",
        "write the name of the secret or the id of the token instead: the ledger keeps every text; revoke or replace what was leaked";
    EXPIRES_IN_INVALID "expires_in_invalid" Invalid:
        "`expires_in` is not a whole number of at least 10 seconds",
        "send a number such as 300, or leave `expires_in` out";
    RESPONSE_TYPE_UNSUPPORTED "response_type_unsupported" UnsupportedResponse:
        "this broker has no authorization endpoint",
        "use the `client_credentials` grant: POST to /oauth/token over mTLS";
    BODY_INCOMPLETE "body_incomplete" Invalid:
        "the body ended before it was complete",
        "send as many bytes as `Content-Length` says";
    BODY_TIMEOUT "body_timeout" Invalid:
        "the body did not arrive in time",
        "send the whole body at once, and check the connection";
    BODY_TOO_LARGE "body_too_large" Invalid:
        "the body is larger than the limit of this route",
        "send a smaller body";
    CONTENT_TYPE_UNSUPPORTED "content_type_unsupported" Invalid:
        "the route does not accept the content type of the body",
        "set Content-Type to the type that the reference gives for the route";
    CONTENT_ENCODING_UNSUPPORTED "content_encoding_unsupported" Invalid:
        "the body is compressed or encoded (`Content-Encoding`)",
        "send the body without Content-Encoding";
    METHOD_NOT_ALLOWED "method_not_allowed" Invalid:
        "the route does not accept this method",
        "use a method that `Allow` lists";
    UNSEAL_MALFORMED "unseal_malformed" Invalid:
        "the input is neither a passphrase, nor a slot key, nor enough shares of one slot key",
        "give one line with the passphrase, or the key file or shares that `keyward init` or `keyward slot add` made";
    SUBJECT_FORM_UNKNOWN "subject_form_unknown" Invalid:
        "the subject has none of the known forms",
        "use agent/NAME, instance/ID, operator/NAME, role/NAME, capability/NAME, owner/NAME, secret/NAME, certificate/SERIAL, token/ID, network/CIDR or everything";
}
