"""Does the key fit the certificate, and does the chain reach the anchors? Tried as its user will: by a TLS handshake.

Both ends of the handshake are in memory. OpenSSL then checks key, chain, validity and purpose by the very rules that
the application's own handshakes meet, and tells the leaf's serial and expiry; no parser of certificates is needed.
It stands between the two halves of `publish`: the files are written, and nobody sees them yet.
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fetcher.errors import NotYetError, Waiting

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSUITABLE_PURPOSE = 26  # X509_V_ERR_INVALID_PURPOSE, openssl/x509_vfy.h
_MAX_TURNS = 10  # a TLS 1.3 handshake takes two for each side


@dataclass(frozen=True)
class Leaf:
    """What is told about a certificate.

    `serial` is lower-case hexadecimal with colons, as Vault writes it; `not_after` is RFC 3339 in UTC; `names` are the
    subject alternative names, such as `DNS:server.default.svc`.
    """

    serial: str
    not_after: str
    names: tuple[str, ...]


def verify(certificate: Path, key: Path, anchors: Path) -> Leaf:
    """Return the Leaf of the PEM file `certificate` if `key` fits it, its chain reaches `anchors`, and it is valid now.

    These are the files that will be published, so what is verified is what is seen. Raises NotYetError with the reason;
    neither it nor anything chained to it holds a byte of a file.
    """
    reason = None
    try:
        return _try(certificate, key, anchors)
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate does not verify against its ca.crt: {error.verify_message}"
    except ssl.SSLError as error:
        reason = f"a TLS handshake with its certificate fails: {error.reason}"
    raise _invalid(reason)


def _try(certificate: Path, key: Path, anchors: Path) -> Leaf:
    server = _with_certificate(ssl.PROTOCOL_TLS_SERVER, certificate, key)
    client = _trusting(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), anchors)
    try:
        return leaf_of(_handshake(client, server)[0])
    except ssl.SSLCertVerificationError as error:
        if error.verify_code != _UNSUITABLE_PURPOSE:
            raise
    # Not good for a server: then it is a client's certificate, and the pod is tried as the client that it is.
    _trusting(server, anchors)
    client = _with_certificate(ssl.PROTOCOL_TLS_CLIENT, certificate, key)
    return leaf_of(_handshake(client, server)[1])


def _with_certificate(protocol: Any, certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reason = None
    try:
        context.load_cert_chain(certificate, key, password=_refuse_password)
    except ssl.SSLError as error:
        reason = error.reason
    else:
        return context
    if reason == "KEY_VALUES_MISMATCH":
        raise _invalid("its tls.key does not fit its tls.crt")
    raise _invalid(f"its tls.crt and tls.key cannot be read as PEM ({reason or 'no PEM block of that kind'})")


def _trusting(context: ssl.SSLContext, anchors: Path) -> ssl.SSLContext:
    # Names are the manager's business: it has compared them with those that it decided.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    # An anchor need not be self-signed: Vault may know an intermediate only.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    reason = None
    try:
        context.load_verify_locations(cafile=anchors)
    except ssl.SSLError as error:
        reason = error.reason or "no certificate"
    else:
        return context
    raise _invalid(f"its ca.crt cannot be read as PEM certificates ({reason})")


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return both ends after a handshake in memory; raises ssl.SSLError as a handshake over a socket does."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server.num_tickets = 0
    ends = client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(_MAX_TURNS):
        wanting = 0
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                wanting += 1
        if not wanting:
            return ends
    raise ssl.SSLError(0, "the handshake does not end")


def leaf_of(verified: ssl.SSLObject) -> Leaf:
    """Return the Leaf of the peer that `verified` has verified (ssl.SSLSocket.getpeercert's dict has the fields)."""
    peer: dict[str, Any] = dict(verified.getpeercert() or {})
    names = tuple(f"{kind}:{value}" for kind, value in peer.get("subjectAltName", ()))
    return Leaf(colons(str(peer["serialNumber"])), rfc3339(str(peer["notAfter"])), names)


def colons(serial: str) -> str:
    """Return OpenSSL's `0AFF` as Vault's `0a:ff`."""
    digits = serial.lower()
    digits = digits.rjust(len(digits) + len(digits) % 2, "0")
    return ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))


def rfc3339(openssl_time: str) -> str:
    """Return OpenSSL's `Nov  2 13:21:16 2026 GMT` as `2026-11-02T13:21:16Z`.

    By hand: `ssl.cert_time_to_seconds` imports `_strptime`, `calendar` and `locale`, a tenth of the time that a
    start may take.
    """
    month, day, clock, year, _ = openssl_time.split()
    return f"{int(year):04}-{_MONTHS.index(month) + 1:02}-{int(day):02}T{clock}Z"


def _refuse_password() -> str:
    raise _invalid("its tls.key is encrypted; it must be plain PKCS#8")


def _invalid(message: str) -> NotYetError:
    return NotYetError(Waiting.INVALID, f"the Secret is there, but {message}")
