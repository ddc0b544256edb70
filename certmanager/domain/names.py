"""What a valid name, address, URI, role or duration is, and how our Secrets are called.

Used wherever a user's text becomes part of a certificate, a Vault path or an object's name: annotations and settings.
Every parser returns the canonical value or raises `RuleError` with the rule (and a remedy where there is a better one
than "change it"); none of them repeats the value.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

from certmanager.domain.problems import RuleError

COMMON_NAME_LIMIT: Final = 64
"""Characters, RFC 5280 appendix A.1, ub-common-name."""

DNS_LIMIT: Final = 253
LABEL_LIMIT: Final = 63
TEN_YEARS: Final = 10 * 365 * 86400

_POD_PART_LIMIT: Final = 239  # 253 - len("-cert-") - 8
_SHORTENED_POD_PART: Final = 228  # _POD_PART_LIMIT - len("-") - 10 hex digits

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
_ROLE: Final = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_ISSUER: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?", re.ASCII)
_GENERATED: Final = re.compile(r".*-cert-[0-9a-f]{8}", re.DOTALL)
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_DURATION: Final = re.compile(r"(?:([0-9]{1,12})d)?(?:([0-9]{1,12})h)?(?:([0-9]{1,12})m)?(?:([0-9]{1,12})s)?")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")
_PERCENTAGE: Final = re.compile(r"([0-9]{1,3})%")


def secret_name(pod: str, uid: str) -> str:
    """`<pod>-cert-<first 8 of the pod's uid>`, at most 253 characters: design.md §1.

    A pod name over 239 characters is cut and followed by the first 10 hex digits of its SHA-256, so that two long names
    stay two names. The fetcher has its own copy of this function: a test compares the two.
    """
    part = pod
    if len(pod) > _POD_PART_LIMIT:
        part = f"{pod[:_SHORTENED_POD_PART].rstrip('-.')}-{hashlib.sha256(pod.encode()).hexdigest()[:10]}"
    return f"{part}-cert-{uid[:8]}"


def fits_dns(name: str) -> bool:
    """Whether a name made of valid parts keeps the limits of RFC 1035 §2.3.4: labels of 63, 253 in all."""
    return len(name) <= DNS_LIMIT and max(map(len, name.split("."))) <= LABEL_LIMIT


def is_wildcard(name: str) -> bool:
    """Whether the leftmost label is `*` (RFC 6125 §6.4.3)."""
    return name.startswith("*.")


def parse_dns_name(text: str) -> str:
    """A DNS name as it may stand in a SAN (RFC 1123 labels, RFC 5280 §4.2.1.6), possibly a wildcard.

    Raises:
        RuleError: with the rule that is broken.
    """
    _check_dns_characters(text)
    if len(text) > DNS_LIMIT:
        raise RuleError(f"must have at most {DNS_LIMIT} characters")
    body = text.removeprefix("*.")
    for label in body.split("."):
        if len(label) > LABEL_LIMIT:
            raise RuleError(f"must have labels (the parts between dots) of at most {LABEL_LIMIT} characters")
        if not _LABEL.fullmatch(label):
            raise RuleError(
                "must consist of labels of a-z, 0-9 and '-' that begin and end with a letter or digit (RFC 1123); "
                "'*' only as the whole first label"
            )
    if body.rpartition(".")[2].isdigit():
        raise RuleError("must not end with a number, as an IP address does", "name an IP address in podcert.io/ip-sans")
    return text


def _check_dns_characters(text: str) -> None:
    """The mistakes that deserve a remedy of their own."""
    if not text:
        raise RuleError("must be a DNS name, not empty")
    if not text.isascii():
        raise RuleError("must be ASCII", "write international names as A-labels (xn--…, RFC 5890)")
    if text != text.lower():
        raise RuleError("must be lower case", "write it in lower case")
    if "_" in text:
        raise RuleError("must not have underscores (RFC 1123)", "use '-' instead of '_'")
    if text.endswith("."):
        raise RuleError("must not end with a dot", "leave the last dot out")


def parse_ip(text: str) -> str:
    """An IPv4 or IPv6 address in canonical form (RFC 5952).

    Raises:
        RuleError: not an address, or one with a zone or a prefix length.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise RuleError("must be an IPv4 or IPv6 address without zone and prefix length, such as 10.0.0.7 or fd00::7")
    return str(address)


