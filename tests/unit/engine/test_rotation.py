"""Rotation on the one path: who is rolled or evicted, when, how often, and what happens when it does not come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from certmanager.domain.model import Delivery, Owner, Pod, Workload
from certmanager.engine.windows import parse_window
from tests.unit.domain.builders import deployment
from tests.unit.engine.bench import Engine
from tests.unit.engine.builders import pod, service

OLD = "5d4f8"
LIFE = 90.0


def replica(index: int, name: str = "web", revision: str = OLD, **fields: Any) -> Pod:
    labels = {"app": name, "podcert.io/enroll": "true", "pod-template-hash": revision}
    owner = Owner("apps/v1", "ReplicaSet", f"{name}-{revision}", f"rs-{name}-{revision}")
    base = pod(f"{name}-{revision}-{index}", uid=f"{index:04d}{revision}-uid", labels=labels, owner=owner, ready=True)
    return replace(base, **fields)


class Rolled(Engine):
    """An engine with one Deployment whose pods have certificates of 90 s, delivered by a fetcher that ends."""

    def __init__(self, replicas: int = 3, **fields: Any) -> None:
        super().__init__()
        self.maker.lifetime = LIFE
        self.set_workload(deployment(replicas=replicas, **fields))
        self.own("web", OLD)
        self.intake.services.upsert(service())
        self.members = [replica(index) for index in range(replicas)]
        for member in self.members:
            self.deliver(member)

    def set_workload(self, workload: Workload) -> None:
        self.cluster.workloads[workload.namespace, workload.kind, workload.name] = workload

    def own(self, name: str, revision: str) -> None:
        self.cluster.controllers[f"rs-{name}-{revision}"] = Owner("apps/v1", "Deployment", name, f"deployment-{name}")

    def deliver(self, member: Pod) -> Pod:
        """The pod comes, gets its Secret, and its fetcher says what it wrote."""
        self.intake.pods.upsert(member)
        self.run(0.4)
        [secret] = self.intake.store.secrets_of(member.namespace, member.name)
        assert secret.bundle is not None
        leaf = secret.bundle.leaf
        seen = Delivery(fetcher=True, served_serial=leaf.serial, served_not_after=leaf.not_after)
        done = replace(member, resource_version=member.resource_version + 1, delivery=seen)
        self.intake.pods.upsert(done)
        self.run()
        return done

    def succeed(self, name: str = "web", revision: str = "77c6b") -> list[Pod]:
        """The Deployment's controller replaces every pod."""
        old = [one for one in self.intake.store.pods() if one.labels["app"] == name]
        self.own(name, revision)
        new = [self.deliver(replica(index, name, revision)) for index in range(len(old))]
        for one in old:
            self.intake.pods.delete(one)
        key = ("default", "Deployment", name)
        self.set_workload(replace(self.cluster.workloads[key], settled=True))
        self.run()
        return new


def told(engine: Engine) -> list[str]:
    return sorted({reason for _, reason, _ in engine.reporter.warnings})


def test_a_deployment_is_rolled_once_per_rotation_however_many_pods_it_has() -> None:
    engine = Rolled(replicas=5)
    engine.run(52)
    assert engine.cluster.restarts == []
    engine.run(10)
    assert engine.cluster.restarts == [("web", OLD)]
    engine.run(3)
    assert engine.cluster.restarts == [("web", OLD)]
    engine.succeed()
    engine.run(50)
    assert engine.cluster.restarts == [("web", OLD)]
    assert told(engine) == []


def test_each_rotation_rolls_it_again_by_the_revision_that_is_replaced() -> None:
    engine = Rolled()
    for revision in ("77c6b", "9a1d2", "c03e7"):
        engine.run(62)
        engine.succeed(revision=revision)
    assert [value for _, value in engine.cluster.restarts] == [OLD, "77c6b", "9a1d2"]


def test_the_secrets_of_pods_that_are_replaced_in_time_are_never_renewed_in_place() -> None:
    engine = Rolled()
    signs = len(engine.vault.signs)
    engine.run(62)
    engine.succeed()
    assert len(engine.vault.signs) == signs + 3


def test_a_restarted_manager_neither_rolls_twice_nor_issues_what_is_not_due() -> None:
    engine = Rolled()
    engine.run(62)
    signs = len(engine.vault.signs)
    after = Engine(engine.api, synced=False)
    after.clock = engine.clock
    for part in (after.intake, after.pods, after.workloads, after.workers):
        part._clock = engine.clock
    after.cluster.workloads = engine.cluster.workloads
    after.cluster.controllers = engine.cluster.controllers
    engine.api.services.append(service())
    for member in engine.intake.store.pods():
        engine.api.pods[member.key] = member
    after.sync()
    after.run(5)
    assert after.cluster.restarts == []
    assert (len(after.vault.signs), len(engine.vault.signs)) == (0, signs)


