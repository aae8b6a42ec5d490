"""What docs/examples/keyward.py does with approvals. usage: approvals_client.py EXAMPLES HOME

It prints the id of each request that it waits for.
"""

import json
import pathlib
import shutil
import socket
import sys
import tempfile
import time
import urllib.parse

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
named = agent.approval(error.approval_id)
assert (named.id, named.code, named.capabilities) == (pending.id, pending.code, ["reports.publish"]), vars(named)
assert repr(named) == f"<Approval {pending.id} pending>", repr(named)
pending.withdraw()
assert pending.state == "withdrawn"
ended = refused(pending.wait, "approval_withdrawn")
assert ended.approval_id == pending.id and ended.decision_id == error.decision_id and ended.fix, vars(ended)

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
used = refused(source, "approval_used")
assert used.approval_id == approval.id

# The refusal offers another capability without a life: the offer is complete as it is.
assert used.instead["scope"] == "reports.read" and "expires_in" not in used.instead, used.instead
smaller = agent.instead(used)
assert smaller() and repr(smaller) == "<TokenSource reports.read>", repr(smaller)

# A capability that the agent does not hold is left out, and named.
partial = agent.token("reports.read", "no.such")
assert partial() and [one["capability"] for one in partial.left_out] == ["no.such"], partial.left_out
assert partial.left_out[0]["code"] == "capability_not_granted", partial.left_out
wider = agent.request("reports.publish", "no.such", reason="release 7b")
assert wider.capabilities == ["reports.publish"], vars(wider)
wider.withdraw()

# A denial, and a wait that ends before the answer.
late = agent.request("reports.publish", reason="release 8", expires_in=30)
unanswered = refused(lambda: late.wait(timeout_s=0), "approval_pending")
assert unanswered.approval_uri == f"/v1/approvals/{late.id}" and "withdraw" in unanswered.fix, vars(unanswered)

# A broker that accepts the connection and does not answer delays the end of a wait by nothing.
with tempfile.TemporaryDirectory() as elsewhere, socket.create_server(("127.0.0.1", 0)) as silent:
    shutil.copytree(sys.argv[2], elsewhere, dirs_exist_ok=True)
    pathlib.Path(elsewhere, "agent/address").write_text(f"127.0.0.1:{silent.getsockname()[1]}\n")
    [silenced] = [one for one in agent.approvals() if one.id == late.id]
    silenced._agent = keyward.Agent(home=elsewhere)
    begun = time.monotonic()
    refused(lambda: silenced.wait(timeout_s=1.5), "approval_pending")
    assert 1.4 < time.monotonic() - begun < 4, time.monotonic() - begun

print(f"pending: {late.id}", flush=True)
denied = refused(late.wait, "approval_denied")
assert "frozen" in denied.why and denied.approval_id == late.id and "unchanged" in denied.fix, vars(denied)
assert denied.decision_id == late.decision_id and late.decision_id.startswith("dec_"), vars(denied)
assert late.denial_reason == "frozen"
[listed] = [one for one in agent.approvals() if one.id == late.id]
assert "frozen" in refused(listed.wait, "approval_denied").why
assert keyward.Denied("x", "a\x1b[2K\u202e").why == "a<U+001B>[2K<U+202E>", "a text does not control a terminal"
assert 0 < keyward._rest_s("2020-01-01T00:00:00Z", "2020-01-02T00:00:00.000Z") == 86400, "a wrong clock"

# One call for all of it; a token that needs no approval is not asked for.
assert agent.approved_token("reports.read", reason="x")()
print("asking", flush=True)
assert agent.approved_token("reports.publish", reason="release 9", expires_in=60)()

# A denial keeps the ids, the reason and the offer; a wait that is over keeps the ids.


def publish(**how):
    return agent.approved_token("reports.publish", reason="release 10", expires_in=40, **how)


unanswered = refused(lambda: publish(timeout_s=0), "approval_pending")
assert unanswered.approval_id and unanswered.decision_id and unanswered.instead is None, vars(unanswered)
print("asking", flush=True)
denied = refused(publish, "approval_denied")
assert denied.approval_id == unanswered.approval_id and denied.decision_id == unanswered.decision_id, vars(denied)
assert "frozen" in denied.why and denied.instead["scope"] == "reports.read", vars(denied)
assert agent.instead(denied)()

