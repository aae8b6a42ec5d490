// For nginx's njs module: asks the broker about the token of a request, and lets it pass when the token
// counts, is meant for this resource server, and is bound to the client's certificate.

import crypto from "crypto";

async function authorise(r) {
  const parts = (r.headersIn.Authorization || "").split(" ");
  if (parts[0].toLowerCase() !== "bearer" || !/^[A-Za-z0-9._-]+$/.test(parts[1] || "")) {
    refuse(r);
    return;
  }
  const body = "token=" + parts[1];
  const reply = await r.subrequest("/_keyward/introspect", { method: "POST", body: body });
  if (reply.status !== 200) {
    r.return(500);
    return;
  }
  const said = JSON.parse(reply.responseText);
  if (said.active !== true || said.cnf["x5t#S256"] !== thumbprint(r.variables.ssl_client_raw_cert)) {
    refuse(r);
    return;
  }
  r.headersOut["Keyward-Subject"] = said.sub;
  r.headersOut["Keyward-Scope"] = said.scope;
  r.return(204);
}

// RFC 6750 section 3.
function refuse(r) {
  r.headersOut["WWW-Authenticate"] = 'Bearer error="invalid_token"';
  r.return(401);
}

// SHA-256 of the certificate in DER, base64url (RFC 8705 section 3.1).
function thumbprint(pem) {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");
  return crypto.createHash("sha256").update(der).digest("base64url");
}

export default { authorise: authorise };
