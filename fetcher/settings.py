"""What the fetcher is told, by environment or flag, judged before anything starts: wrong is said at once, and once.

It is the first step of `cli`. Pod name, namespace and uid come through the downward API
(https://kubernetes.io/docs/concepts/workloads/pods/downward-api/), the API server's address from the kubelet.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fetcher.api import ApiServer
from fetcher.errors import SettingsError
from fetcher.names import is_dns_subdomain, is_uid, secret_name
from fetcher.options import OPTIONS

if TYPE_CHECKING:  # only those who give arguments pay for its import
    from fetcher.reload import Action

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_DURATION_S = 365 * 24 * 3600.0
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


@dataclass(frozen=True)
class Settings:
    """All settings, checked; durations in seconds. `action` is None when the application needs not to be told."""

    pod: str
    namespace: str
    uid: str
    secret: str
    directory: Path
    timeout: float | None
    termination_log: Path
    message_interval: float
    server: ApiServer
    refresh: bool
    action: "Action | None"
    reload_timeout: float
    seed: Path | None = None


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return the settings: a flag before a variable before the default; an empty variable counts as not set.

    Raises SettingsError, naming variable, value, rule and remedy. SystemExit comes from `--help` and unknown flags.
    """
    values, action = _given(arguments, environment)
    refresh = _boolean(values, "PODCERT_REFRESH")
    if action and not refresh:
        raise SettingsError(
            "PODCERT_REFRESH is false; it must be true where --signal, --http or --exec is given: a fetcher that ends "
            "reloads nothing; add --refresh, and restartPolicy: Always to this container"
        )
    if values["PODCERT_SEED_DIR"] and not refresh:
        raise _wrong(
            values,
            "PODCERT_SEED_DIR",
            "left out where PODCERT_REFRESH is not true: nobody would replace the seed",
            "take it out, or add --refresh, and restartPolicy: Always to this container",
        )
    pod, uid = _pod(values), _uid(values)
    return Settings(
        pod=pod,
        namespace=_namespace(values),
        uid=uid,
        secret=_secret(values) or secret_name(pod, uid),
        directory=_path(values, "PODCERT_DIRECTORY"),
        timeout=_duration(values, "PODCERT_TIMEOUT") if values["PODCERT_TIMEOUT"] else None,
        termination_log=_path(values, "PODCERT_TERMINATION_LOG"),
        message_interval=_duration(values, "PODCERT_MESSAGE_INTERVAL"),
        server=ApiServer(
            host=_host(values),
            port=_port(values),
            token_file=_readable(values, "PODCERT_TOKEN_FILE"),
            ca_file=_readable(values, "PODCERT_CA_FILE"),
            request_timeout=_duration(values, "PODCERT_REQUEST_TIMEOUT"),
            watch_timeout=_duration(values, "PODCERT_WATCH_TIMEOUT"),
        ),
        refresh=refresh,
        action=action,
        reload_timeout=_duration(values, "PODCERT_RELOAD_TIMEOUT"),
        seed=_path(values, "PODCERT_SEED_DIR") if values["PODCERT_SEED_DIR"] else None,
    )


def directory(arguments: Sequence[str], environment: Mapping[str, str]) -> Path:
    """Return where the files are, which is all that `--check` has to know. Raises SettingsError."""
    return _path(_given(arguments, environment)[0], "PODCERT_DIRECTORY")


