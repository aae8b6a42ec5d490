// openid-client over mTLS: the device authorization grant (RFC 8628). It prints the code of the person, and polls.
//
// usage: openid_device.mjs ISSUER CA.pem CERT.pem KEY.pem CLIENT-ID SCOPE

import assert from "node:assert";
import { webcrypto } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

globalThis.crypto ??= webcrypto; // Node 18
const require = createRequire(`${process.env.KEYWARD_TEST_NODE}/package.json`);
const load = (name) => import(pathToFileURL(require.resolve(name)));
const client = await load("openid-client");
const { Agent, fetch } = await load("undici");

const [issuer, ca, cert, key, clientId, scope] = process.argv.slice(2);
const connect = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
const dispatcher = new Agent({ connect });
const options = { [client.customFetch]: (url, init) => fetch(url, { ...init, dispatcher }) };
const metadata = { use_mtls_endpoint_aliases: true };
const config = await client.discovery(new URL(issuer), clientId, metadata, client.TlsClientAuth(), options);

const device = await client.initiateDeviceAuthorization(config, { scope });
console.log(`code: ${device.user_code}`);
const token = await client.pollDeviceAuthorizationGrant(config, device);
assert.equal(token.scope, scope);
console.log("ok: openid-client device");
