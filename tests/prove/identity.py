"""Identity: which name, for whom, from which Vault; hostile pods, logins, a real Vault, CAs that change.

Each part starts what it needs and ends it: a control plane where nothing has to run in a container, a node where it does.
"""

from __future__ import annotations

from tests.prove import explained, logins, siege
from tests.prove.parts import Part

LOGINS = Part(600, logins.run)
SIEGE = Part(300, siege.run)
EXPLAINED = Part(180, explained.run)

PROOFS = (
    *(
        LOGINS.line(
            way.name, f"login {way.title}: enrols; ended, revoked, the wrong one: told, and it recovers by itself"
        )
        for way in logins.WAYS
    ),
    SIEGE.line("outside", f"{siege.PODS} hostile pods: certificates with a name outside the policy = 0"),
    SIEGE.line("told", "every refusal has an Event that names value and rule"),
    SIEGE.line("delayed", f"well-behaved pods among them are not delayed (ratio <= {siege.MOST:g})"),
    SIEGE.line("log", f"the log has no line over {siege.LINE} characters and no control character"),
    EXPLAINED.line("printed", "podcert explain -f on the demo's manifests prints names, rule and role"),
    EXPLAINED.line("untouched", "it only reads: no write, no request to Vault, everything as it was"),
    EXPLAINED.line("true", "applied, the pods have the names that were explained"),
)