# The life and the details of a request, and a smaller request.
short = agent.token("reports.read", expires_in=20)
short()
detail = {"type": "keyward_capability", "capability": "reports.read", "actions": ["read"]}
assert agent.token(authorization_details=[detail])()
instead = b'{"code":"policy_denied","instead":{"scope":"reports.read","form":"f"},"decision_id":"dec_1","retryable":false}'
error = keyward._error(403, instead)
assert isinstance(error, keyward.Denied) and error.instead["scope"] == "reports.read", vars(error)
# All that it says is sent; without an offer the error itself is raised.
sent, form = [], "grant_type=client_credentials&scope=a.read+b.read&authorization_details=%5B%7B%22capability%22%3A%22a.read%22%7D%5D"
form += "&expires_in=300&remediates=dec_1"
offer = {"code": "policy_denied", "decision_id": "dec_1", "instead": {"scope": "a.read b.read", "expires_in": 300, "form": form}}
smaller = agent.instead(keyward._error(403, json.dumps(offer).encode()))
given = {"access_token": "x", "expires_in": 300, "left_out": [{"capability": "b.read", "code": "c", "reason": "r"}]}
smaller._agent = keyward.Agent(home=sys.argv[2])
smaller._agent._send = lambda *_, form: sent.append(form) or json.dumps(given).encode()
assert smaller() == "x" and urllib.parse.urlencode(sent[0]) == form, sent
assert smaller.left_out[0]["capability"] == "b.read" and source.left_out == []
unoffered = keyward._error(403, b'{"code":"policy_denied","decision_id":"dec_1"}')
assert refused(lambda: agent.instead(unoffered), "policy_denied").instead is None

# Parameters are in the request for approval and in the token request, and in no text.
parameters = {"payments.refund": {"account": "CNRY"}}
source = agent.token("a.read", parameters=parameters)
assert repr(source) == "<TokenSource a.read payments.refund>", repr(source)
assert "CNRY" not in f"{vars(source)} {vars(agent)}"
assert keyward._details({"a": {"x": 1}}, [{"capability": "a", "parameters": {"y": 2}}]) == [
    {"capability": "a", "parameters": {"y": 2, "x": 1}}
]
asking = keyward.Agent(home=sys.argv[2])
bodies = []


def told(_method, path, form=None, body=None, **_):
    if path == "/oauth/token":
        bodies.append(form)
        return json.dumps(given).encode()
    bodies.append(body)
    raise keyward._error(409, b'{"code":"approval_not_needed"}')


asking._send = told
asking.approved_token("payments.refund", reason="ticket 17", parameters=parameters)()
assert bodies[0]["parameters"] == parameters and bodies[0]["capabilities"] == ["payments.refund"], bodies
[asked] = json.loads(bodies[1]["authorization_details"])
assert asked["capability"] == "payments.refund" and asked["parameters"] == parameters["payments.refund"], bodies
located = {"type": "keyward_capability", "capability": "a.read", "locations": ["https://a.example"]}
asking.approved_token(authorization_details=[located], reason="ticket 18")()
assert bodies[2]["capabilities"] == ["a.read"] and bodies[2]["resource"] == "https://a.example", bodies

# A refusal with a decision is Denied; a request that the broker cannot read is not.
for status, body, is_denied in [
    (400, {"code": "parameter_missing", "decision_id": "dec_1"}, True),
    (429, {"code": "lease_limit_reached", "decision_id": "dec_1", "retryable": False}, True),
    (400, {"error": "access_denied", "code": "approval_denied"}, True),
    (400, {"code": "approval_request_invalid"}, False),
    (400, {"error": "invalid_request", "code": "grant_type_missing"}, False),
]:
    assert isinstance(keyward._error(status, json.dumps(body).encode()), keyward.Denied) == is_denied, body
try:
    agent.request("reports.publish", reason="x", uses=1000)
except keyward.Denied as error:
    raise AssertionError("a number out of its range is no denial") from error
except keyward.KeywardError as error:
    assert error.code == "approval_request_invalid", error

for odd in (b"", b"<html>", b"[]", b'"x"'):
    assert keyward._error(502, odd).code == "response_invalid", odd

full = keyward._error(429, b'{"code":"too_many_approvals","retryable":false}')
assert not isinstance(full, keyward.Unavailable), "the same request fails again"
print("ok: approvals")
