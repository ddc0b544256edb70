"""Annotations are read strictly, and everything that is wrong with them is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.annotations import ANNOTATIONS, IGNORED, KNOWN, Annotations, parse_annotations
from certmanager.domain.model import KeyType, Mode, Rotation


def only_problem(name: str, value: str) -> str:
    read, problems = parse_annotations({name: value})
    assert read == Annotations()
    assert len(problems) == 1
    return str(problems[0])


def test_a_pod_without_annotations_asks_for_nothing() -> None:
    assert parse_annotations({}) == (Annotations(), ())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mode", "issue", Annotations(mode=Mode.ISSUE)),
        ("key-type", "rsa-3072", Annotations(key_type=KeyType.RSA_3072)),
        ("role", "pods", Annotations(role="pods")),
        ("ttl", "1h30m", Annotations(ttl=5400)),
        ("common-name", "web.default", Annotations(common_name="web.default")),
        ("dns-names", "b.default, a.default", Annotations(dns_names=("b.default", "a.default"))),
        ("ip-sans", "pod-ip", Annotations(ips=("pod-ip",))),
        ("ip-sans", "10.0.0.7,FD00:0::7", Annotations(ips=("10.0.0.7", "fd00::7"))),
        ("uri-sans", "spiffe", Annotations(uris=("spiffe",))),
        ("uri-sans", "spiffe://a/ns/b/sa/c", Annotations(uris=("spiffe://a/ns/b/sa/c",))),
        ("rotation", "refresh", Annotations(rotation=Rotation.REFRESH)),
        ("renew-before", "33%", Annotations(renew_before_fraction=0.33)),
        ("renew-before", "8h", Annotations(renew_before_seconds=28800)),
        ("secret-name", "server-cert", Annotations(secret_name="server-cert")),
    ],
)
def test_a_right_value_is_read(name: str, value: str, expected: Annotations) -> None:
    assert parse_annotations({name: value}) == (expected, ())


@pytest.mark.parametrize("member", [*Mode, *KeyType, *Rotation])
def test_every_word_of_the_model_can_be_asked_for(member: Mode | KeyType | Rotation) -> None:
    name = {Mode: "mode", KeyType: "key-type", Rotation: "rotation"}[type(member)]
    read, problems = parse_annotations({name: str(member)})
    assert not problems
    assert member in (read.mode, read.key_type, read.rotation)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mode", "Sign", 'podcert.io/mode="Sign": must be one of sign, issue; change the annotation'),
        ("key-type", "rsa-1024", 'podcert.io/key-type="rsa-1024": must be one of ec-256, ec-384'),
        ("role", "../sys", 'podcert.io/role="../sys": must be words'),
        ("ttl", "5 parsecs", 'annotation podcert.io/ttl="5 parsecs": must be a duration such as 90s, 24h or 1h30m'),
        ("ttl", "", 'podcert.io/ttl="": must be a duration'),
        ("common-name", "a" * 65, "at most 64 characters (RFC 5280); use podcert.io/dns-names"),
        ("common-name", "A.b", "must be lower case; write it in lower case"),
        ("dns-names", "", 'podcert.io/dns-names="": must not be empty'),
        ("dns-names", " ", "must not be empty"),
        ("dns-names", "a.b,,c.d", "not empty"),
        ("dns-names", "a.b,", "not empty"),
        ("dns-names", "a.b,a.b", "must not name the same value twice"),
        ("dns-names", "a.b\nc.d", '"a.b\\nc.d"'),
        ("ip-sans", "10.0.0", "must be an IPv4 or IPv6 address"),
        ("ip-sans", "fd00::7,FD00:0::7", "must not name the same value twice"),
        ("uri-sans", "web", "must be an absolute URI"),
        ("rotation", "roll", "must be one of restart, evict, refresh, none"),
        ("renew-before", "71%", "must be a whole percentage from 1% to 70%"),
        ("renew-before", "later", "or a percentage of the lifetime such as 33%"),
        ("secret-name", "Server", "must be a Secret's name"),
    ],
)
def test_a_wrong_value_is_refused_with_field_value_rule_and_remedy(name: str, value: str, message: str) -> None:
    assert message in only_problem(name, value)


@pytest.mark.parametrize(
    ("name", "near"),
    [("tll", "ttl"), ("TTL", "ttl"), ("keytype", "key-type"), ("dns_names", "dns-names"), ("rotate", "rotation")],
)
def test_an_unknown_annotation_is_refused_and_the_nearest_known_one_is_suggested(name: str, near: str) -> None:
    text = only_problem(name, "x")
    assert text.startswith(f"annotation podcert.io/{name}: is not known; did you mean podcert.io/{near}?")


def test_an_unknown_annotation_that_resembles_nothing_comes_with_the_list_of_known_ones() -> None:
    text = only_problem("zzzz", "x")
    assert all(spec.name in text for spec in ANNOTATIONS)


def test_the_label_written_as_an_annotation_is_told_from_an_unknown_one() -> None:
    assert "is a label, not an annotation" in only_problem("enroll", "true")


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_podcert_itself_writes_on_templates_is_no_problem(name: str) -> None:
    assert parse_annotations({name: "anything"}) == (Annotations(), ())
    assert name not in KNOWN


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_value_over_4_kib_is_refused_and_told_by_its_beginning(name: str) -> None:
    text = only_problem(name, "q" * 4097)
    assert "4096" in text
    assert f'podcert.io/{name}="qqqq' in text
    assert len(text) < 250


def test_a_value_of_4_kib_is_read() -> None:
    labels = [f"a{number:04}.example" for number in range(290)]
    value = ",".join(labels)
    assert len(value) < 4096
    assert parse_annotations({"dns-names": value.ljust(4096)})[0].dns_names == tuple(labels)


def test_all_problems_are_collected_and_what_is_right_is_read() -> None:
    read, problems = parse_annotations({"ttl": "x", "mode": "issue", "rotation": "y", "unknown": "z"})
    assert [problem.field.removeprefix("annotation podcert.io/") for problem in problems] == [
        "rotation",
        "ttl",
        "unknown",
    ]
    assert read == Annotations(mode=Mode.ISSUE)


@given(st.dictionaries(st.sampled_from(sorted(KNOWN)) | st.text(max_size=20), st.text(max_size=100), max_size=5))
def test_whatever_is_written_is_read_or_refused(raw: dict[str, str]) -> None:
    _, problems = parse_annotations(raw)
    assert all(str(problem).isprintable() for problem in problems)


@pytest.mark.parametrize("spec", ANNOTATIONS, ids=lambda spec: spec.name)
def test_the_example_of_every_annotation_is_right(spec: object) -> None:
    name, example = spec.name, spec.example  # type: ignore[attr-defined]
    read, problems = parse_annotations({name: example})
    assert not problems
    assert read != Annotations()
