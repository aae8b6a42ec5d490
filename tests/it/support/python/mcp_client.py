"""The OAuth client of the Python MCP SDK against the broker as a resource: it finds the authorization
server from the 401, takes the scope from the challenge, and gets the secret with the token."""
import asyncio
import ssl
import sys

import httpx2
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider

issuer, ca, cert, key, client_id, path = sys.argv[1:]


class Storage:
    tokens = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return None

    async def set_client_info(self, info):
        pass


async def fetch(secret):
    storage = Storage()
    auth = ClientCredentialsOAuthProvider(
        server_url=issuer + path, storage=storage, client_id=client_id, client_secret=secret, issuer=issuer
    )
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(cert, key)
    async with httpx2.AsyncClient(verify=context, auth=auth) as client:
        return await client.get(issuer + path), storage


async def main():
    answer, storage = await fetch("")
    assert answer.status_code == 200, (answer.status_code, answer.text)
    assert storage.tokens.token_type == "Bearer", storage.tokens
    print("value:", answer.text, "scope:", storage.tokens.scope)
    try:
        await fetch("a-secret")
    except Exception as error:
        assert "invalid_client" in str(error), error
        print("ok: a client secret is refused")
    else:
        raise AssertionError("a client secret was taken")


asyncio.run(main())
