"""The names that a pod has because the API server says so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmanager.domain.facts import Facts, default_names, facts, selects, spiffe_id
from certmanager.domain.model import Pod, Service
from tests.unit.domain.builders import pod, service

DOMAIN = "cluster.local"


def known(of: Pod, *services: Service) -> Facts:
    return facts(of, services, DOMAIN)


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (service(), True),
        (service(selector={"app": "web", "podcert.io/enroll": "true"}), True),
        (service(selector={"app": "web", "tier": "front"}), False),
        (service(selector={"app": "other"}), False),
        (service(selector={}), False),
        (service(external=True), False),
        (service(namespace="other"), False),
    ],
)
def test_a_service_selects_pods_of_its_namespace_that_have_all_its_labels(candidate: Service, expected: bool) -> None:
    assert selects(candidate, pod()) is expected


def test_a_pod_has_the_names_of_its_services_in_all_forms_and_the_long_ones_by_default() -> None:
    found = known(pod(), service("web"), service("api"), service("db", {"app": "db"}))
    assert found.services == ("api", "web")
    assert found.default_dns == ("api.default.svc.cluster.local", "web.default.svc.cluster.local")
    assert set(found.dns) - set(found.default_dns) == {
        "api.default.svc",
        "api.default",
        "web.default.svc",
        "web.default",
    }
    assert default_names(found).dns == found.default_dns
    assert default_names(found).common_name == "api.default.svc.cluster.local"


def test_a_pod_without_a_service_gets_its_own_name() -> None:
    found = known(pod("job-1"), service(selector={"app": "other"}))
    assert found.dns == found.default_dns == ("job-1.default.svc.cluster.local",)


def test_a_pod_with_a_service_does_not_have_its_own_name() -> None:
    assert "web-0.default.svc.cluster.local" not in known(pod("web-0"), service()).dns


def test_a_pod_whose_name_has_a_dot_has_no_name_of_its_own() -> None:
    assert known(pod("a.b")).dns == ()


@pytest.mark.parametrize("other", [service("web", {"app": "other"}), service("web", {}), service("web", external=True)])
def test_a_pod_cannot_take_the_name_of_a_service_that_does_not_select_it(other: Service) -> None:
    assert known(pod("web"), other).dns == ()


def test_a_service_of_the_pods_name_in_another_namespace_is_no_hindrance() -> None:
    assert known(pod("web"), service("web", {}, namespace="other")).dns == ("web.default.svc.cluster.local",)


def test_a_pod_of_a_stateful_set_has_its_name_under_the_headless_service_after_the_services() -> None:
    member = pod("web-0", hostname="web-0", subdomain="web")
    found = known(member, service("web", headless=True))
    assert found.default_dns == ("web.default.svc.cluster.local", "web-0.web.default.svc.cluster.local")
    assert {"web-0.web.default.svc", "web-0.web.default"} <= set(found.dns)


@pytest.mark.parametrize(
    "candidate",
    [
        service("web", headless=False),
        service("web", {"app": "other"}, headless=True),
        service("other", headless=True),
        service("web", headless=True, namespace="other"),
    ],
)
def test_a_subdomain_without_a_headless_service_that_selects_the_pod_gives_no_name(candidate: Service) -> None:
    found = known(pod("web-0", hostname="web-0", subdomain="web"), candidate)
    assert not [name for name in found.dns if name.startswith("web-0.web")]


def test_a_subdomain_without_a_hostname_gives_no_name_because_dns_has_none_either() -> None:
    found = known(pod(subdomain="web"), service("web", headless=True))
    assert found.default_dns == ("web.default.svc.cluster.local",)


def test_in_a_namespace_called_svc_no_pod_can_take_the_short_name_of_another_namespaces_service() -> None:
    member = pod(namespace="svc", hostname="api", subdomain="prod")
    found = known(member, service("prod", headless=True, namespace="svc"))
    assert "api.prod.svc.svc" in found.dns
    assert "api.prod.svc" not in found.dns  # that is Service `api` of namespace `prod`


def test_names_that_dns_cannot_hold_are_left_out() -> None:
    assert known(pod("a" * 64)).dns == ()
    assert known(pod("a" * 63)).dns == ("a" * 63 + ".default.svc.cluster.local",)
    assert facts(pod(), [service()], ".".join(["d" * 60] * 4)).default_dns == ()


def test_the_first_name_that_fits_is_the_common_name_and_a_longer_one_is_left_out_not_cut() -> None:
    long = "a" * 50
    assert default_names(known(pod(), service(long), service("b"))).common_name == "b.default.svc.cluster.local"
    assert default_names(known(pod(), service(long))).common_name is None
    exactly = "a" * (64 - len(".default.svc.cluster.local"))
    assert default_names(known(pod(), service(exactly))).common_name == f"{exactly}.default.svc.cluster.local"


def test_a_spiffe_id_names_namespace_and_service_account() -> None:
    assert spiffe_id(known(pod()), "example.org") == "spiffe://example.org/ns/default/sa/web"


NAMES = st.sampled_from(["a", "b", "svc", "local", "cluster"])
SERVICES = st.lists(
    st.builds(
        Service,
        namespace=NAMES,
        name=NAMES,
        resource_version=st.just(1),
        selector=st.sampled_from([{}, {"app": "web"}, {"app": "other"}]),
        external=st.booleans(),
        headless=st.booleans(),
    ),
    max_size=6,
    unique_by=lambda one: (one.namespace, one.name),
)
PODS = st.builds(
    lambda namespace, name, hostname, subdomain: pod(name, namespace=namespace, hostname=hostname, subdomain=subdomain),
    NAMES,
    NAMES,
    st.none() | NAMES,
    st.none() | NAMES,
)


@given(PODS, SERVICES, st.randoms(use_true_random=False))
def test_the_order_of_the_services_does_not_matter(of: Pod, services: list[Service], random: object) -> None:
    shuffled = list(services)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert facts(of, shuffled, DOMAIN) == facts(of, services, DOMAIN)


@given(PODS, PODS, SERVICES, st.sampled_from(["cluster.local", "local", "a.b"]))
def test_two_pods_of_different_namespaces_never_share_a_name(
    one: Pod, two: Pod, services: list[Service], domain: str
) -> None:
    if one.namespace != two.namespace:
        assert not set(facts(one, services, domain).dns) & set(facts(two, services, domain).dns)


@given(PODS, SERVICES)
def test_a_pod_that_no_service_selects_never_has_the_name_of_one(of: Pod, services: list[Service]) -> None:
    unselected = replace(of, labels={"app": "nothing"})
    taken = {f"{one.name}.{one.namespace}.svc.{DOMAIN}" for one in services}
    assert not set(facts(unselected, services, DOMAIN).dns) & taken


@given(PODS, SERVICES)
def test_default_names_are_among_the_names_and_no_name_is_there_twice(of: Pod, services: list[Service]) -> None:
    found = facts(of, services, DOMAIN)
    assert set(found.default_dns) <= set(found.dns)
    assert len(set(found.dns)) == len(found.dns)
