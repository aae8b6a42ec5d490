// A resource server that takes Keyward's tokens and checks whom they are bound to.
//
//     npm install jose
//     node resource_server.mjs https://broker:8443 https://reports.example.com authority.pem server.pem server.key 9443
//
// `authority.pem` is what `GET /v1/authority` of the broker answers; `server.pem` is the server's own
// certificate, from wherever its clients expect it. A client shows the certificate that Keyward gave it,
// and its token in the Authorization header.

import { createHash, webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";

globalThis.crypto ??= webcrypto; // Node 18
const { createLocalJWKSet, errors, jwtVerify } = await import("jose");

const [issuer, audience, authority, certificate, key, port] = process.argv.slice(2);
const ca = readFileSync(authority);

// Times are of the monotonic clock: a wall clock that is set back must not keep a revoked key alive.
const now = () => performance.now();

// Until then the broker has asked not to be called (`Retry-After`), for a minute at most.
let callableAt = 0;
const pauseMaxMs = 60_000;

// Until then the broker lets the keys be kept (`max-age`): later it may have revoked one.
let freshUntil = 0;

// While the broker cannot be reached, its keys are used for so long after their `max-age`. Price: a key that the broker
// has revoked is accepted for so much longer. With 0, the server refuses every token as soon as `max-age` is over.
const staleMs = 600_000;

async function fetchKeys() {
  const askedAt = now();
  if (askedAt < callableAt) throw new Error("the broker has asked for a pause");
  const answer = await new Promise((resolve, reject) => {
    const options = { ca, signal: AbortSignal.timeout(5000) };
    https.get(`${issuer}/.well-known/jwks.json`, options, resolve).on("error", reject);
  });
  let text = "";
  for await (const part of answer) text += part;
  if (answer.statusCode !== 200) {
    const pauseMs = 1000 * (Number(answer.headers["retry-after"]) || 0);
    callableAt = now() + Math.min(Math.max(pauseMs, 0), pauseMaxMs);
    throw new Error(`the broker answered ${answer.statusCode}`);
  }
  const found = createLocalJWKSet(JSON.parse(text));
  const age = /max-age=(\d+)/.exec(answer.headers["cache-control"] ?? "");
  freshUntil = askedAt + 1000 * Number(age?.[1] ?? 0);
  return found;
}

// The token is not taken: the caller is answered 401.
class Refused extends Error {}

let keys;

async function currentKeys() {
  if (now() < freshUntil) return keys;
  try {
    keys = await fetchKeys();
  } catch (error) {
    const failedAt = now();
    if (!keys || failedAt >= freshUntil + staleMs) throw error;
    if (failedAt >= callableAt) {
      console.error(`the broker's keys cannot be read; the server uses the keys from before: ${error.message}`);
      callableAt = failedAt + 5000;
    }
  }
  return keys;
}

// The claims of `token`, once it is known to be good, for us, and the holder's of `peer` (DER).
async function verified(token, peer) {
  const options = {
    issuer,
    audience,
    typ: "at+jwt",
    algorithms: ["ES256"],
    clockTolerance: 5,
    requiredClaims: ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "cnf"],
  };
  await currentKeys();
  const verify = () => jwtVerify(token, keys, options);
  const { payload } = await verify().catch(async (error) => {
    if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    keys = await fetchKeys(); // The broker's keys take turns.
    return verify();
  });
  // RFC 8705 section 3.1. Without this the token is a bearer token: a thief can use it.
  const thumbprint = createHash("sha256").update(peer).digest("base64url");
  if (payload.cnf?.["x5t#S256"] !== thumbprint) throw new Refused("the token is bound to another certificate");
  return payload;
}

function answer(response, status, body) {
  const headers = { "content-type": "application/json" };
  if (status === 401) headers["www-authenticate"] = 'Bearer error="invalid_token"';
  response.writeHead(status, headers).end(JSON.stringify(body));
}

const tls = {
  ca,
  cert: readFileSync(certificate),
  key: readFileSync(key),
  minVersion: "TLSv1.3",
  requestCert: true,
  rejectUnauthorized: true,
};

https
  .createServer(tls, async (request, response) => {
    const [scheme, token] = (request.headers.authorization ?? "").split(" ");
    try {
      if (scheme.toLowerCase() !== "bearer" || !token) throw new Refused("no token");
      const claims = await verified(token, request.socket.getPeerCertificate().raw);
      if (!claims.scope.split(" ").includes("reports.read")) {
        return answer(response, 403, { error: "insufficient_scope" });
      }
      answer(response, 200, { hello: claims.sub });
    } catch (error) {
      const isRefused = error instanceof Refused || error instanceof errors.JOSEError;
      if (isRefused) return answer(response, 401, { error: "invalid_token" });
      answer(response, 503, { error: "temporarily_unavailable" }); // No keys: no fault of the token's.
    }
  })
  .listen(Number(port), "127.0.0.1");
