"""What docs/examples/keyward.py does with approvals. usage: approvals_client.py EXAMPLES HOME

It prints the id of each request that it waits for.
"""

import sys

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
assert source() == first and agent.token("reports.publish", approval=approval.id) is source
source.renew()
assert source() != first
source.renew()
assert refused(source, "approval_used").approval_id == approval.id

# A denial, and a wait that ends before the answer.
late = agent.request("reports.publish", reason="release 8", expires_in=30)
refused(lambda: late.wait(timeout_s=0), "approval_pending")
print(f"pending: {late.id}", flush=True)
assert "frozen" in refused(late.wait, "approval_denied").why
late.refresh()
assert late.denial_reason == "frozen"

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
