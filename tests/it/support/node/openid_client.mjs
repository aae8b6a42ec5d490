// openid-client and jose over mTLS: discover, get a token, verify it, have it introspected, give it up.
// Each also refuses an altered twin.
//
// usage: openid_client.mjs ISSUER CA.pem CERT.pem KEY.pem SERVER-CERT.pem SERVER-KEY.pem CLIENT-ID SCOPE AUDIENCE

import assert from "node:assert";
import { createHash, webcrypto, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

globalThis.crypto ??= webcrypto; // Node 18
const require = createRequire(`${process.env.KEYWARD_TEST_NODE}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const client = await load("openid-client");
const { createLocalJWKSet, jwtVerify } = await load("jose");
const { Agent, fetch } = await load("undici");

const [issuer, ca, cert, key, serverCert, serverKey, clientId, scope, audience] = process.argv.slice(2);

const as = async (certificate, privateKey) => {
  const connect = { ca: readFileSync(ca), cert: readFileSync(certificate), key: readFileSync(privateKey) };
  const dispatcher = new Agent({ connect });
  const options = { [client.customFetch]: (url, init) => fetch(url, { ...init, dispatcher }) };
  const metadata = { use_mtls_endpoint_aliases: true };
  const config = await client.discovery(new URL(issuer), clientId, metadata, client.TlsClientAuth(), options);
  return { config, dispatcher };
};

const agent = await as(cert, key);
const token = (await client.clientCredentialsGrant(agent.config, { scope })).access_token;

const keys = await (await fetch(agent.config.serverMetadata().jwks_uri, { dispatcher: agent.dispatcher })).json();
const verify = (text) =>
  jwtVerify(text, createLocalJWKSet(keys), { issuer, audience, typ: "at+jwt", algorithms: ["ES256"] });
const { payload } = await verify(token);
const der = new X509Certificate(readFileSync(cert)).raw;
assert.equal(payload.cnf["x5t#S256"], createHash("sha256").update(der).digest("base64url"));
const [head, body, signature] = token.split(".");
const twin = Buffer.from(body, "base64url");
twin[10] ^= 1;
await assert.rejects(verify([head, twin.toString("base64url"), signature].join(".")));

// The same capability by a rich authorization request (RFC 9396).
const detail = { type: "keyward_capability", capability: scope, actions: ["read"], locations: [audience] };
const rich = (details) =>
  client.clientCredentialsGrant(agent.config, { authorization_details: JSON.stringify([details]) });
assert.deepEqual((await rich(detail)).authorization_details, payload.authorization_details);
await assert.rejects(rich({ ...detail, actions: ["write"] }), { error: "invalid_authorization_details" });
// With a parameter of the capability.
const granted = (await rich({ ...detail, parameters: { report: "2026-12" } })).authorization_details;
assert.deepEqual(granted[0].parameters, { report: "2026-12" });
await assert.rejects(rich({ ...detail, parameters: { report: 12 } }), { error: "invalid_authorization_details" });

const server = await as(serverCert, serverKey);
const said = await client.tokenIntrospection(server.config, token);
assert.deepEqual([said.active, said.aud, said.sub], [true, audience, clientId]);
const altered = await client.tokenIntrospection(server.config, `${token.slice(0, -4)}AAAA`);
assert.deepEqual(altered, { active: false });

await client.tokenRevocation(agent.config, token);
assert.deepEqual(await client.tokenIntrospection(server.config, token), { active: false });
await assert.rejects(client.tokenIntrospection(agent.config, token), "an agent is no resource server");
console.log("ok: openid-client and jose");
