"""Revoking through the whole engine: what is asked for, when nobody serves it, once, and through every trouble."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from certmanager.domain.advice import MOUNT_SECONDS
from certmanager.domain.errors import NotYet, Refused
from certmanager.domain.model import Delivery, Material, Owner, Pod, RevokeWhen, SecretWrite, StoredSecret
from certmanager.domain.names import secret_name
from certmanager.domain.revocation import HOLD_SECONDS, IMPOSSIBLE
from certmanager.domain.revocation_notes import FINALIZER, old_leaves
from certmanager.x509.possession import prove
from tests.unit.domain.builders import DEFAULTS
from tests.unit.engine.bench import Engine
from tests.unit.engine.builders import pod, service
from tests.unit.engine.fakes import FakeApi

AWAY = NotYet("VaultUnreachable", "Vault does not answer", shared=True)
FORBIDDEN = Refused("VaultPolicyForbids", "the policy forbids it", shared=True)
OWNER = Owner("apps/v1", "ReplicaSet", "web-1", "set-uid")


def engine(*when: RevokeWhen, of: Pod | None = None) -> Engine:
    """An engine with one pod that has its certificate, and revokes `when`."""
    api = FakeApi()
    api.proofs = PROOF
    made = Engine(api, synced=False)
    made.defaults = replace(DEFAULTS, revoke=frozenset(when))
    living = of or pod()
    api.pods[living.key] = living
    api.services.append(service())
    made.sync()
    made.run()
    assert len(api.secrets) == 1
    return made


def proof() -> tuple[str, str]:
    """A certificate whose serial is none of the fakes', and the proof that its key was there."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 0x99, begin, begin + datetime.timedelta(days=999))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return prove(pem, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


PROOF = proof()
MOUNTED = pod(annotations={"rotation": "none", "secret-name": "own"}, delivery=Delivery(mounts=frozenset({"own"})))


def the_secret(made: Engine) -> StoredSecret:
    (found,) = made.api.secrets.values()
    return found


def pod_is_deleted(made: Engine, name: str = "web") -> None:
    """The pod goes, and the garbage collector deletes its Secret."""
    gone = made.api.pods.pop(("default", name))
    made.intake.pods.delete(gone)
    for secret in [each for each in made.api.secrets.values() if each.pod_uid == gone.uid]:
        made.api.delete(secret)
    made.watch_secrets()


def annotated(made: Engine, **notes: str) -> None:
    """Somebody annotates the Secret, as `podcert revoke` does: with the finalizer."""
    secret = the_secret(made)
    made.api.changed(replace(secret, annotations={**secret.annotations, **notes}, finalizers=(FINALIZER,)))
    made.watch_secrets()


def due(made: Engine) -> None:
    """It is two thirds of the lifetime later."""
    made.clock.advance(86400 * 2 / 3)
    made.run(seconds=1)


def test_nothing_is_written_or_asked_where_nobody_wants_revocation() -> None:
    made = engine()
    assert (made.api.writes, made.api.reads, the_secret(made).finalizers) == (1, 0, ())
    pod_is_deleted(made)
    made.run()
    assert made.revoker.revoked == []
    assert made.api.secrets == {}


def test_a_deleted_pods_certificate_is_revoked_with_one_write_more() -> None:
    made = engine(RevokeWhen.DELETED)
    assert (made.api.writes, the_secret(made).finalizers) == (1, (FINALIZER,))
    pod_is_deleted(made)
    before = made.api.writes
    made.run()
    assert made.revoker.revoked == [("pki", "PEM of 01")]
    assert (made.api.secrets, made.api.writes - before) == ({}, 1)
    assert made.reporter.revocations == [("default/" + secret_name("web", "12345678-aaaa"), "revoked")]


def test_a_finished_pods_certificate_is_revoked_too() -> None:
    made = engine(RevokeWhen.DELETED)
    made.intake.pods.upsert(replace(pod(), finished=True))
    made.run()
    made.watch_secrets()
    made.run()
    assert made.revoker.revoked == [("pki", "PEM of 01")]
    assert made.api.secrets == {}


def test_what_is_renewed_in_place_is_revoked_when_the_kubelet_had_its_time() -> None:
    made = engine(RevokeWhen.ROTATED, of=MOUNTED)
    due(made)
    assert the_secret(made).annotations["serial"] == "02"
    assert [old.serial for old in old_leaves(the_secret(made))] == ["01"]
    assert made.revoker.revoked == []
    made.run(seconds=MOUNT_SECONDS + 1)
    assert len(made.revoker.revoked) == 1
    assert made.revoker.revoked[0][1].startswith("-----BEGIN CERTIFICATE-----")
    assert old_leaves(the_secret(made)) == ()
    assert ("web", "CertificateRevoked") in made.reporter.normals
    calls = made.api.reads
    made.run(seconds=600)
    assert (len(made.revoker.revoked), made.api.reads) == (1, calls)


