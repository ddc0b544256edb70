"""The memory of the API's state, and which keys follow from what the watches say."""

from __future__ import annotations

from dataclasses import replace

from certmanager.engine.intake import Intake
from certmanager.engine.keys import Key, PodKey, RoleKey
from certmanager.engine.queue import WorkQueue
from certmanager.engine.store import Store
from tests.unit.engine.builders import pod, secret, service
from tests.unit.engine.fakes import FakeClock

WEB = PodKey("default", "web")
WEB_ROLE = RoleKey("default", "web")


def make(*, synced: bool = True) -> tuple[Intake, FakeClock]:
    clock = FakeClock()
    intake = Intake(Store(), WorkQueue[Key](clock.monotonic), clock)
    if synced:
        intake.pods.replace([], 1)
        intake.services.replace([], 1)
        intake.secrets.replace([], 1)
    return intake, clock


def keys(intake: Intake) -> set[Key]:
    found: set[Key] = set()
    while (key := intake.queue.get(0)) is not None:
        found.add(key)
        intake.queue.done(key)
    return found


def test_nothing_is_queued_before_every_list_is_complete_and_then_everything_is() -> None:
    intake, _ = make(synced=False)
    intake.pods.replace([pod()], 10)
    intake.services.replace([], 10)
    assert keys(intake) == set()
    assert intake.missing() == ("secrets",)
    intake.secrets.replace([], 10)
    assert intake.synced
    assert keys(intake) == {WEB, WEB_ROLE}


def test_a_secret_that_names_no_pod_puts_nothing_on_the_queue() -> None:
    intake, _ = make()
    intake.secrets.upsert(replace(secret(pod()), pod_name="", pod_uid=""))
    intake.resync()
    assert keys(intake) == set()


def test_a_service_touches_the_pods_that_it_selects_and_no_others() -> None:
    intake, _ = make()
    intake.pods.upsert(pod())
    intake.pods.upsert(pod("other", uid="87654321-bbbb"))
    keys(intake)
    intake.services.upsert(service())
    assert keys(intake) == {WEB}


def test_a_changed_selector_touches_the_pods_of_both_selectors() -> None:
    intake, _ = make()
    intake.pods.upsert(pod())
    intake.pods.upsert(pod("other", uid="87654321-bbbb"))
    intake.services.upsert(service())
    keys(intake)
    intake.services.upsert(service(selector={"app": "other"}, resource_version=11))
    assert keys(intake) == {WEB, PodKey("default", "other")}


def test_a_service_that_changed_in_nothing_that_matters_touches_nobody() -> None:
    intake, _ = make()
    intake.pods.upsert(pod())
    intake.services.upsert(service())
    keys(intake)
    intake.services.upsert(service(resource_version=11))
    assert keys(intake) == set()


def test_a_services_candidates_are_those_that_select_the_pod_and_those_named_like_it() -> None:
    intake, _ = make()
    intake.services.replace(
        [
            service(),
            service("api", {"tier": "api"}),
            service("web-0", {"app": "x"}),
            service("governing", {"app": "y"}),
        ],
        20,
    )
    store = intake.store
    assert [s.name for s in store.services_for(pod())] == ["web"]
    assert [s.name for s in store.services_for(pod("web-0"))] == ["web-0"]
    assert [s.name for s in store.services_for(pod(subdomain="governing"))] == ["governing", "web"]


def test_a_relist_deletes_what_has_vanished() -> None:
    intake, _ = make()
    intake.pods.upsert(pod())
    keys(intake)
    intake.pods.replace([], 30)
    assert intake.store.pod("default", "web") is None
    assert keys(intake) == {WEB, WEB_ROLE}


def test_a_relist_does_not_lose_a_secret_that_was_written_after_it() -> None:
    intake, _ = make()
    written = secret(pod(), resource_version=50)
    intake.store.put_secret(written)
    intake.secrets.replace([], 40)
    assert intake.store.secret("default", written.name) == written
    intake.secrets.replace([], 60)
    assert intake.store.secret("default", written.name) is None


def test_our_own_write_coming_back_by_the_watch_causes_no_work() -> None:
    intake, _ = make()
    written = secret(pod())
    assert intake.store.put_secret(written)
    intake.secrets.upsert(written)
    assert keys(intake) == set()


def test_an_older_event_does_not_overwrite_what_is_known_to_be_newer() -> None:
    store = Store()
    new = secret(pod(), resource_version=50)
    store.put_secret(new)
    assert not store.put_secret(replace(new, resource_version=40))
    assert store.secret("default", new.name) is new


def test_a_deleted_secret_is_not_brought_back_by_a_late_event_but_a_new_one_is_taken() -> None:
    store = Store()
    old = secret(pod())
    store.put_secret(old)
    store.drop_secret(old.namespace, old.name, old.uid)
    assert not store.put_secret(old)
    assert store.put_secret(replace(old, uid="another", resource_version=60))


def test_only_a_pod_that_came_after_the_lists_waits_for_its_service() -> None:
    intake, clock = make(synced=False)
    early, late = pod(), pod("late", uid="87654321-bbbb")
    intake.pods.replace([early], 10)
    intake.services.replace([], 10)
    intake.secrets.replace([], 10)
    intake.pods.upsert(late)
    assert intake.settles_in(early) == 0
    assert intake.settles_in(late) == 0.25
    clock.advance(0.2)
    assert 0 < intake.settles_in(late) <= 0.05 + 1e-9
    clock.advance(0.1)
    assert intake.settles_in(late) == 0


def test_a_pod_recreated_under_its_name_waits_anew_and_its_role_is_looked_at() -> None:
    intake, clock = make()
    intake.pods.upsert(pod())
    clock.advance(10)
    keys(intake)
    intake.pods.upsert(pod(uid="99999999-cccc", resource_version=12))
    assert keys(intake) == {WEB, WEB_ROLE}
    assert intake.settles_in(pod(uid="99999999-cccc")) == 0.25


def test_a_foreign_change_of_our_secret_touches_its_pod_and_its_role() -> None:
    intake, _ = make()
    intake.pods.upsert(pod())
    written = secret(pod())
    intake.store.put_secret(written)
    keys(intake)
    intake.secrets.upsert(replace(written, resource_version=21))
    assert keys(intake) == {WEB, WEB_ROLE}
    intake.secrets.delete(written)
    assert keys(intake) == {WEB, WEB_ROLE}


def test_a_secret_whose_pods_name_was_taken_off_touches_the_pod_that_it_was_made_for() -> None:
    intake, _ = make()
    intake.pods.upsert(pod())
    written = secret(pod())
    intake.store.put_secret(written)
    keys(intake)
    intake.secrets.upsert(replace(written, pod_name="", resource_version=21))
    assert WEB in keys(intake)


def test_the_indexes_of_pods_follow_their_labels_and_accounts() -> None:
    store = Store()
    store.put_pod(pod())
    store.put_pod(pod(labels={"app": "changed", "podcert.io/enroll": "true"}, service_account="other"))
    assert store.pods_selected_by(service()) == []
    assert store.pods_of("default", "web") == []
    assert [p.name for p in store.pods_of("default", "other")] == ["web"]
    assert [p.name for p in store.pods_selected_by(service(selector={"app": "changed"}))] == ["web"]
    store.drop_pod("default", "web")
    assert store.pods_selected_by(service(selector={"app": "changed"})) == []