def seconds(text: str) -> float:
    """Return a duration such as `90s`, `5m`, `1h30m` or `500ms` in seconds; raises ValueError with the rule."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("numbers with a unit (ms, s, m, h), such as 90s, 5m or 1h30m")
    total = sum(float(number) * _UNIT_S[unit] for number, unit in parts)
    if not 0.001 <= total <= _MAX_DURATION_S:
        raise ValueError("between 1ms and 8760h")
    return total


def _given(arguments: Sequence[str], environment: Mapping[str, str]) -> "tuple[dict[str, str], Action | None]":
    """The value of each option, and what the arguments (nothing else) say about reloading."""
    values = {o.variable: environment.get(o.variable, "") or o.default for o in OPTIONS}
    if not arguments:  # argparse is imported only for those who use it: in a pod there is the environment
        return values, None
    from fetcher.flags import parse

    given, action = parse(arguments)
    return values | given, action


def _boolean(values: Mapping[str, str], variable: str) -> bool:
    if values[variable] not in {"true", "false"}:
        raise _wrong(values, variable, "true or false", "correct it or leave it out")
    return values[variable] == "true"


def _downward(variable: str, field: str) -> str:
    return f"put it into this container's env: {{name: {variable}, valueFrom: {{fieldRef: {{fieldPath: {field}}}}}}}"


def _pod(values: Mapping[str, str]) -> str:
    name = values["POD_NAME"]
    if not is_dns_subdomain(name):
        raise _wrong(values, "POD_NAME", "the name of this pod", _downward("POD_NAME", "metadata.name"))
    return name


def _namespace(values: Mapping[str, str]) -> str:
    if not _LABEL.fullmatch(values["POD_NAMESPACE"]):
        remedy = _downward("POD_NAMESPACE", "metadata.namespace")
        raise _wrong(values, "POD_NAMESPACE", "the namespace of this pod", remedy)
    return values["POD_NAMESPACE"]


def _uid(values: Mapping[str, str]) -> str:
    if not is_uid(values["POD_UID"]):
        raise _wrong(values, "POD_UID", "the uid of this pod", _downward("POD_UID", "metadata.uid"))
    return values["POD_UID"]


def _secret(values: Mapping[str, str]) -> str:
    name = values["PODCERT_SECRET_NAME"]
    if name and not is_dns_subdomain(name):
        rule = "the name of a Secret: a DNS subdomain (RFC 1123) of at most 253 characters"
        raise _wrong(values, "PODCERT_SECRET_NAME", rule, "correct it, or leave it out for <pod>-cert-<first 8 of uid>")
    return name


def _host(values: Mapping[str, str]) -> str:
    host = values["KUBERNETES_SERVICE_HOST"].removeprefix("[").removesuffix("]")
    if not _HOST.fullmatch(host):
        remedy = "in a pod the kubelet sets it; elsewhere set it yourself"
        raise _wrong(values, "KUBERNETES_SERVICE_HOST", "an IP address or a DNS name", remedy)
    return host


def _port(values: Mapping[str, str]) -> int:
    text = values["KUBERNETES_SERVICE_PORT"]
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        remedy = "in a pod the kubelet sets it; elsewhere set it yourself"
        raise _wrong(values, "KUBERNETES_SERVICE_PORT", "a number from 1 to 65535", remedy)
    return int(text)


def _duration(values: Mapping[str, str], variable: str) -> float:
    rule = ""
    try:
        return seconds(values[variable])
    except ValueError as error:
        rule = str(error)
    raise _wrong(values, variable, rule, "correct it or leave it out")


def _path(values: Mapping[str, str], variable: str) -> Path:
    path = Path(values[variable])
    if not path.is_absolute() or "\0" in values[variable]:
        raise _wrong(values, variable, "an absolute path", "correct it or leave it out")
    return path


def _readable(values: Mapping[str, str], variable: str) -> Path:
    path = _path(values, variable)
    try:
        found = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "unreadable"
    else:
        reason = "" if found.strip() else "empty"
    if reason:
        remedy = "let the token be mounted into this container (automountServiceAccountToken), or name its file"
        raise _wrong(values, variable, f"a readable file with something in it ({reason})", remedy)
    return path


def _wrong(values: Mapping[str, str], variable: str, rule: str, remedy: str) -> SettingsError:
    value = ascii(values[variable])[:300] if values[variable] else "not set"
    return SettingsError(f"{variable} is {value}; it must be {rule}; {remedy}")