def test_a_certificate_that_nobody_proved_to_hold_is_forgotten_unrevoked() -> None:
    made = engine(RevokeWhen.ROTATED, of=MOUNTED)
    made.api.proofs = (PROOF[0], "AAAA")
    due(made)
    made.run(seconds=MOUNT_SECONDS + 1)
    assert made.revoker.revoked == []
    assert [result for _, result in made.reporter.revocations] == ["unproven"]
    assert old_leaves(the_secret(made)) == ()


def test_a_secret_is_kept_while_vault_is_away_and_goes_when_it_answers() -> None:
    made = engine(RevokeWhen.DELETED)
    pod_is_deleted(made)
    made.revoker.errors = [AWAY] * 3
    made.run()
    assert the_secret(made).deleting_since is not None
    for _ in range(4):
        made.workers.release()
        made.run()
    assert made.revoker.revoked == [("pki", "PEM of 01")]
    assert made.api.secrets == {}


def test_a_policy_that_forbids_it_is_told_and_nothing_hangs_for_ever() -> None:
    made = engine(RevokeWhen.DELETED)
    pod_is_deleted(made)
    made.revoker.errors = [FORBIDDEN] * 1000
    made.run()
    made.run(seconds=730)
    assert len(made.reporter.problems) == 2 + 1, "at once, and once each five minutes"
    assert the_secret(made).finalizers == (FINALIZER,)
    made.clock.advance(86400)
    made.run(seconds=400)
    assert made.api.secrets == {}
    assert made.reporter.revocations[-1][1] == "skipped"


def test_what_can_never_be_revoked_keeps_no_secret_whose_pod_is_gone() -> None:
    made = engine(RevokeWhen.DELETED)
    pod_is_deleted(made)
    made.revoker.errors = [Refused(IMPOSSIBLE, "somebody has changed its annotation podcert.io/mount")]
    made.run()
    assert made.api.secrets == {}
    assert [each[1] for each in made.reporter.revocations] == ["dropped"]


def test_what_can_never_be_revoked_of_a_living_pod_is_told_once_and_forgotten() -> None:
    made = engine(RevokeWhen.ROTATED, of=MOUNTED)
    due(made)
    made.revoker.errors = [Refused(IMPOSSIBLE, "Vault knows no issuer in the mount that made the certificate")]
    made.run(seconds=MOUNT_SECONDS + 400)
    assert [each[1] for each in made.reporter.revocations] == ["dropped"]
    assert old_leaves(the_secret(made)) == ()
    assert ("revocation", IMPOSSIBLE) not in made.reporter.outcomes


def test_a_manager_that_was_killed_after_the_revocation_does_it_again_and_lets_the_secret_go() -> None:
    made = engine(RevokeWhen.DELETED)
    pod_is_deleted(made)
    after = Engine(made.api, synced=False)
    after.defaults = made.defaults
    after.sync()
    after.run()
    assert after.revoker.revoked == [("pki", "PEM of 01")]
    assert made.api.secrets == {}


def test_rotated_alone_leaves_the_certificate_of_a_pod_that_goes_before_its_time() -> None:
    made = engine(RevokeWhen.ROTATED)
    pod_is_deleted(made)
    made.run()
    assert (made.revoker.revoked, made.api.secrets) == ([], {})


def test_rotated_means_also_the_certificate_of_a_pod_that_was_replaced_when_it_was_due() -> None:
    made = engine(RevokeWhen.ROTATED)
    made.clock.advance(86400 * 2 / 3)
    pod_is_deleted(made)
    made.run()
    assert made.revoker.revoked == [("pki", "PEM of 01")]


def test_on_request_the_secret_is_renewed_first_and_the_old_certificate_revoked_then() -> None:
    made = engine(of=MOUNTED)
    made.run(seconds=60)
    annotated(made, revoke="01")
    made.run()
    assert the_secret(made).annotations["serial"] == "02"
    assert "revoke" not in the_secret(made).annotations
    assert made.revoker.revoked == []
    made.run(seconds=MOUNT_SECONDS + 1)
    assert len(made.revoker.revoked) == 1
    assert the_secret(made).finalizers == ()
    assert len(made.vault.signs) == 2


def test_the_write_of_the_next_certificate_holds_the_old_one_and_what_keeps_the_secret() -> None:
    made = engine(of=MOUNTED)
    annotated(made, revoke="01")
    secret, bundle = the_secret(made), the_secret(made).bundle
    assert bundle is not None
    write = made.pods.retiring.before(MOUNTED, secret)(SecretWrite(MOUNTED, "own", {}, Material("", "", ""), bundle))
    assert write.finalizers == (FINALIZER,)
    assert '"serial":"01"' in write.annotations["superseded"]
    plain = made.pods.retiring.before(MOUNTED, None)(SecretWrite(MOUNTED, "own", {}, Material("", "", ""), bundle))
    assert (plain.finalizers, plain.annotations) == ((), {})


