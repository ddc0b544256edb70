"""Keys and CSRs before Vault is asked, and the judgement of what it returned: nothing unverified is ever stored.

Fits the engine's port `KeyMaker`. Flow: `request` → Vault → `bundle` → Secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509

from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.model import Bundle, KeyType, Leaf, Material, Mode, Names, Request, Signed
from certmanager.x509.chain import Authority, Path, authorities, find_path, load_certificate, pem_blocks, signs, unique
from certmanager.x509.csr import make_csr
from certmanager.x509.inspect import read_leaf
from certmanager.x509.keys import PrivateKey, load_key, make_key, to_pkcs8

CLOCK_SKEW_SECONDS: Final = 60
"""How far in the future a certificate may begin: Vault sets notBefore 30 s back, so more means that clocks differ."""

_SHOWN: Final = 5
_UNREADABLE: Final = "VaultAnswerUnreadable"


class X509KeyMaker:
    """Stateless and safe for threads."""

    def request(self, request: Request) -> tuple[str, str]:
        """A new key and its CSR: (PKCS#8 PEM, CSR PEM). Without a key type in the request: ECDSA P-256.

        Raises `Refused` ("NameInvalid") when a name cannot be encoded in a CSR.
        """
        key = make_key(request.key_type or KeyType.EC_256)
        try:
            csr = make_csr(key, request.names)
        except ValueError as error:
            raise Refused(
                "NameInvalid", f"names of Secret {request.secret_name}: {error}; correct the pod's name annotations"
            ) from None
        return to_pkcs8(key), csr

    def bundle(
        self, request: Request, key: str, signed: Signed, anchors: Sequence[str], now: float
    ) -> tuple[Material, Bundle]:
        """The verified material, and its facts.

        `key` is the one `request` made; in mode `issue` it is not used, Vault's is. `anchors` are PEM texts of the mount's
        trust anchors: `ca.crt` is exactly these when the certificate reaches one of them, else the roots of its own chain
        beside them, so that whoever compares the two sees that Vault has another CA by now. `now` is seconds since the
        epoch. Raises `Refused` with reason KeyMismatch,
        KeyTypeDiffers, NamesDiffer, ClockSkew, CertificateExpired or ChainIncomplete. All of them are asked again after
        minutes: each try makes one more certificate in Vault, and none of them heals by itself within seconds.
        Raises `NotYet` (VaultAnswerUnreadable) when a part of the answer cannot be read.
        """
        certificate, leaf, chain, known = _parse(request, signed, anchors)
        private_key = _private_key(request, key, signed)
        if private_key.public_key() != certificate.public_key():
            raise Refused(
                "KeyMismatch",
                f"the certificate {leaf.serial} that Vault returned for role {request.role} is not for the key "
                "that was asked for; the key must be the certificate's; look at what stands between Podcert and Vault",
            )
        _check_key_type(request, leaf)
        _check_names(request, leaf.names)
        _check_validity(request, leaf, now)
        path, trusted = find_path(certificate, chain, known), known
        if path is None:
            trusted = _anchors(chain, known)
            path = _check_chain(request, certificate, chain, trusted)
        material = Material(
            certificate=_certificate_file(pem_blocks(signed.certificate)[0], path),
            key=to_pkcs8(private_key),
            ca="".join(anchor.pem for anchor in trusted),
        )
        fingerprints = frozenset(anchor.fingerprint for anchor in trusted)
        # Vault's chain begins with the issuer: of CAs with one key and name, the certificate alone does not tell which it was.
        issuer = chain[0] if chain and signs(chain[0], certificate) else path.issuer
        facts = Bundle(leaf, True, True, fingerprints, path.anchor.fingerprint, issuer.fingerprint)
        return material, facts


_Parsed = tuple[x509.Certificate, Leaf, tuple[Authority, ...], tuple[Authority, ...]]


def _parse(request: Request, signed: Signed, anchors: Sequence[str]) -> _Parsed:
    """(certificate, its facts, Vault's chain, anchors known beside it)."""
    try:
        blocks = pem_blocks(signed.certificate)
        if not blocks:
            raise ValueError("the certificate field holds no PEM certificate")
        certificate = load_certificate(blocks[0])
        chain = unique(found for pem in signed.chain for found in authorities(pem.encode("utf-8", "replace")))
        known = unique(found for pem in anchors for found in authorities(pem.encode("utf-8", "replace")))
    except ValueError as error:
        raise NotYet(
            _UNREADABLE, f"Vault's answer for role {request.role} at {request.mount} cannot be used: {error}"
        ) from None
    try:
        return certificate, read_leaf(certificate), chain, known
    except ValueError as error:
        raise Refused("NamesDiffer", f"{error}, and no such name was decided; {_names_remedy(request)}") from None


def _private_key(request: Request, key: str, signed: Signed) -> PrivateKey:
    """The key that was made here (`sign`) or by Vault (`issue`)."""
    if request.mode is Mode.SIGN:
        return load_key(key)
    problem = "it holds no private_key"
    if signed.private_key is not None:
        try:
            return load_key(signed.private_key)
        except ValueError as error:
            problem = str(error)
    raise NotYet(_UNREADABLE, f"Vault's answer for role {request.role} at {request.mount} cannot be used: {problem}")


def _check_key_type(request: Request, leaf: Leaf) -> None:
    if request.key_type is None or leaf.key_type == request.key_type:
        return
    raise Refused(
        "KeyTypeDiffers",
        f"key-type {request.key_type.value} was asked for, and the role {request.role} gave {leaf.key_type}; in "
        "mode issue the role decides: leave the annotation out, use mode sign, or set the role's key_type and key_bits",
    )


def _check_names(request: Request, got: Names) -> None:
    """Exactly those decided: Vault takes the names from elsewhere than one would think (tests/contract/vault_answers)."""
    want = request.names
    surplus, missing = got.sans() - want.sans(), want.sans() - got.sans()
    problems = []
    if surplus:
        problems.append(f"has {_some(surplus)}, not asked for")
    if missing:
        problems.append(f"lacks {_some(missing)}")
    if got.common_name != want.common_name:
        problems.append(f"has the common name {got.common_name!r} instead of {want.common_name!r}")
    if problems:
        raise Refused(
            "NamesDiffer",
            f"the certificate that Vault returned {' and '.join(problems)}; its names must be exactly those decided; "
            + _names_remedy(request),
        )


def _names_remedy(request: Request) -> str:
    settings = "use_csr_sans=true and use_csr_common_name=true" if request.mode is Mode.SIGN else "no names of its own"
    return f"give the role {request.role} at {request.mount} {settings}"


def _some(names: Iterable[str]) -> str:
    """The first few, in order: an Event has 1,024 characters."""
    ordered = sorted(names)
    shown = ", ".join(name if len(name) <= 120 else name[:119] + "…" for name in ordered[:_SHOWN])
    return shown if len(ordered) <= _SHOWN else f"{shown} and {len(ordered) - _SHOWN} more"


def _check_validity(request: Request, leaf: Leaf, now: float) -> None:
    if leaf.not_before > now + CLOCK_SKEW_SECONDS:
        raise Refused(
            "ClockSkew",
            f"the certificate begins {leaf.not_before - now:.0f} s from now by this node's clock; at most "
            f"{CLOCK_SKEW_SECONDS} s are accepted; synchronise the clocks of Vault and of the cluster's nodes",
        )
    if leaf.not_after <= now:
        raise Refused(
            "CertificateExpired",
            f"the certificate ended {now - leaf.not_after:.0f} s ago by this node's clock; it must end in the future; "
            f"synchronise the clocks, or look at the role {request.role}'s not_after and at its issuer's end",
        )


def _anchors(chain: tuple[Authority, ...], known: tuple[Authority, ...]) -> tuple[Authority, ...]:
    """Roots of the chain, then those known beside it; when there is none, the chain's last as a last resort."""
    return unique([found for found in chain if found.self_signed] + list(known)) or chain[-1:]


def _check_chain(
    request: Request, certificate: x509.Certificate, chain: tuple[Authority, ...], trusted: tuple[Authority, ...]
) -> Path:
    path = find_path(certificate, chain, trusted)
    if path is None:
        raise Refused(
            "ChainIncomplete",
            f"no trust anchor is reached from the certificate that the role {request.role} at {request.mount} gave "
            f"({len(chain)} certificates in its ca_chain, {len(trusted)} anchors); give the issuer in Vault its whole "
            "chain up to the root (intermediate/set-signed with all certificates, or manual_chain)",
        )
    return path


def _certificate_file(leaf: bytes, path: Path) -> str:
    """Leaf, then intermediates, without the root: a peer that trusts the root has it (RFC 8446, 4.4.2)."""
    above = [*path.intermediates, path.anchor]
    return leaf.decode("ascii") + "\n" + "".join(one.pem for one in above if not one.self_signed)