def parse_uri(text: str) -> str:
    """An absolute URI in ASCII (RFC 3986, RFC 5280 §4.2.1.6) with a lower-case scheme.

    Raises:
        RuleError: not a URI, or over 2,048 bytes (the limit of SPIFFE-ID §2.3).
    """
    rule = "must be an absolute URI such as spiffe://example.org/ns/default/sa/web"
    if len(text) > 2048:
        raise RuleError("must have at most 2048 characters")
    if not _URI.fullmatch(text):
        raise RuleError(rule)
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = None
    if parts is None or not (parts.netloc or parts.path):
        raise RuleError(rule)
    return text


def parse_role(text: str) -> str:
    """The name of a Vault role or the path of a mount: it becomes part of a URL.

    Raises:
        RuleError: anything but words of letters, digits, '_' and '-' with '/' between them.
    """
    if not _ROLE.fullmatch(text) or len(text) > DNS_LIMIT:
        raise RuleError("must be words of letters, digits, '_' and '-', with '/' between them, at most 253 characters")
    return text


def parse_issuer(text: str) -> str:
    """The name or id of an issuer in a Vault mount, as Vault allows it: it becomes one part of a URL.

    Raises:
        RuleError: anything but letters, digits, '_', '-' and '.', or one of the last two at an end.
    """
    if not _ISSUER.fullmatch(text):
        rule = "must be letters, digits, '_', '-' and '.', and begin and end with a letter, a digit or '_'"
        raise RuleError(
            f"{rule}; at most 128 characters", "give the issuer's name or id (`vault list -detailed pki/issuers`)"
        )
    return text


def is_subdomain(text: str) -> bool:
    """Whether a text can be the name of a pod or Secret: a DNS subdomain (RFC 1123)."""
    return len(text) <= DNS_LIMIT and _SUBDOMAIN.fullmatch(text) is not None


def parse_secret_name(text: str) -> str:
    """The name of a Secret that a user chose: a DNS subdomain (RFC 1123), and not one that Podcert could generate.

    A name that looks generated would let one pod take the name of another's Secret, which that one's Role names.

    Raises:
        RuleError: with the rule that is broken.
    """
    if not is_subdomain(text):
        raise RuleError(
            "must be a Secret's name: a-z, 0-9, '-' and '.', beginning and ending with a letter or digit, "
            f"at most {DNS_LIMIT} characters"
        )
    if _GENERATED.fullmatch(text):
        raise RuleError("must not end as generated names do (-cert- and 8 hex digits)", "choose another name")
    return text


def parse_duration(text: str) -> int:
    """A duration as Go and Vault write it, in whole seconds: `90s`, `24h`, `1h30m`, `7d`, or bare seconds (`3600`).

    Raises:
        RuleError: not a duration, zero, or over ten years.
    """
    if _SECONDS.fullmatch(text):
        seconds = int(text)
    else:
        match = _DURATION.fullmatch(text)
        if not text or match is None:
            raise RuleError("must be a duration such as 90s, 24h or 1h30m (units d, h, m, s in this order)")
        days, hours, minutes, rest = (int(group or 0) for group in match.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    if seconds <= 0:
        raise RuleError("must be longer than zero")
    if seconds > TEN_YEARS:
        raise RuleError("must be at most ten years (3650d)")
    return seconds


def parse_percentage(text: str, highest: int = 99) -> float:
    """A whole percentage such as `33%`, from 1 to `highest`, as a fraction (0.33).

    Raises:
        RuleError: not a percentage or out of range.
    """
    match = _PERCENTAGE.fullmatch(text)
    if match is None or not 1 <= int(match.group(1)) <= highest:
        raise RuleError(f"must be a whole percentage from 1% to {highest}%")
    return int(match.group(1)) / 100
