#!/usr/bin/env bash
# An agent in nothing but curl: a token for a capability, then the secret that the capability names.
#
# usage: agent.sh CAPABILITY SECRET        after `keyward join`; identities in $KEYWARD_HOME/agent
set -euo pipefail

capability=$1 secret=$2
identity="${KEYWARD_HOME:-$HOME/.config/keyward}/agent"
broker="https://$(cat "$identity/address")"
call() { curl -sS --fail-with-body --cacert "$identity/authority.pem" --cert "$identity/certificate.pem" --key "$identity/key.pem" "$@"; }

answer=$(call -d grant_type=client_credentials --data-urlencode "scope=$capability" "$broker/oauth/token") ||
  { printf '%s\n' "$answer" >&2; exit 1; } # The body of a refusal has the code and the fix.
token=$(printf %s "$answer" | sed -n 's/.*"access_token":"\([^"]*\)".*/\1/p')

# The header goes in by standard input: an argument could be read by every process on the machine.
printf 'header = "Authorization: Bearer %s"\n' "$token" | call -K - "$broker/v1/secrets/$secret"
