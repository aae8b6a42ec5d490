"""What docs/examples/keyward.py does with approvals. usage: approvals_client.py EXAMPLES HOME

It prints the id of each request that it waits for.
"""

import pathlib
import shutil
import socket
import sys
import tempfile
import time

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import keyward  # noqa: E402

agent = keyward.Agent(home=sys.argv[2])


def refused(act, code):
    """The error of `act`, which has this code."""
    try:
        act()
    except keyward.Denied as error:
        assert error.code == code, error
        return error
    raise AssertionError(code)


# A refusal names the approval that the request needs, and the decision.
error = refused(agent.token("reports.publish"), "approval_required")
assert error.approval_uri == f"/v1/approvals/{error.approval_id}" and error.decision_id.startswith("dec_"), vars(error)
refused(agent.token("reports.publish", approval=error.approval_id), "approval_pending")
[pending] = agent.approvals()
assert pending.id == error.approval_id and pending.state == "pending", vars(pending)
pending.withdraw()
assert pending.state == "withdrawn"
assert refused(pending.wait, "approval_withdrawn").approval_id == pending.id

# Two tokens of one approval, which is waited for.
approval = agent.request("reports.publish", reason="release 7", for_s=1800, uses=2)
assert agent.request("reports.publish", reason="release 7", for_s=1800, uses=2).id == approval.id
print(f"pending: {approval.id}", flush=True)
assert approval.wait().state == "approved"
source = agent.token("reports.publish", approval=approval.id)
first = source()
assert source() == first
sources = len(agent._sources)
assert agent.token("reports.publish", approval=approval.id) is not source and len(agent._sources) == sources
source.renew()
assert source() != first
source.renew()
assert refused(source, "approval_used").approval_id == approval.id

# A denial, and a wait that ends before the answer.
late = agent.request("reports.publish", reason="release 8", expires_in=30)
refused(lambda: late.wait(timeout_s=0), "approval_pending")

# A broker that accepts the connection and does not answer delays the end of a wait by nothing.
with tempfile.TemporaryDirectory() as elsewhere, socket.create_server(("127.0.0.1", 0)) as silent:
    shutil.copytree(sys.argv[2], elsewhere, dirs_exist_ok=True)
    pathlib.Path(elsewhere, "agent/address").write_text(f"127.0.0.1:{silent.getsockname()[1]}\n")
    [unanswered] = [one for one in agent.approvals() if one.id == late.id]
    unanswered._agent = keyward.Agent(home=elsewhere)
    begun = time.monotonic()
    refused(lambda: unanswered.wait(timeout_s=1.5), "approval_pending")
    assert 1.4 < time.monotonic() - begun < 4, time.monotonic() - begun

print(f"pending: {late.id}", flush=True)
assert "frozen" in refused(late.wait, "approval_denied").why
assert late.denial_reason == "frozen"
[listed] = [one for one in agent.approvals() if one.id == late.id]
assert "frozen" in refused(listed.wait, "approval_denied").why
assert keyward.Denied("x", "a\x1b[2K\u202e").why == "a<U+001B>[2K<U+202E>", "a text does not control a terminal"
assert 0 < keyward._rest_s("2020-01-01T00:00:00Z", "2020-01-02T00:00:00.000Z") == 86400, "a wrong clock"

# One call for all of it; a token that needs no approval is not asked for.
assert agent.approved_token("reports.read", reason="x")()
print("asking", flush=True)
assert agent.approved_token("reports.publish", reason="release 9", expires_in=60)()

# The life and the details of a request, and a smaller request.
short = agent.token("reports.read", expires_in=20)
short()
detail = {"type": "keyward_capability", "capability": "reports.read", "actions": ["read"]}
assert agent.token(authorization_details=[detail])()
instead = b'{"code":"policy_denied","instead":{"scope":"reports.read","form":"f"},"decision_id":"dec_1","retryable":false}'
error = keyward._error(403, instead)
assert isinstance(error, keyward.Denied) and error.instead["scope"] == "reports.read", vars(error)
full = keyward._error(429, b'{"code":"too_many_approvals","retryable":false}')
assert not isinstance(full, keyward.Unavailable), "the same request fails again"
print("ok: approvals")
