"""From a Secret, as the API server sends it, to the three PEM texts that are to become files: whose, and complete?

It stands between `wait`, which brings Secrets, and `publish`, which writes files. Whether key, certificate and anchors
belong together is the question of `verify`. A seed directory, where there is one, holds the same as a mounted Secret.
"""

import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fetcher.errors import NotYetError, Waiting

MANAGED_LABEL = "podcert.io/managed"
POD_UID_ANNOTATION = "podcert.io/pod-uid"
_MAX_SEED_BYTES = 1024 * 1024  # as much as a whole Secret may hold
Json = dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """A pod's certificate as PEM: leaf then intermediates, private key, trust anchors. Its repr shows no content."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    anchors: bytes = field(repr=False)
    resource_version: str = ""


def require_own(secret: Json, pod_uid: str) -> None:
    """Raise NotYetError unless the manager made `secret` (a core/v1 Secret) for the pod with this uid.

    The name alone proves nothing: anybody who may create Secrets can take a name before the manager does.
    """
    metadata = _object(secret.get("metadata"))
    if _object(metadata.get("labels")).get(MANAGED_LABEL) != "true":
        raise NotYetError(
            Waiting.FOREIGN, f"a Secret of this name exists without the label {MANAGED_LABEL}=true: not the manager's"
        )
    owner = _object(metadata.get("annotations")).get(POD_UID_ANNOTATION)
    if owner != pod_uid:
        raise NotYetError(
            Waiting.FOREIGN,
            f"a Secret of this name exists, but its annotation {POD_UID_ANNOTATION} is {_shown(owner)}, "
            f"and this pod's uid is {pod_uid}: another pod's certificate",
        )


def decode(secret: Json) -> Bundle:
    """Return the Bundle in `secret` (base64 under `tls.crt`, `tls.key`, `ca.crt`).

    Raises NotYetError, naming the field: the manager may replace the Secret with a complete one.
    """
    data = _object(secret.get("data"))
    bundle = Bundle(
        certificate=_decoded(data, "tls.crt"),
        key=_decoded(data, "tls.key"),
        anchors=_decoded(data, "ca.crt"),
        resource_version=str(_object(secret.get("metadata")).get("resourceVersion", "")),
    )
    return _certificates_only(bundle)


def seed(directory: Path) -> Bundle:
    """Return the Bundle in `directory`, a mounted Secret of type kubernetes.io/tls with its CA as `ca.crt`.

    Raises NotYetError, naming the file. The files may be swapped between two reads: `verify` finds out.
    """
    return _certificates_only(
        Bundle(
            certificate=_read(directory / "tls.crt"),
            key=_read(directory / "tls.key"),
            anchors=_read(directory / "ca.crt"),
        )
    )


def _certificates_only(bundle: Bundle) -> Bundle:
    for name, pem in (("tls.crt", bundle.certificate), ("ca.crt", bundle.anchors)):
        if b"PRIVATE KEY" in pem:  # its file will be readable by everybody in the pod
            raise _invalid(f"its {name} holds a private key; it must hold certificates only")
    return bundle


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_SEED_BYTES + 1)
    except OSError as error:
        problem = error.strerror or type(error).__name__
    else:
        if content.strip() and len(content) <= _MAX_SEED_BYTES:
            return content
        problem = f"larger than {_MAX_SEED_BYTES} bytes" if content.strip() else "empty"
    raise NotYetError(Waiting.INVALID, f"{path} cannot be used: {problem}; it must hold PEM")


def _decoded(data: Json, name: str) -> bytes:
    text = data.get(name)
    if not isinstance(text, str) or not text:
        raise _invalid(f"its {name} is missing or empty")
    try:
        decoded = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError both: the latter would carry the text along
        decoded = b""
    if not decoded.strip():
        raise _invalid(f"its {name} is not base64 of a PEM text")
    return decoded


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _shown(value: object) -> str:
    """A foreign value, short and printable: it goes to a log."""
    return "missing" if value is None else ascii(value)[:80]


def _invalid(message: str) -> NotYetError:
    return NotYetError(Waiting.INVALID, f"the Secret is there, but {message}")