def test_a_roll_that_does_not_come_leads_to_a_renewal_in_place_a_warning_and_a_free_slot() -> None:
    engine = Rolled()
    signs = len(engine.vault.signs)
    engine.run(80)
    assert len(engine.vault.signs) == signs + 3
    assert "RollStuck" in told(engine)
    assert engine.cluster.restarts == [("web", OLD)]
    assert len(engine.slots) == 0


def test_a_paused_deployment_is_not_rolled_and_when_it_is_resumed_it_is_once() -> None:
    engine = Rolled(paused=True)
    engine.run(85)
    assert engine.cluster.restarts == []
    assert told(engine) == ["FilesOutdated", "WorkloadPaused"]
    engine.set_workload(deployment(replicas=3))
    engine.run(20)
    assert engine.cluster.restarts == [("web", OLD)]


def test_while_the_files_are_outdated_what_is_served_is_told_not_what_the_secret_holds() -> None:
    engine = Rolled(paused=True)
    before = {one.name: one.delivery.served_not_after for one in engine.intake.store.pods()}
    engine.run(85)
    served = {fact.pod: fact.not_after for fact in engine.certificates()}
    assert served == before


def test_at_most_so_many_workloads_roll_at_once() -> None:
    engine = Rolled(replicas=1)
    for name in ("api", "db", "mail"):
        engine.set_workload(deployment(name))
        engine.own(name, OLD)
        engine.intake.services.upsert(service(name))
        engine.deliver(replica(1, name))
    engine.run(62)
    assert len(engine.cluster.restarts) == 2
    first = [name for name, _ in engine.cluster.restarts]
    for name in first:
        engine.succeed(name)
    engine.run(2)
    assert len(engine.cluster.restarts) == 4


def test_outside_a_maintenance_window_nothing_is_rolled_until_it_opens_or_the_end_is_near() -> None:
    engine = Rolled()
    engine.windows.append(parse_window("0 3 1 1 *", 3600))
    engine.run(65)
    assert engine.cluster.restarts == []
    engine.run(12)
    assert engine.cluster.restarts == [("web", OLD)]


def test_a_pod_with_a_forged_owner_rolls_nobody() -> None:
    engine = Rolled()
    engine.cluster.controllers.clear()
    engine.run(85)
    assert engine.cluster.restarts == []


def test_a_pod_that_the_selector_does_not_match_rolls_nobody() -> None:
    engine = Rolled(selector={"app": "another"})
    engine.run(85)
    assert engine.cluster.restarts == []


def test_a_template_without_the_label_is_never_rolled() -> None:
    engine = Rolled(template_labels={"app": "web"})
    engine.run(85)
    assert engine.cluster.restarts == []


def test_a_patched_annotation_on_a_pod_does_not_roll_its_workload_early() -> None:
    engine = Rolled()
    [first, *_] = engine.intake.store.pods()
    engine.maker.lifetime = 30.0
    engine.intake.pods.upsert(replace(first, annotations={"ttl": "30s", "renew-before": "70%"}, resource_version=99))
    engine.run(40)
    assert engine.cluster.restarts == []


def test_a_pod_without_an_owner_is_renewed_in_place_and_its_owner_is_told() -> None:
    engine = Rolled(replicas=1)
    bare = engine.deliver(pod("bare", uid="0000beef-uid", labels={"podcert.io/enroll": "true"}))
    engine.run(65)
    reasons = {reason for name, reason, _ in engine.reporter.warnings if name == bare.name}
    assert reasons == {"CannotRestart", "FilesOutdated"}


def test_strategy_none_renews_the_secret_and_says_that_the_files_are_outdated() -> None:
    engine = Rolled(replicas=1)
    quiet = engine.deliver(pod("quiet", uid="0000cafe-uid", annotations={"rotation": "none"}))
    engine.run(65)
    reasons = {reason for name, reason, _ in engine.reporter.warnings if name == quiet.name}
    assert reasons == {"FilesOutdated"}


def test_a_sidecar_follows_the_secret_so_nothing_is_rolled() -> None:
    engine = Rolled(replicas=1)
    follower = replica(7, delivery=Delivery(fetcher=True, sidecar=True))
    engine.intake.pods.delete(engine.members[0])
    engine.intake.pods.upsert(follower)
    engine.run(65)
    assert engine.cluster.restarts == []
    assert told(engine) == []


