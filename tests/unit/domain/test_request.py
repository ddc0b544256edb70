"""From a pod to the certificate that it gets, or to the reason why it gets none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.facts import facts
from certmanager.domain.model import Delivery, KeyType, Mode, Names, Pod, Request, Rotation
from certmanager.domain.reasons import Reason
from certmanager.domain.request import NotEnrolled, Rejection, Verdict, Waiting, decide_request
from tests.unit.domain.builders import DEFAULTS, LONG_NAME, UID, annotated, pod, service

SERVICES = [service("web"), service("api")]
API = "api.default.svc.cluster.local"
TRUSTING = replace(DEFAULTS, trust_domain="example.org")


def verdict(of: Pod) -> Verdict:
    return decide_request(of, SERVICES, DEFAULTS)


def granted(of: Pod) -> Request:
    decided = verdict(of)
    assert isinstance(decided, Request), decided
    return decided


def refused(of: Pod) -> Rejection:
    decided = verdict(of)
    assert isinstance(decided, Rejection), decided
    return decided


def labelled(value: str | None) -> Pod:
    return pod(labels={"app": "web"} if value is None else {"app": "web", "podcert.io/enroll": value})


@pytest.mark.parametrize("value", [None, "false"])
def test_a_pod_without_the_label_or_with_false_is_not_enrolled(value: str | None) -> None:
    assert verdict(labelled(value)) == NotEnrolled()


@pytest.mark.parametrize("value", ["True", "yes", "", "1"])
def test_every_other_label_value_is_refused(value: str) -> None:
    rejection = refused(labelled(value))
    assert rejection.reason is Reason.INVALID_LABEL
    assert rejection.message == f'label podcert.io/enroll="{value}": must be "true" or "false"; change the label'


def test_a_plain_pod_gets_what_the_configuration_says() -> None:
    assert granted(pod()) == Request(
        mode=Mode.SIGN,
        key_type=KeyType.EC_256,
        mount="pki",
        role="pods",
        ttl=None,
        names=Names(dns=(API, LONG_NAME), common_name=API),
        secret_name="web-0-cert-12345678",
        fixed_name=False,
        rotation=Rotation.RESTART,
        renew_before_fraction=1 / 3,
        renew_before_seconds=None,
        selected=True,
    )


def test_a_pod_says_what_it_wants_instead() -> None:
    wanted = granted(annotated(mode="sign", key_type="ed25519", role="pods-issue", ttl="1h", rotation="none"))
    assert (wanted.mode, wanted.key_type, wanted.role) == (Mode.SIGN, KeyType.ED25519, "pods-issue")
    assert (wanted.ttl, wanted.rotation) == (3600, Rotation.NONE)


def test_in_mode_issue_vaults_role_decides_the_key_type() -> None:
    wanted = granted(annotated(mode="issue"))
    assert (wanted.role, wanted.key_type) == ("pods-issue", None)


def test_a_key_type_together_with_issue_is_refused() -> None:
    rejection = refused(annotated(mode="issue", key_type="ec-256"))
    assert rejection.reason is Reason.KEY_TYPE_WITH_ISSUE
    assert 'podcert.io/key-type="ec-256"' in rejection.message
    by_default = decide_request(annotated(key_type="ec-256"), SERVICES, replace(DEFAULTS, mode=Mode.ISSUE))
    assert isinstance(by_default, Rejection)


def test_a_role_that_is_not_configured_is_refused_and_the_configured_ones_are_told() -> None:
    rejection = refused(annotated(role="admin"))
    assert rejection.reason is Reason.ROLE_NOT_ALLOWED
    assert 'podcert.io/role="admin": must be one of the configured roles (pods, pods-issue)' in rejection.message


def test_renew_before_replaces_the_configured_fraction() -> None:
    by_seconds = granted(annotated(renew_before="1h"))
    assert (by_seconds.renew_before_fraction, by_seconds.renew_before_seconds) == (None, 3600)
    by_part = granted(annotated(renew_before="50%"))
    assert (by_part.renew_before_fraction, by_part.renew_before_seconds) == (0.5, None)


def test_a_renewal_before_the_whole_lifetime_is_refused() -> None:
    rejection = refused(annotated(renew_before="2h", ttl="2h"))
    assert "must be shorter than the TTL (7200s)" in rejection.message
    assert granted(annotated(renew_before="2h", ttl="3h")).renew_before_seconds == 7200


def test_a_secret_name_is_taken_as_fixed() -> None:
    wanted = granted(annotated(secret_name="server-cert"))
    assert (wanted.secret_name, wanted.fixed_name) == ("server-cert", True)


def test_chosen_dns_names_replace_the_default_ones_in_the_order_given() -> None:
    names = granted(annotated(dns_names="web.default,api.default.svc")).names
    assert names == Names(dns=("web.default", "api.default.svc"), common_name="web.default")


def test_a_common_name_becomes_the_first_dns_name_beside_the_default_ones() -> None:
    assert granted(annotated(common_name=LONG_NAME)).names == Names(dns=(LONG_NAME, API), common_name=LONG_NAME)
    assert granted(annotated(common_name="web.default")).names.dns == ("web.default", API, LONG_NAME)


def test_a_common_name_is_added_to_chosen_dns_names() -> None:
    names = granted(annotated(common_name="web.default", dns_names="api.default")).names
    assert names == Names(dns=("web.default", "api.default"), common_name="web.default")


@pytest.mark.parametrize(
    "name", ["evil.example.com", "*.default.svc.cluster.local", "web.other.svc.cluster.local", "web-0.default.svc"]
)
@pytest.mark.parametrize("field", ["dns_names", "common_name"])
def test_a_name_that_is_not_the_pods_own_is_refused_with_value_rule_and_the_pods_names(field: str, name: str) -> None:
    rejection = refused(annotated(**{field: name}))
    assert rejection.reason is Reason.NAME_NOT_ALLOWED
    assert (
        f'annotation podcert.io/{field.replace("_", "-")}="{name}": must be one of the pod\'s own' in rejection.message
    )
    assert API in rejection.message
    assert "wildcards" in rejection.message


def test_a_pod_with_no_name_at_all_is_refused_with_the_reason() -> None:
    rejection = decide_request(pod("a.b"), [], DEFAULTS)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.NO_NAME
    assert "its name has a dot" in rejection.message
    taken = decide_request(pod("web"), [service("web", {"app": "x"})], DEFAULTS)
    assert isinstance(taken, Rejection)
    assert "a Service of that name is another's" in taken.message


def test_a_pod_without_a_service_is_told_apart() -> None:
    decided = decide_request(pod(), [], DEFAULTS)
    assert isinstance(decided, Request)
    assert not decided.selected
    assert decided.names.dns == ("web-0.default.svc.cluster.local",)


def test_a_pods_ips_are_added_when_it_asks_for_them() -> None:
    names = granted(replace(annotated(ip_sans="pod-ip"), ips=("10.0.0.7", "FD00::7"))).names
    assert names.ips == ("10.0.0.7", "fd00::7")
    assert names.dns == (API, LONG_NAME)


def test_one_of_a_pods_ips_can_be_chosen_in_any_notation() -> None:
    names = granted(replace(annotated(ip_sans="fd00:0:0::7"), ips=("10.0.0.7", "fd00::7"))).names
    assert names.ips == ("fd00::7",)


def test_anothers_ip_is_refused() -> None:
    rejection = refused(replace(annotated(ip_sans="10.0.0.8"), ips=("10.0.0.7",)))
    assert rejection.reason is Reason.NAME_NOT_ALLOWED
    assert 'podcert.io/ip-sans="10.0.0.8": must be pod-ip or one of the pod\'s own IPs (10.0.0.7)' in rejection.message


def test_an_address_that_is_not_the_pods_is_named_as_its_owner_wrote_it() -> None:
    rejection = refused(replace(annotated(ip_sans="10.0.0.7, FD00:0::8"), ips=("10.0.0.7",)))
    assert 'podcert.io/ip-sans="FD00:0::8": must be pod-ip' in rejection.message


@pytest.mark.parametrize("value", ["pod-ip", "10.0.0.7"])
def test_a_pod_that_asks_for_its_ip_waits_until_it_has_one(value: str) -> None:
    decided = verdict(annotated(ip_sans=value))
    assert isinstance(decided, Waiting)
    assert decided.reason is Reason.WAITING_FOR_POD_IP


@pytest.mark.parametrize("ips", [(), ("10.0.0.7",)])
def test_a_pod_that_mounts_its_secret_cannot_have_its_ip(ips: tuple[str, ...]) -> None:
    mounting = replace(
        annotated(ip_sans="pod-ip", secret_name="web-cert"), ips=ips, delivery=Delivery(mounts=frozenset({"web-cert"}))
    )
    rejection = refused(mounting)
    assert rejection.reason is Reason.POD_IP_WITH_MOUNT
    assert "only after the mount" in rejection.message
    other = replace(mounting, ips=("10.0.0.7",), delivery=Delivery(mounts=frozenset({"other"})))
    assert granted(other).names.ips == ("10.0.0.7",)


def test_a_pod_in_the_nodes_network_cannot_have_the_nodes_ip() -> None:
    rejection = refused(replace(annotated(ip_sans="pod-ip"), ips=("192.0.2.1",), host_network=True))
    assert rejection.reason is Reason.POD_IP_OF_NODE


@pytest.mark.parametrize("value", ["spiffe", "spiffe://example.org/ns/default/sa/web"])
def test_a_pod_gets_its_spiffe_id_beside_its_names(value: str) -> None:
    decided = decide_request(annotated(uri_sans=value), SERVICES, TRUSTING)
    assert isinstance(decided, Request)
    assert decided.names.uris == ("spiffe://example.org/ns/default/sa/web",)
    assert decided.names.dns == (API, LONG_NAME)


def test_a_spiffe_id_is_enough_for_a_pod_without_a_dns_name() -> None:
    decided = decide_request(replace(annotated(uri_sans="spiffe"), name="a.b"), [], TRUSTING)
    assert isinstance(decided, Request)
    assert decided.names == Names(uris=("spiffe://example.org/ns/default/sa/web",))


@pytest.mark.parametrize(
    "value",
    ["spiffe://example.org/ns/default/sa/admin", "spiffe://other.org/ns/default/sa/web", "https://example.org/"],
)
def test_any_other_uri_is_refused(value: str) -> None:
    decided = decide_request(annotated(uri_sans=value), SERVICES, TRUSTING)
    assert isinstance(decided, Rejection)
    assert decided.reason is Reason.NAME_NOT_ALLOWED
    assert "spiffe://example.org/ns/default/sa/web" in decided.message


def test_a_spiffe_id_without_a_trust_domain_is_refused() -> None:
    assert refused(annotated(uri_sans="spiffe")).reason is Reason.NO_TRUST_DOMAIN


def test_everything_that_is_wrong_is_said_at_once_and_the_first_gives_the_reason() -> None:
    rejection = refused(annotated(ttl="5 parsecs", role="admin", dns_names="evil.example.com", colour="red"))
    assert rejection.reason is Reason.INVALID_ANNOTATION
    for part in ("colour", '"5 parsecs"', '"admin"', '"evil.example.com"'):
        assert part in rejection.message


def test_a_template_restarted_by_podcert_is_not_refused() -> None:
    assert granted(annotated(restarted_for="web-5d8f")) == granted(pod())


WORDS = st.sampled_from(["web.default", API, "*.default", "evil.example", "", "pod-ip", "10.0.0.7", "spiffe", "x,y"])


@given(
    st.dictionaries(
        st.sampled_from(["dns-names", "common-name", "ip-sans", "uri-sans", "secret-name"]), WORDS | st.text()
    ),
    st.sampled_from([(), ("10.0.0.7",)]),
    st.booleans(),
)
def test_no_annotation_ever_gives_a_pod_a_name_that_is_not_its_own(
    annotations: dict[str, str], ips: tuple[str, ...], selected: bool
) -> None:
    asking = pod(annotations=annotations, ips=ips)
    services = SERVICES if selected else []
    decided = decide_request(asking, services, TRUSTING)
    if isinstance(decided, Request):
        own = facts(asking, services, "cluster.local")
        assert set(decided.names.dns) <= set(own.dns)
        assert set(decided.names.ips) <= set(ips)
        assert set(decided.names.uris) <= {"spiffe://example.org/ns/default/sa/web"}
        assert decided.names.common_name is None or decided.names.common_name in decided.names.dns
        assert decided.names.sans()
    elif isinstance(decided, Rejection):
        assert len(decided.message.encode()) <= 1000
        assert decided.message.isprintable()


def test_the_uid_is_in_the_secrets_name() -> None:
    assert granted(pod()).secret_name.endswith(UID[:8])
