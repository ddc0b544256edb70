"""What is written on a pod's Secret beside its files, and what is said of it: all the state that Podcert has.

In the flow: decide → act → *annotations* → decide again, also after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from certmanager.domain.model import MANAGED_LABEL, PREFIX, Bundle, Pod, Request, StoredSecret
from certmanager.domain.problems import cut, listed, shown
from certmanager.domain.reasons import Reason
from certmanager.domain.renewal import due_at, renew_before
from certmanager.domain.rotation import renewals
from certmanager.domain.times import rfc3339

ROLE_DEFAULT: Final = "role-default"
"""What the annotation `ttl` of a Secret says when Vault's role decided; the issuer that no annotation `issuer-ref` names."""


def terms_of(request: Request) -> dict[str, str]:
    """What a certificate was asked for with, apart from its names, as a Secret's annotations say it."""
    terms = {
        "mode": str(request.mode),
        "mount": request.mount,
        "role": request.role,
        "ttl": ROLE_DEFAULT if request.ttl is None else f"{request.ttl}s",
    }
    if request.key_type is not None:
        terms["key-type"] = str(request.key_type)
    if request.issuer is not None:
        terms["issuer-ref"] = request.issuer
    return terms


def changed_terms(request: Request, was: Mapping[str, str]) -> list[str]:
    """Which terms are not those that the annotations `was` say, each with both values.

    What they lack is not held against them, but for the issuer: where none is named, the role decides.
    """
    asked, held = {"issuer-ref": ROLE_DEFAULT} | terms_of(request), {"issuer-ref": ROLE_DEFAULT, **was}
    return [
        f"{name} from {shown(held[name])} to {value}" for name, value in asked.items() if held.get(name, value) != value
    ]


def annotations_for(
    request: Request, bundle: Bundle, pod: Pod, made_at: float, old: StoredSecret | None = None
) -> dict[str, str]:
    """The annotations of the pod's Secret, without the prefix; times in RFC 3339, names with commas between them.

    They hold all the state there is: after a restart, `decide` finds in them what it needs, and whoever may read metadata sees
    it without reading keys. `old` is the Secret that is renewed in place.
    """
    leaf = bundle.leaf
    names = leaf.names
    return {
        **terms_of(request),
        "key-type": leaf.key_type if request.key_type is None else str(request.key_type),
        "renewals": str(0 if old is None else renewals(old) + 1),
        "pod": pod.name,
        "pod-uid": pod.uid,
        "serial": leaf.serial,
        "issued-at": rfc3339(made_at),
        "not-after": rfc3339(leaf.not_after),
        "renewal-at": rfc3339(due_at(made_at, leaf.not_before, leaf.not_after, pod.uid, renew_before(request))),
        "names": ",".join((*names.dns, *names.ips, *names.uris)),
        "rotation": str(request.rotation),
        "anchors": ",".join(sorted(bundle.anchors)),
        "issuer": bundle.issuer or "",
    }


def secret_name_taken(secret: StoredSecret) -> tuple[Reason, str]:
    """Reason and message for a Secret that is somebody else's."""
    if secret.managed and secret.pod_uid:
        whose = f"it is the Secret of pod {shown(secret.pod_name)}, and a name serves one pod"
    else:
        whose = f"it is not Podcert's: it lacks the label {MANAGED_LABEL}=\"true\" or the pod's uid"
    remedy = f"choose another name by the annotation {PREFIX}secret-name, or delete that Secret if nobody needs it"
    message = f"Secret {secret.namespace}/{secret.name} exists and is left untouched: {whose}; {remedy}"
    return Reason.SECRET_NAME_TAKEN, cut(message)


def issued_message(why: str, secret: StoredSecret) -> str:
    """What the Event says of a certificate that was made: serial, names, end, Secret, and `why` it was."""
    if secret.bundle is None:
        return cut(f"Secret {secret.namespace}/{secret.name} ({why})")
    leaf = secret.bundle.leaf
    names = listed([*leaf.names.dns, *leaf.names.ips, *leaf.names.uris])
    where = f"Secret {secret.namespace}/{secret.name}"
    return cut(f"{leaf.serial} for {names} until {rfc3339(leaf.not_after)} in {where} ({why})")
