"""What the API server itself says about a pod's identity: the only names that a pod may have without a grant.

In the flow: pod and Services → *facts* → request. A pod's own labels decide which Services select it, as they do for
its traffic; nothing that the pod merely claims becomes a name. design.md §3, Identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from certmanager.domain.model import Names, Pod, Service
from certmanager.domain.names import COMMON_NAME_LIMIT, fits_dns


@dataclass(frozen=True, slots=True)
class Facts:
    """The identity of one pod.

    Attributes:
        services: names of the Services that select it, sorted.
        default_dns: the DNS names that it gets unless it chooses, most preferred first.
        dns: all DNS names that it may choose from: the default ones, then the shorter forms.
        ips: its IPs as the API server gives them.
    """

    namespace: str
    service_account: str
    services: tuple[str, ...]
    default_dns: tuple[str, ...]
    dns: tuple[str, ...]
    ips: tuple[str, ...]


def selects(service: Service, pod: Pod) -> bool:
    """Whether the Service sends traffic to the pod: same namespace, a selector, all of it in the pod's labels."""
    if service.external or not service.selector or service.namespace != pod.namespace:
        return False
    return service.selector.items() <= pod.labels.items()


def facts(pod: Pod, services: Iterable[Service], cluster_domain: str) -> Facts:
    """The facts of `pod`. The order of `services` does not matter; those of other namespaces are left out.

    Args:
        pod: the pod as the API server has it.
        services: at least all Services of the pod's namespace.
        cluster_domain: such as `cluster.local`, without a dot at either end.
    """
    selecting: list[str] = []
    own_headless = False
    own_name_taken = False
    for service in services:
        if selects(service, pod):
            selecting.append(service.name)
            if service.headless and service.name == pod.subdomain and pod.hostname:
                own_headless = True
        elif service.name == pod.name and service.namespace == pod.namespace:
            own_name_taken = True
    selecting.sort()
    svc = f"{pod.namespace}.svc"
    long = [f"{name}.{svc}.{cluster_domain}" for name in selecting]
    short = [form for name in selecting for form in (f"{name}.{svc}", f"{name}.{pod.namespace}")]
    if own_headless:
        own = f"{pod.hostname}.{pod.subdomain}"
        long.append(f"{own}.{svc}.{cluster_domain}")
        short.append(f"{own}.{svc}")
        if pod.namespace != "svc":  # there `a.b.svc` is the name of Service a in namespace b
            short.append(f"{own}.{pod.namespace}")
    if not selecting and not own_name_taken and "." not in pod.name:
        long.append(f"{pod.name}.{svc}.{cluster_domain}")
    default = tuple(name for name in long if fits_dns(name))
    return Facts(
        namespace=pod.namespace,
        service_account=pod.service_account,
        services=tuple(selecting),
        default_dns=default,
        dns=default + tuple(name for name in short if fits_dns(name)),
        ips=pod.ips,
    )


def origins(known: Facts, pod: Pod, cluster_domain: str) -> dict[str, str]:
    """Where each of `known.dns` comes from, in words; for those who ask, not for those who decide."""
    svc = f"{known.namespace}.svc"
    found: dict[str, str] = {}

    def add(name: str, origin: str, *, short: bool) -> None:
        for form in (
            f"{name}.{svc}.{cluster_domain}",
            *((f"{name}.{svc}", f"{name}.{known.namespace}") if short else ()),
        ):
            found.setdefault(form, origin)

    for service in known.services:
        add(service, f"Service {service} selects the pod", short=True)
    if pod.hostname and pod.subdomain:
        add(f"{pod.hostname}.{pod.subdomain}", f"its hostname under headless Service {pod.subdomain}", short=True)
    add(pod.name, "its own name, as no Service selects it", short=False)
    return {name: found[name] for name in known.dns}


def default_names(known: Facts) -> Names:
    """The names of a pod that chooses none: the long names of its Services, its own headless name; or its own."""
    return Names(dns=known.default_dns, common_name=first_fitting(known.default_dns))


def first_fitting(names: Iterable[str]) -> str | None:
    """The first name short enough to be a common name (64 characters), or None: it is left out, never cut."""
    return next((name for name in names if len(name) <= COMMON_NAME_LIMIT), None)


def spiffe_id(known: Facts, trust_domain: str) -> str:
    """`spiffe://<trust-domain>/ns/<namespace>/sa/<ServiceAccount>`, as SPIRE and Istio name workloads of Kubernetes."""
    return f"spiffe://{trust_domain}/ns/{known.namespace}/sa/{known.service_account}"
