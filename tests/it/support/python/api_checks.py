"""Checks for schemathesis, which knows nothing of client certificates.

Loaded by SCHEMATHESIS_HOOKS. With KEYWARD_NOBODY set, the run presents no certificate, and routes that need
one must refuse every request.
"""

import os

import schemathesis


@schemathesis.check
def nobody_is_served(ctx, response, case):
    security = case.operation.definition.raw.get("security", [])
    if os.environ.get("KEYWARD_NOBODY") and security:
        assert response.status_code >= 400, "served without a certificate"
