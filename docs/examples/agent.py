"""An agent, from its enrolment to the renewal of its certificate, with `keyward.py` beside it.

    agent.py CODE-FILE SERVICE-URL SERVICE-CA.pem

Enrols when it has not yet, reads a secret, and asks a service that takes tokens; on a 401 it asks once
more with a new one. The agent needs a capability that delivers the secret `github/app`, and `reports.read`.
"""

import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import keyward

code_file, service, service_ca = sys.argv[1:]


def ask(token, context):
    """The service's answer. Its tokens are bound: the connection shows the agent's certificate too."""
    for attempt in [1, 2]:
        request = urllib.request.Request(service, headers={"Authorization": token.header()})
        try:
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            if error.code != 401 or attempt == 2:
                raise
            token.renew()


def main():
    agent = keyward.Agent()
    if not agent.is_enrolled():
        subprocess.run(["keyward", "join", "--code-file", code_file], check=True, stdout=subprocess.DEVNULL)
    with agent.renewing():
        password = agent.secret("github/app")
        print(f"a secret of {len(password.reveal())} bytes, shown as {password}")
        token = agent.token("reports.read")
        context = ssl.create_default_context(cafile=service_ca)
        agent.show_certificate(context)
        print(ask(token, context))
        try:
            agent.token("reports.publish")()
        except keyward.Denied as denied:
            print(f"denied: {denied.code}, decision {denied.decision_id}")


main()
