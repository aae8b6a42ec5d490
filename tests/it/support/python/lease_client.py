"""What docs/examples/keyward.py does with a database login. usage: lease_client.py EXAMPLES HOME"""

import sys

examples, home = sys.argv[1:]
sys.path.insert(0, examples)

from keyward import Agent, Denied, Unauthenticated  # noqa: E402

agent = Agent(home=home)
login = agent.lease("orders.query", fresh=True)
assert login.username.startswith("kw_"), login.username
assert login.connection["driver"] == "postgresql-dynamic", login.connection
assert login.password.reveal().decode() not in f"{login!r} {vars(login)}"
assert not login.reused and login.constrained == []
again = agent.lease("orders.query")
assert again.reused, "the agent gets a login that it has"

before = login.expires_at
login.renew(life_s=80000)
assert login.expires_at > before, (login.expires_at, before)
assert any("shortened" in why for why in login.constrained), login.constrained
login.give_up()
again.give_up()

for wrong, kind, code in [
    (lambda: agent.lease("orders.other"), Denied, "lease_not_granted"),
    (lambda: Agent(home="/no/such/home").whoami(), Unauthenticated, "no_identity"),
]:
    try:
        wrong()
    except kind as refused:
        assert refused.code == code, refused
    else:
        raise AssertionError(code)
print(login.username)
