"""The composition root: the only module that sees all the parts, puts them together, starts and stops them.

Order of the start: health endpoints (so that a probe gets an answer), clients, workers, watches. The lists complete last,
and with them the first keys come. Order of the end: no more keys, work in hand, Events, clients, endpoints.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping

import structlog

from certmanager import __version__
from certmanager.domain.model import RevokeWhen
from certmanager.engine.clock import SystemClock
from certmanager.engine.counted import Counted
from certmanager.engine.intake import Intake
from certmanager.engine.keys import Key
from certmanager.engine.producers import Cas, Producers, Sources
from certmanager.engine.queue import WorkQueue
from certmanager.engine.reconcile_pod import PodPorts, PodReconciler, Policy
from certmanager.engine.reconcile_revocation import RevocationPolicy, RevocationPorts, RevocationReconciler
from certmanager.engine.reconcile_role import RoleReconciler
from certmanager.engine.reconcile_workload import RollPolicy, WorkloadReconciler
from certmanager.engine.served import reloads, served_certificates
from certmanager.engine.slots import Slots
from certmanager.engine.store import Store
from certmanager.engine.timers import Timers
from certmanager.engine.windows import Window, parse_window
from certmanager.engine.workers import Reconcilers, Workers
from certmanager.kube.client import KubeClient
from certmanager.kube.events import EventRecorder
from certmanager.kube.namespaces import NamespaceLabels
from certmanager.kube.pods import KubePods
from certmanager.kube.project import SecretReader
from certmanager.kube.roles import KubeRoleStore
from certmanager.kube.secrets import KubeSecretStore
from certmanager.kube.watches import Scope, Sinks, Watches
from certmanager.kube.workloads import KubeWorkloads
from certmanager.observe import logs, metrics
from certmanager.observe.health import Endpoints, HealthServer
from certmanager.observe.reporter import Reporter
from certmanager.policy.file import PolicyFile, Tell
from certmanager.policy.parse import PolicyError
from certmanager.policy.source import TermsSource
from certmanager.settings import Settings
from certmanager.vault.config import VaultConfig
from certmanager.vault.connection import Hooks, Vault, connect
from certmanager.vault.login import Login, TokenFile, TokenValue
from certmanager.vault.login_approle import AppRoleLogin
from certmanager.vault.login_cert import CertLogin
from certmanager.vault.login_jwt import JwtLogin, KubernetesLogin
from certmanager.x509.maker import X509KeyMaker

SPARE_CONNECTIONS = 6
"""Beside the workers': three watches, Events, the producers, and one to spare."""


class StartError(Exception):
    """The manager cannot start with these settings; the text says which and why."""