def test_at_once_means_before_the_renewal_and_once() -> None:
    made = engine(of=MOUNTED)
    made.run(seconds=60)
    annotated(made, revoke="01,now")
    made.run()
    made.run(seconds=MOUNT_SECONDS * 3)
    assert made.revoker.revoked == [("pki", "PEM of 01")]
    assert the_secret(made).annotations["serial"] == "02"
    assert the_secret(made).finalizers == ()


def test_a_request_by_hand_without_the_finalizer_gets_it_before_anything_begins() -> None:
    made = engine(of=pod(owner=OWNER))
    made.run(seconds=60)
    secret = the_secret(made)
    made.api.changed(replace(secret, annotations={**secret.annotations, "revoke": "01"}))
    made.watch_secrets()
    made.run()
    assert the_secret(made).finalizers == (FINALIZER,)
    assert ("pod", "RevocationRequested") in made.reporter.outcomes


def test_a_renewal_on_request_happens_once() -> None:
    made = engine(of=MOUNTED)
    made.run(seconds=60)
    annotated(made, renew="01")
    made.run(seconds=120)
    assert len(made.vault.signs) == 2
    assert the_secret(made).annotations["serial"] == "02"
    assert made.revoker.revoked == []


def test_switching_it_on_and_off_changes_the_secrets_that_are_there() -> None:
    made = engine()
    made.defaults = replace(DEFAULTS, revoke=frozenset({RevokeWhen.DELETED}))
    made.intake.resync()
    made.run()
    assert the_secret(made).finalizers == (FINALIZER,)
    made.defaults = DEFAULTS
    made.intake.resync()
    made.run()
    assert the_secret(made).finalizers == ()
    assert made.revoker.revoked == []


def test_anothers_finalizer_stays_and_keeps_the_secret() -> None:
    made = engine(RevokeWhen.DELETED)
    made.api.changed(replace(the_secret(made), finalizers=("example.com/other", FINALIZER)))
    made.watch_secrets()
    pod_is_deleted(made)
    made.run()
    assert the_secret(made).finalizers == ("example.com/other",)
    assert len(made.revoker.revoked) == 1
    made.run(seconds=600)
    assert len(made.revoker.revoked) == 1


def test_a_secret_that_is_deleted_by_hand_is_made_anew_and_remembers_the_old_certificate() -> None:
    made = engine(RevokeWhen.DELETED, of=MOUNTED)
    made.api.delete(the_secret(made))
    made.watch_secrets()
    made.run(seconds=HOLD_SECONDS + 1)
    assert the_secret(made).annotations["serial"] == "02"
    assert [old.serial for old in old_leaves(the_secret(made))] == ["01"]
    made.run(seconds=MOUNT_SECONDS + 1)
    assert len(made.revoker.revoked) == 1
    assert old_leaves(the_secret(made)) == ()


def test_a_pod_that_wants_the_name_is_not_kept_waiting_by_a_vault_that_forbids() -> None:
    made = engine(RevokeWhen.DELETED, of=MOUNTED)
    made.revoker.errors = [FORBIDDEN] * 10
    pod_is_deleted(made)
    other = replace(MOUNTED, name="web", uid="99999999-bbbb")
    made.api.pods[other.key] = other
    made.intake.pods.upsert(other)
    made.run(seconds=10)
    assert (the_secret(made).pod_uid, made.reporter.revocations[-1][1]) == (other.uid, "dropped")


def test_a_pod_that_only_lost_its_label_keeps_its_certificate() -> None:
    made = engine(RevokeWhen.DELETED)
    made.api.pods["default", "web"] = replace(pod(), labels={"app": "web"})
    made.intake.pods.delete(pod())
    made.run()
    made.watch_secrets()
    made.run()
    assert (made.revoker.revoked, made.api.secrets) == ([], {})


@pytest.mark.parametrize("served", ["01", None])
def test_a_fetchers_files_keep_the_old_certificate_until_their_pod_is_gone(served: str | None) -> None:
    one_shot = pod(annotations={"rotation": "none"}, delivery=Delivery(fetcher=True, served_serial=served))
    made = engine(RevokeWhen.ROTATED, of=one_shot)
    due(made)
    made.run(seconds=1000)
    assert the_secret(made).annotations["serial"] == "02"
    assert made.revoker.revoked == []
    pod_is_deleted(made)
    made.run()
    assert len(made.revoker.revoked) == 1
    assert made.api.secrets == {}


def test_only_a_few_are_revoked_at_a_time_and_all_of_them_in_the_end() -> None:
    made = engine(RevokeWhen.DELETED)
    for number in range(20):
        each = pod(f"more-{number}", f"{number:08}-uid", labels={"app": "web", "podcert.io/enroll": "true"})
        made.api.pods[each.key] = each
        made.intake.pods.upsert(each)
    made.run()
    for name in [name for _, name in list(made.api.pods)]:
        pod_is_deleted(made, name)
    made.run()
    assert len(made.revoker.revoked) == 21
    assert made.api.secrets == {}
