"""The one path, from an event to the Secret and back to nothing to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from certmanager.domain.model import Delivery
from certmanager.domain.names import secret_name
from tests.unit.engine.bench import SECRET, Engine, enrolled
from tests.unit.engine.builders import pod, secret, service


def test_a_labelled_pod_gets_a_secret_and_its_account_a_role_and_then_nothing_more_happens() -> None:
    engine = Engine()
    enrolled(engine)
    assert engine.api.secrets[SECRET].annotations["names"] == "web.default.svc.cluster.local"
    assert engine.api.roles == [("default", "web", ["web-cert-12345678"])]
    assert engine.reporter.normals == [("web", "CertificateIssued")]
    engine.intake.resync()
    engine.run(10)
    assert (len(engine.vault.signs), engine.api.writes, engine.reporter.first_certificates) == (1, 1, 1)


def test_a_pod_without_a_service_waits_a_quarter_of_a_second_for_one() -> None:
    engine = Engine()
    engine.intake.pods.upsert(pod())
    engine.run(0.2)
    assert engine.vault.signs == []
    engine.intake.services.upsert(service())
    engine.run()
    assert engine.api.secrets[SECRET].annotations["names"] == "web.default.svc.cluster.local"


def test_a_pod_that_stays_without_a_service_gets_its_own_name_after_that() -> None:
    engine = Engine()
    engine.intake.pods.upsert(pod("lone"))
    engine.run(0.5)
    assert engine.api.secrets["default", "lone-cert-12345678"].annotations["names"] == "lone.default.svc.cluster.local"


def test_a_renewal_is_made_in_place_when_it_is_due_and_not_before() -> None:
    engine = Engine()
    engine.maker.lifetime = 90
    enrolled(engine)
    first = engine.api.secrets[SECRET]
    due = engine.due()
    assert due is not None
    assert 0.6 * 90 <= due - engine.clock.now() + 1 <= 2 / 3 * 90 + 1
    engine.run(50)
    assert engine.api.secrets[SECRET] is first
    engine.run(15)
    second = engine.api.secrets[SECRET]
    assert second.uid == first.uid
    assert second.bundle != first.bundle
    assert len(engine.vault.signs) == 2


def test_a_restarted_manager_adopts_what_is_there_without_a_call_or_a_write() -> None:
    before = Engine()
    for index in range(20):
        one = pod(f"web-{index}", uid=f"{index:08d}-aaaa")
        before.api.pods[one.key] = one
        before.intake.pods.upsert(one)
    before.run(2)
    writes = before.api.writes
    after = Engine(before.api, synced=False)
    after.sync()
    after.run(10)
    assert (after.vault.signs, before.api.writes) == ([], writes)


def test_a_second_manager_that_loses_at_create_adopts_what_the_first_one_made() -> None:
    engine = Engine()
    engine.intake.services.upsert(service())
    there = secret(pod())
    engine.vault.during = lambda: engine.api.secrets.update({there.key: there})
    engine.intake.pods.upsert(pod())
    engine.run(1)
    assert engine.api.secrets[SECRET] is there
    assert engine.api.writes == 0
    assert engine.reporter.warnings == []


def test_a_foreign_secret_of_the_pods_name_is_left_untouched_and_the_pod_is_told_once_per_pause() -> None:
    engine = Engine()
    foreign = secret(pod(), managed=False, pod_uid="", pod_name="")
    engine.api.secrets[foreign.key] = foreign
    enrolled(engine)
    engine.run(120)
    assert engine.api.secrets[SECRET] is foreign
    assert [reason for _, reason, _ in engine.reporter.warnings] == ["SecretNameTaken"]
    assert len(engine.vault.signs) == 1
    assert engine.api.roles == []


def test_a_foreign_secret_under_a_chosen_name_is_found_before_anything_is_signed() -> None:
    engine = Engine()
    foreign = secret(pod(), name="shared", managed=False, pod_uid="", pod_name="")
    engine.api.secrets[foreign.key] = foreign
    enrolled(engine, pod(annotations={"secret-name": "shared"}))
    assert engine.vault.signs == []
    assert [reason for _, reason, _ in engine.reporter.warnings] == ["SecretNameTaken"]


def test_a_secret_under_a_chosen_name_never_enters_a_role() -> None:
    engine = Engine()
    enrolled(engine, pod(annotations={"secret-name": "shared"}))
    assert ("default", "shared") in engine.api.secrets
    engine.intake.resync()
    engine.run(5)
    assert all(names == [] for _, _, names in engine.api.roles)


def test_a_pod_deleted_while_its_certificate_is_made_gets_no_secret() -> None:
    engine = Engine()
    engine.vault.during = lambda: engine.intake.pods.delete(pod())
    enrolled(engine)
    engine.run(10)
    assert engine.api.secrets == {}


def test_a_pod_recreated_under_its_name_gets_a_secret_of_its_own() -> None:
    engine = Engine()
    enrolled(engine)
    successor = pod(uid="99999999-cccc", resource_version=50)
    engine.intake.pods.upsert(successor)
    engine.run(1)
    name = secret_name("web", "99999999-cccc")
    assert engine.api.secrets["default", name].pod_uid == successor.uid
    assert engine.api.roles[-1] == ("default", "web", [name])


def test_a_finished_pod_loses_its_secret_and_its_place_in_the_role() -> None:
    engine = Engine()
    enrolled(engine)
    engine.intake.pods.upsert(pod(finished=True, resource_version=50))
    engine.run(1)
    assert engine.api.secrets == {}
    assert engine.api.roles[-1] == ("default", "web", [])
    assert engine.due() is None


def test_a_pod_that_lost_its_label_loses_its_secret_but_a_deleted_pods_is_left_to_the_garbage_collector() -> None:
    engine = Engine()
    enrolled(engine)
    engine.api.pods["default", "web"] = pod(labels={"app": "web"})
    engine.intake.pods.delete(pod())
    engine.run(1)
    assert engine.api.secrets == {}
    other = Engine()
    enrolled(other)
    other.intake.pods.delete(pod())
    other.run(60)
    assert SECRET in other.api.secrets


def test_a_secret_that_somebody_deleted_or_broke_is_made_anew() -> None:
    engine = Engine()
    enrolled(engine)
    gone = engine.api.secrets.pop(SECRET)
    engine.intake.secrets.delete(gone)
    engine.run(1)
    again = engine.api.secrets[SECRET]
    assert again.uid != gone.uid
    broken = replace(again, resource_version=5000, bundle=None, problem="tls.crt is not PEM")
    engine.api.secrets[SECRET] = broken
    engine.intake.secrets.upsert(broken)
    engine.run(1)
    assert engine.api.secrets[SECRET].bundle is not None


def test_mode_issue_takes_vaults_key() -> None:
    engine = Engine()
    enrolled(engine, pod(annotations={"mode": "issue"}))
    assert [names.common_name for names in engine.vault.issues] == ["web.default.svc.cluster.local"]
    assert engine.maker.keys_used == ["vault's key"]


def test_a_gained_name_makes_a_new_certificate_and_a_lost_one_waits_for_the_renewal() -> None:
    engine = Engine()
    enrolled(engine)
    engine.intake.services.upsert(service("api", {"app": "web"}))
    engine.run(3)
    assert engine.api.secrets[SECRET].annotations["names"].split(",") == [
        "api.default.svc.cluster.local",
        "web.default.svc.cluster.local",
    ]
    engine.intake.services.delete(service("api", {"app": "web"}))
    engine.run(1)
    assert len(engine.vault.signs) == 2


def test_many_services_that_come_one_by_one_are_a_few_certificates_and_no_warning() -> None:
    engine = Engine()
    enrolled(engine)
    for number in range(20):
        engine.intake.services.upsert(service(f"api-{number}", {"app": "web"}))
        engine.run(0.1)
    engine.run(3)
    assert len(engine.api.secrets[SECRET].annotations["names"].split(",")) == 21
    assert len(engine.vault.signs) <= 4
    assert "RenewalLoop" not in {reason for _, reason, _ in engine.reporter.warnings}


@pytest.mark.parametrize("pods", [100, 1000])
def test_a_burst_of_pods_under_one_account_writes_its_role_a_few_times(pods: int) -> None:
    engine = Engine()
    for index in range(pods):
        engine.intake.pods.upsert(pod(f"web-{index}", uid=f"{index:08d}-aaaa", labels={"podcert.io/enroll": "true"}))
        if index % 50 == 0:
            engine.run()
            engine.clock.advance(0.01)
    engine.run(2)
    assert len(engine.api.secrets) == pods
    assert len(engine.api.roles[-1][2]) == pods
    assert len(engine.api.roles) <= 5


def test_a_changed_secret_name_leaves_no_secret_behind() -> None:
    engine = Engine()
    enrolled(engine, pod(annotations={"secret-name": "first"}, delivery=Delivery(mounts=frozenset({"first"}))))
    engine.intake.pods.upsert(
        pod(annotations={"secret-name": "second"}, resource_version=50, delivery=Delivery(mounts=frozenset({"second"})))
    )
    engine.run(2)
    assert list(engine.api.secrets) == [("default", "second")]


def test_a_pod_whose_label_says_false_loses_its_secret_under_a_chosen_name_too() -> None:
    engine = Engine()
    enrolled(engine, pod(annotations={"secret-name": "first"}))
    engine.intake.pods.upsert(pod(labels={"podcert.io/enroll": "false"}, resource_version=50))
    engine.run(2)
    assert engine.api.secrets == {}
