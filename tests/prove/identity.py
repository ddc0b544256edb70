"""Identity: which name, for whom, from which Vault; hostile pods, logins, a real Vault, CAs that change.

Each part starts what it needs and ends it: a control plane where nothing has to run in a container, a node where it does.
"""

from __future__ import annotations

from tests.prove import logins
from tests.prove.parts import Part

LOGINS = Part(600, logins.run)

PROOFS = tuple(
    LOGINS.line(
        way.name, f"login {way.title}: enrols; ended, revoked and the wrong one are told, and it recovers by itself"
    )
    for way in logins.WAYS
)