class Manager:
    """All parts of the manager. Making one calls nobody; `start` does.

    Raises:
        StartError: a kubeconfig, TLS file or address that cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self.metrics = metrics.Metrics(__version__)
        client = _kube_client(settings)
        self._client = client
        self._events = EventRecorder(client, busy=lambda: self._intake.queue.depth() > 0)
        self._reporter = Reporter(self._events, self.metrics)
        self._vault = _vault(settings, Hooks(self._release, lambda error: self._reporter.bug("vault", error)))
        queue = WorkQueue[Key](self._clock.monotonic)
        self._intake = Intake(Store(), queue, self._clock, lambda namespace: _revoked_in(terms, namespace))
        self._timers = Timers(self._intake.queue.add)
        namespaces = settings.namespaces or None
        reader = SecretReader()
        roles = KubeRoleStore(client, namespaces)
        ca = Counted(self._vault.pki, self.metrics.vault_request, lambda: self._vault.circuit.error is not None)
        secrets, preflight = KubeSecretStore(client, reader), self._vault.preflight
        ports = PodPorts(ca, X509KeyMaker(), secrets, KubePods(client), self._reporter, preflight)
        self._policy = _policy_file(settings, self._policy_told)
        terms = TermsSource(settings.defaults(), self._policy, NamespaceLabels(client), self._clock.monotonic)
        policy = Policy(terms, settings.refusal_retry)
        pods = PodReconciler(self._intake, ports, self._timers, self._clock, policy)
        store = self._intake.store
        slots = Slots(settings.max_rolling, settings.max_rolling_per_namespace)
        rolls = RollPolicy(terms, slots, _windows(settings), ca.known_trust)
        workloads = WorkloadReconciler(store, KubeWorkloads(client), self._reporter, self._clock, rolls)
        revocations = RevocationReconciler(
            self._intake,
            RevocationPorts(self._vault.revoker, secrets, ports.pods, self._reporter),
            pods.retiring,
            self._clock,
            RevocationPolicy(terms, ca.known_trust),
        )
        reconcilers = Reconcilers(pods, RoleReconciler(store, roles, self._clock), workloads, revocations)
        self._workers = Workers(self._intake, reconcilers, self._reporter, self._clock)
        cas = Cas(lambda: terms.mounts, ca, settings.ca_refresh)
        sources = Sources(roles.managed, cas, terms.check)
        self._producers = Producers(self._intake, self._timers, sources, self._reporter, self._clock)
        intake = self._intake
        self._watches = Watches(client, Sinks(intake.pods, intake.services, intake.secrets), Scope(namespaces, reader))
        self.metrics.read_from(self._sources(rolls, workloads))
        self._health = _health(settings, Endpoints(self._live, self._ready, self.metrics.render))

    @property
    def port(self) -> int:
        """The port of the health endpoints."""
        return self._health.port

    def start(self) -> None:
        """Starts every thread; returns at once."""
        self._health.start()
        self._events.start()
        self._vault.start()
        self._timers.start()
        self._workers.start(self._settings.workers)
        self._producers.start()
        self._watches.start()

    def stop(self) -> bool:
        """Ends every thread; work in hand is finished first. False when something had to be left."""
        self._watches.stop()
        self._producers.stop()
        self._timers.stop()
        finished = self._workers.stop(self._settings.stop_timeout)
        self._events.stop()
        self._vault.stop()
        self._client.close()
        self._health.stop()
        return finished

    def _policy_told(self, problem: str | None) -> None:
        """A policy that was changed on disk is in force, or cannot be."""
        if problem is None:
            structlog.get_logger("certmanager").info(
                "another policy is in force", rules=len(self._policy.current.rules)
            )
        else:
            self._reporter.problem("policy", "PolicyInvalid", problem)

    def _release(self) -> None:
        self._workers.release()

    def _live(self) -> Mapping[str, str | None]:
        """Fails only where a restart helps: a thread that is gone."""
        missing = self._settings.workers - self._workers.alive()
        dead = self._watches.dead()
        return {
            "workers": f"{missing} of {self._settings.workers} threads have ended" if missing else None,
            "watches": f"the threads of {', '.join(dead)} have ended" if dead else None,
            "producers": None if self._producers.alive else "the thread has ended",
            "events": None if self._events.alive else "the thread has ended",
        }

    def _ready(self) -> Mapping[str, str | None]:
        problems = "; ".join(f"{path}: {why}" for path, why in self._watches.problems().items())
        vault, policy = self._vault.session.problem, self._policy.problem
        return {
            "kubernetes": problems
            or (None if self._intake.synced else f"waiting for {', '.join(self._intake.missing())}"),
            "vault": None if vault is None else vault.message,
            "policy": policy and " | ".join(policy.splitlines()),
        }

    def _sources(self, rolls: RollPolicy, workloads: WorkloadReconciler) -> metrics.Sources:
        queue, store = self._intake.queue, self._intake.store
        return metrics.Sources(
            certificates=lambda: served_certificates(store, self._settings.defaults()),
            queue_depth=queue.depth,
            queue_oldest=queue.oldest,
            watch_last_seen=self._watches.last_seen,
            events_dropped=lambda: self._events.dropped,
            reloads=lambda: reloads(store),
            held_rolls=workloads.progress.held_rolls,
            rolling=lambda: len(rolls.slots),
            failing=self._workers.failing,
            policy_valid=lambda: self._policy.problem is None,
        )


def run(settings: Settings) -> int:
    """Runs the manager until SIGTERM or SIGINT; returns the exit code."""
    logs.configure(logs.LogFormat(settings.log_format), logs.LogLevel(settings.log_level))
    log = structlog.get_logger("certmanager")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    try:
        manager = Manager(settings)
    except StartError as error:
        log.error(str(error))
        return 2
    began = time.monotonic()
    manager.start()
    log.info("started", version=__version__, vault=settings.vault_addr, mount=settings.mount, port=manager.port)
    stop.wait()
    log.info("stopping", after_seconds=round(time.monotonic() - began))
    finished = manager.stop()
    log.info("stopped", finished=finished)
    return 0 if finished else 1


def _revoked_in(terms: TermsSource, namespace: str) -> frozenset[RevokeWhen]:
    known = terms.known(namespace)
    return frozenset() if known is None else known.revoke


def _kube_client(settings: Settings) -> KubeClient:
    connections = settings.workers + SPARE_CONNECTIONS
    try:
        if settings.kubeconfig is None:
            return KubeClient.in_cluster(connections)
        return KubeClient.from_kubeconfig(settings.kubeconfig, connections)
    except ValueError as error:
        raise StartError(f"Kubernetes: {error}") from None


def _vault(settings: Settings, hooks: Hooks) -> Vault:
    config = VaultConfig(
        address=settings.vault_addr,
        ca_file=str(settings.vault_cacert) if settings.vault_cacert else None,
        ca_path=str(settings.vault_capath) if settings.vault_capath else None,
        skip_verify=settings.vault_skip_verify,
        server_name=settings.vault_tls_server_name,
        namespace=settings.vault_namespace,
        read_timeout=settings.vault_client_timeout,
        calls_at_once=settings.workers,
        client_cert=str(settings.vault_client_cert) if settings.vault_client_cert else None,
        client_key=str(settings.vault_client_key) if settings.vault_client_key else None,
    )
    try:
        return connect(config, _login(settings), hooks)
    except (ValueError, OSError) as error:
        raise StartError(f"Vault: {error}") from None


def _login(settings: Settings) -> Login:
    """The way that the settings name; what each needs is there, by the settings' own check."""
    mount, role = settings.login_mount, settings.auth_role
    match settings.auth:
        case "kubernetes":
            return KubernetesLogin(mount, role, settings.auth_jwt_file)
        case "jwt":
            return JwtLogin(mount, role, settings.auth_jwt_file)
        case "approle" if settings.auth_role_id and settings.auth_secret_id_file:
            wrapped = settings.auth_secret_id_wrapped
            return AppRoleLogin(mount, settings.auth_role_id, settings.auth_secret_id_file, wrapped=wrapped)
        case "cert" if settings.vault_client_cert and settings.vault_client_key:
            return CertLogin(mount, role, settings.vault_client_cert, settings.vault_client_key)
    if settings.token_file is not None:
        return TokenFile(settings.token_file)
    if settings.vault_token is None:
        raise ValueError(f"no way to log in by {settings.auth}")
    return TokenValue(settings.vault_token.get_secret_value())


def _policy_file(settings: Settings, tell: Tell) -> PolicyFile:
    try:
        return PolicyFile(settings.policy_file, tell)
    except PolicyError as error:
        raise StartError(f"PODCERT_POLICY_FILE={settings.policy_file}: {error}") from None


def _windows(settings: Settings) -> list[Window]:
    found = []
    for text in settings.maintenance_windows:
        try:
            found.append(parse_window(text, settings.maintenance_window_length))
        except ValueError as error:
            raise StartError(f"PODCERT_MAINTENANCE_WINDOWS: {text!r} {error}") from None
    return found


def _health(settings: Settings, endpoints: Endpoints) -> HealthServer:
    host, _, port = settings.listen.rpartition(":")
    try:
        return HealthServer(host.strip("[]"), int(port), endpoints)
    except OSError as error:
        raise StartError(f"PODCERT_LISTEN={settings.listen}: {error.strerror or error}; choose another port") from None