def test_a_mounted_secret_is_renewed_first_and_then_the_workload_is_rolled() -> None:
    engine = Rolled(replicas=1)
    engine.intake.pods.delete(engine.members[0])
    terms = {"secret-name": "mine"}
    engine.set_workload(deployment(template_annotations=terms))
    mounting = replica(7, annotations=terms, delivery=Delivery(mounts=frozenset({"mine"})))
    engine.intake.pods.upsert(mounting)
    engine.run(1)
    signs = len(engine.vault.signs)
    assert engine.cluster.restarts == []
    engine.run(62)
    assert len(engine.vault.signs) == signs + 1
    assert engine.cluster.restarts == [("web", OLD)]


class Evicting(Rolled):
    """The same with `rotation: evict` in the template."""

    def __init__(self, replicas: int = 3, **fields: Any) -> None:
        super().__init__(0)
        terms = {"rotation": "evict"}
        self.set_workload(deployment(replicas=replicas, template_annotations=terms, **fields))
        self.members = [self.deliver(replica(index, annotations=terms)) for index in range(replicas)]


def test_only_the_pod_whose_turn_it_is_is_evicted_and_the_next_waits_for_its_successor() -> None:
    engine = Evicting()
    engine.run(66)
    [evicted] = set(engine.cluster.evicted)
    gone = engine.intake.store.pod("default", evicted)
    assert gone is not None
    engine.intake.pods.upsert(replace(gone, deleting=True, resource_version=50))
    engine.run(2)
    assert set(engine.cluster.evicted) == {evicted}
    engine.intake.pods.delete(gone)
    engine.run(1)
    assert set(engine.cluster.evicted) == {evicted}
    engine.deliver(replica(9, annotations={"rotation": "evict"}))
    engine.run(2)
    assert len(set(engine.cluster.evicted)) == 2
    assert engine.cluster.restarts == []


def test_a_disruption_budget_that_says_no_is_asked_again_and_the_secret_is_renewed_in_place() -> None:
    engine = Evicting(replicas=1)
    engine.cluster.blocked = True
    engine.run(85)
    assert engine.cluster.evicted == []
    assert "DisruptionBudget" in told(engine)
    assert len(engine.vault.signs) == 2
    engine.cluster.blocked = False
    engine.run(10)
    assert set(engine.cluster.evicted) == {engine.members[0].name}


def test_a_daemon_set_that_replaces_on_delete_has_its_pods_evicted_one_by_one() -> None:
    engine = Rolled(on_delete=True)
    engine.run(66)
    assert engine.cluster.restarts == []
    assert len(set(engine.cluster.evicted)) == 1


def test_a_partition_keeps_its_pods_and_their_owner_is_told() -> None:
    engine = Rolled(replicas=0)
    workload = deployment("db", kind="StatefulSet", uid="set", partition=2, replicas=3)
    engine.set_workload(workload)
    owner = Owner("apps/v1", "StatefulSet", "db", "set")
    labels = {"app": "db", "podcert.io/enroll": "true", "controller-revision-hash": "db-1"}
    for index in range(2):
        engine.deliver(pod(f"db-{index}", uid=f"{index:04d}abcd-uid", labels=labels, owner=owner, ready=True))
    engine.run(70)
    assert engine.cluster.restarts == []
    assert "BehindPartition" in told(engine)
    engine.deliver(pod("db-2", uid="0002abcd-uid", labels=labels, owner=owner, ready=True))
    engine.run(66)
    assert engine.cluster.restarts == [("db", "db-1")]


def test_a_pod_that_claims_one_revision_after_the_other_rolls_its_workload_no_second_time_meanwhile() -> None:
    engine = Rolled(replicas=0)
    engine.set_workload(deployment("agent", kind="DaemonSet", uid="set", replicas=1))
    owner = Owner("apps/v1", "DaemonSet", "agent", "set")
    labels = {"app": "agent", "podcert.io/enroll": "true", "controller-revision-hash": "r1"}
    member = engine.deliver(pod("agent-x", uid="0001abcd-uid", labels=labels, owner=owner, ready=True))
    engine.run(62)
    assert engine.cluster.restarts == [("agent", "r1")]
    for version in range(2, 6):
        claimed = labels | {"controller-revision-hash": f"r{version}"}
        engine.intake.pods.upsert(replace(member, labels=claimed, resource_version=100 + version))
        engine.run(2)
    assert engine.cluster.restarts == [("agent", "r1")]


def test_a_replica_that_claims_another_revision_than_its_replica_sets_rolls_nobody() -> None:
    engine = Rolled(replicas=1)
    [member] = engine.intake.store.pods()
    claimed = dict(member.labels) | {"pod-template-hash": "forged"}
    engine.intake.pods.upsert(replace(member, labels=claimed, resource_version=99))
    engine.run(70)
    assert engine.cluster.restarts == []
