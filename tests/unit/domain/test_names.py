"""What a valid name, address, URI, role or duration is, and how our Secrets are called."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain import names
from certmanager.domain.problems import RuleError

UID = "12345678-aaaa-bbbb-cccc-1234567890ab"
LABEL = st.from_regex(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        ("web-0", "web-0-cert-12345678"),
        ("a" * 239, "a" * 239 + "-cert-12345678"),
        ("a" * 240, "a" * 228 + "-" + hashlib.sha256(b"a" * 240).hexdigest()[:10] + "-cert-12345678"),
        (
            "a" * 225 + "-.-" + "b" * 20,
            "a" * 225 + "-" + hashlib.sha256(b"a" * 225 + b"-.-" + b"b" * 20).hexdigest()[:10] + "-cert-12345678",
        ),
    ],
)
def test_a_secret_is_called_after_its_pod_and_the_pods_uid(pod: str, expected: str) -> None:
    assert names.secret_name(pod, UID) == expected


@given(st.integers(1, 253))
def test_a_secrets_name_is_never_too_long(length: int) -> None:
    assert len(names.secret_name("a" * length, UID)) <= 253


def test_two_long_pod_names_with_one_beginning_stay_two_names() -> None:
    assert names.secret_name("a" * 240 + "b", UID) != names.secret_name("a" * 240 + "c", UID)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "web.default.svc.cluster.local",
        "xn--bcher-kva.example",
        "*.example.com",
        "1.example",
        "a" * 63 + ".b",
        "a-b.c",
    ],
)
def test_a_dns_name_is_taken_as_it_is(name: str) -> None:
    assert names.parse_dns_name(name) == name


@given(st.lists(LABEL, min_size=1, max_size=3))
def test_every_name_of_valid_labels_is_valid(labels: list[str]) -> None:
    name = ".".join(labels)
    assert names.parse_dns_name(name) == name
    assert names.fits_dns(name)


@pytest.mark.parametrize(
    ("name", "rule", "remedy"),
    [
        ("", "not empty", None),
        ("bücher.example", "ASCII", "xn--"),
        ("Web.default", "lower case", "lower case"),
        ("my_web.default", "underscores", "'-'"),
        ("web.default.", "end with a dot", "leave the last dot out"),
        ("web..default", "labels", None),
        (".web", "labels", None),
        ("-web", "begin and end", None),
        ("web-", "begin and end", None),
        ("a.*.b", "first label", None),
        ("*", "first label", None),
        ("*.*.b", "first label", None),
        ("w*.b", "first label", None),
        ("a b", "labels", None),
        ("a\n", "labels", None),
        ("a" * 64, "63", None),
        (".".join(["a" * 60] * 5), "253", None),
        ("10.0.0.7", "number", "ip-sans"),
        ("web.7", "number", "ip-sans"),
    ],
)
def test_a_wrong_dns_name_is_refused_with_rule_and_remedy(name: str, rule: str, remedy: str | None) -> None:
    with pytest.raises(RuleError) as caught:
        names.parse_dns_name(name)
    assert rule in caught.value.rule
    assert (caught.value.remedy is None) if remedy is None else (remedy in (caught.value.remedy or ""))


def test_a_wildcard_is_recognised() -> None:
    assert names.is_wildcard("*.example.com")
    assert not names.is_wildcard("a.example.com")


def test_a_label_of_64_or_a_name_of_254_characters_does_not_fit() -> None:
    assert names.fits_dns("a" * 63 + ".b")
    assert not names.fits_dns("a" * 64 + ".b")
    assert names.fits_dns(".".join(["a" * 63] * 3 + ["a" * 61]))
    assert not names.fits_dns(".".join(["a" * 63] * 3 + ["a" * 62]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("FD00:0:0::7", "fd00::7"),
        ("::ffff:10.0.0.7", str(ipaddress.ip_address("::ffff:10.0.0.7"))),
    ],
)
def test_an_address_is_made_canonical(text: str, expected: str) -> None:
    assert names.parse_ip(text) == expected


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.0/8", "fe80::1%eth0", "010.0.0.7", " 10.0.0.7", "\u0661.\u0662.\u0663.\u0664"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match="address"):
        names.parse_ip(text)


@given(st.ip_addresses())
def test_a_canonical_address_stays_as_it_is(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert names.parse_ip(address.exploded) == str(address) == names.parse_ip(str(address))


@pytest.mark.parametrize(
    "text", ["spiffe://example.org/ns/default/sa/web", "urn:uuid:0", "https://example.org/a?b=c#d"]
)
def test_a_uri_is_taken_as_it_is(text: str) -> None:
    assert names.parse_uri(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "web",
        "/path",
        "spiffe:",
        "SPIFFE://a/b",
        "spiffe://a b",
        "spiffe://a\n",
        "http://[::1",
        "x:é",
        "x:" + "a" * 2048,
    ],
)
def test_what_is_no_uri_is_refused(text: str) -> None:
    with pytest.raises(RuleError):
        names.parse_uri(text)


@pytest.mark.parametrize("text", ["pods", "pods-issue", "team_a/PKI-2"])
def test_a_role_name_is_taken_as_it_is(text: str) -> None:
    assert names.parse_role(text) == text


@pytest.mark.parametrize(
    "text", ["", "/pods", "pods/", "a//b", "../sys", "a b", "pods\n", "a%2fb", "pods?x", "a" * 254]
)
def test_a_role_name_cannot_leave_its_place_in_the_url(text: str) -> None:
    with pytest.raises(RuleError):
        names.parse_role(text)


@pytest.mark.parametrize("text", ["server-cert", "a.b", "web-cert-1234567", "0"])
def test_a_secret_name_is_taken_as_it_is(text: str) -> None:
    assert names.parse_secret_name(text) == text


@pytest.mark.parametrize("text", ["", "A", "a_b", "-a", "a-", "a.", ".a", "a..b", "a\n", "a" * 254])
def test_what_cannot_be_a_secrets_name_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match="Secret's name"):
        names.parse_secret_name(text)


@given(st.from_regex(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,40}[A-Za-z0-9_])?", fullmatch=True))
def test_an_issuer_is_one_part_of_the_url(text: str) -> None:
    assert names.parse_issuer(text) == text
    for outside in (
        f"{text}/sign",
        f"../{text}",
        f".{text}",
        f"{text}-",
        f"{text}%2e",
        f"{text}\n",
        f"{text} ",
        "",
        "x" * 129,
    ):
        with pytest.raises(RuleError):
            names.parse_issuer(outside)


def test_a_secret_name_that_looks_generated_is_refused_because_another_pods_role_may_name_it() -> None:
    with pytest.raises(RuleError, match="generated"):
        names.parse_secret_name(names.secret_name("web-0", UID))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("24h", 86400),
        ("1h30m", 5400),
        ("3600", 3600),
        ("7d", 604800),
        ("1d2h3m4s", 93784),
        ("3650d", 315_360_000),
    ],
)
def test_a_duration_is_read_as_go_and_vault_write_it(text: str, seconds: int) -> None:
    assert names.parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "such as 90s"),
        ("5 parsecs", "such as 90s"),
        ("s", "such as 90s"),
        ("30m1h", "such as 90s"),
        ("1h1h", "such as 90s"),
        ("-1h", "such as 90s"),
        ("1.5h", "such as 90s"),
        ("1H", "such as 90s"),
        ("90s\n", "such as 90s"),
        ("٣s", "such as 90s"),
        ("9" * 5000, "such as 90s"),
        ("0", "longer than zero"),
        ("0h0m", "longer than zero"),
        ("3651d", "ten years"),
        ("999999999999", "ten years"),
    ],
)
def test_a_wrong_duration_is_refused_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(RuleError, match=rule):
        names.parse_duration(text)


@given(st.integers(1, names.TEN_YEARS))
def test_every_duration_comes_back_from_its_units(seconds: int) -> None:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    assert names.parse_duration(f"{hours}h{minutes}m{rest}s") == seconds == names.parse_duration(str(seconds))


@given(st.integers(1, 99))
def test_a_percentage_becomes_a_fraction(percent: int) -> None:
    assert names.parse_percentage(f"{percent}%") == percent / 100


@pytest.mark.parametrize("text", ["", "%", "0%", "100%", "33", "33.3%", "-1%", "33%\n", " 33%"])
def test_a_wrong_percentage_is_refused(text: str) -> None:
    with pytest.raises(RuleError, match="from 1% to 99%"):
        names.parse_percentage(text)


@pytest.mark.parametrize(
    "parse",
    [
        names.parse_dns_name,
        names.parse_ip,
        names.parse_uri,
        names.parse_role,
        names.parse_secret_name,
        names.parse_duration,
    ],
)
@given(text=st.text(max_size=300))
def test_whatever_is_written_is_read_or_refused_without_being_repeated(
    parse: Callable[[str], object], text: str
) -> None:
    said = ""
    try:
        parse(text)
    except RuleError as error:
        said = f"{error} {error.remedy}"
    assert len(text) <= 30 or text not in said
