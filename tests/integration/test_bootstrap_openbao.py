"""`podcert bootstrap` against a real OpenBao: twice, by its own dry run's commands, on what others changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography import x509

from certmanager.vault.bootstrap.options import METHODS
from tests.cluster.openbao import DevServer, dev_server
from tests.integration.bootstrap_server import (
    WEB,
    bootstrap,
    csr,
    last_line,
    login_options,
    names,
    paste,
    read,
    sign,
    state,
    write,
)

pytestmark = pytest.mark.cluster


def test_the_second_run_changes_nothing_and_says_so(bao: DevServer) -> None:
    first, second = bootstrap(bao), bootstrap(bao)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert last_line(first) == "7 changed, 0 unchanged"
    assert last_line(second) == "0 changed, 7 unchanged"
    assert all(line.startswith("ok ") for line in second.stdout.splitlines()[:-1])


@pytest.mark.parametrize("auth", METHODS)
def test_the_commands_of_a_dry_run_pasted_into_a_shell_give_the_same_state(
    bao: DevServer, auth: str, tmp_path: Path
) -> None:
    options = [f"--auth={auth}", "--trust-domain=example.org", "--ttl=90m", "--allow-ip-sans"]
    options.append('--root-common-name=@acme\'s "root", $HOME `CA`')
    options += login_options(auth, tmp_path)
    dry = bootstrap(bao, *options, "--dry-run")
    assert dry.exit_code == 0
    assert bao.call("GET", "pki/roles/pods")[0] == 404, "a dry run wrote"
    assert bootstrap(bao, *options).exit_code == 0
    with dev_server() as other:
        paste(other, dry.stdout, tmp_path / "bin")
        assert state(other, auth) == state(bao, auth)
        again = bootstrap(other, *options)
    assert last_line(again).startswith("0 changed, ")


def test_a_role_that_somebody_changed_is_repaired_and_what_bootstrap_does_not_set_is_kept(ready: DevServer) -> None:
    write(ready, "pki/roles/pods", key_type="rsa", allow_any_name=True, organization="acme", max_ttl="8000h")
    dry = bootstrap(ready, "--dry-run")
    assert "allow_any_name: true → false" in dry.stdout
    assert "key_type: rsa → any" in dry.stdout
    assert last_line(dry) == "# 1 would change, 6 unchanged"
    assert read(ready, "pki/roles/pods")["allow_any_name"] is True
    result = bootstrap(ready)
    assert last_line(result) == "1 changed, 6 unchanged"
    role = read(ready, "pki/roles/pods")
    assert (role["allow_any_name"], role["key_type"], role["max_ttl"]) == (False, "any", 72 * 3600)
    assert role["organization"] == ["acme"]
    assert sign(ready, WEB)[0] == 200, "a role that was RSA's does not sign an EC key"
    assert last_line(bootstrap(ready)) == "0 changed, 7 unchanged"


def test_the_commands_of_a_repair_repair_too(ready: DevServer, tmp_path: Path) -> None:
    write(ready, "pki/roles/pods-issue", key_type="rsa", key_bits=2048, allow_localhost=True)
    write(ready, "auth/token/roles/pods", token_period="1h", orphan=False)
    policy = '/*\nexit 1\n*/\npath "x" { capabilities = ["read"] }'  # a line that would end the shell, were it pasted
    assert write(ready, "sys/policies/acl/pods", policy=policy)[0] == 204
    dry = bootstrap(ready, "--dry-run")
    assert last_line(dry) == "# 3 would change, 4 unchanged"
    paste(ready, dry.stdout, tmp_path / "bin")
    assert last_line(bootstrap(ready)) == "0 changed, 7 unchanged"


def test_a_root_that_is_there_is_kept(bao: DevServer) -> None:
    write(bao, "sys/mounts/pki", type="pki")
    write(bao, "pki/root/generate/internal", common_name="my app root CA")
    before = read(bao, "pki/issuers", "LIST")
    assert bootstrap(bao).exit_code == 0
    assert read(bao, "pki/issuers", "LIST") == before
    status, answer = sign(bao, WEB)
    assert (status, names(answer)) == (200, [WEB])


def test_an_intermediate_needs_no_root_and_is_refused_without_an_issuer(bao: DevServer) -> None:
    refused = bootstrap(bao, "--no-root")
    assert refused.exit_code == 1
    assert "intermediate/set-signed" in refused.stderr
    assert "pki/" not in read(bao, "sys/mounts"), "something was written before the refusal"
    write(bao, "sys/mounts/root", type="pki")
    write(bao, "sys/mounts/pki", type="pki")
    write(bao, "root/root/generate/internal", common_name="root", key_type="ec", ttl="700h")
    made = write(bao, "pki/intermediate/generate/internal", common_name="intermediate", key_type="ec")[1]["data"]["csr"]
    signed = write(bao, "root/root/sign-intermediate", csr=made, format="pem_bundle", ttl="600h")[1]["data"]
    write(bao, "pki/intermediate/set-signed", certificate="\n".join(signed["ca_chain"]))
    assert bootstrap(bao, "--no-root").exit_code == 0
    assert read(bao, "sys/mounts/pki/tune")["max_lease_ttl"] == 768 * 3600, "the mount's limit was lowered"
    assert sign(bao, WEB)[0] == 200
    assert last_line(bootstrap(bao, "--no-root")) == "0 changed, 7 unchanged"


def test_default_names_are_signed_and_issued_and_others_refused(ready: DevServer) -> None:
    for name, status in ((WEB, 200), ("evil.example.com", 400), ("web.default.svc", 400), ("localhost", 400)):
        assert sign(ready, name)[0] == status, name
        assert write(ready, "pki/issue/pods-issue", common_name=name)[0] == status, name
    assert sign(ready, f"*.{WEB}")[0] == 400
    assert write(ready, "pki/issue/pods-issue", common_name=WEB, ip_sans="10.0.0.1")[0] == 400
    assert names(sign(ready, WEB)[1]) == [WEB]


def test_the_short_names_need_the_domains_that_the_docs_name(ready: DevServer) -> None:
    options = ("--allowed-domains", "svc.cluster.local,svc", "--allowed-domains", "default", "--mount=short")
    assert bootstrap(ready, *options, "--policy=short", "--token-role=short").exit_code == 0
    for name, status in (
        (WEB, 200),
        ("web.default.svc", 200),
        ("web.default", 200),
        ("web.shop", 400),
        ("default", 400),
    ):
        assert write(ready, "short/sign/pods", csr=csr(name))[0] == status, name


def test_what_an_option_lets_pass_is_refused_without_it(ready: DevServer) -> None:
    options = ["--trust-domain=example.org", "--allow-ip-sans", "--allow-wildcards"]
    others = ["--mount=wide", "--policy=wide", "--token-role=wide"]
    assert bootstrap(ready, *options, *others).exit_code == 0
    for name in ("spiffe://example.org/ns/shop/sa/web", "10.0.0.1", f"*.{WEB}"):
        assert write(ready, "wide/sign/pods", csr=csr(WEB, name))[0] == 200, name
        assert write(ready, "pki/sign/pods", csr=csr(WEB, name))[0] == 400, name
    assert write(ready, "wide/sign/pods", csr=csr(WEB, "spiffe://evil.example/ns/shop/sa/web"))[0] == 400


def test_a_certificate_lives_as_long_as_the_options_say(ready: DevServer) -> None:
    for ttl, hours in ((None, 24), ("100h", 72)):
        body = {"csr": csr(WEB)} | ({"ttl": ttl} if ttl else {})
        certificate = x509.load_pem_x509_certificate(
            write(ready, "pki/sign/pods", **body)[1]["data"]["certificate"].encode()
        )
        lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert lifetime.total_seconds() == hours * 3600 + 30  # Vault sets notBefore 30 s back


def test_json_tells_the_same_as_the_text(ready: DevServer) -> None:
    write(ready, "auth/token/roles/pods", token_period="1h")
    found = json.loads(bootstrap(ready, "--dry-run", "-o", "json").stdout)
    assert (found["dryRun"], found["changed"], found["unchanged"], found["error"]) == (True, 1, 6, None)
    (changed,) = [step for step in found["steps"] if step["status"] == "would change"]
    assert changed["differences"] == [{"field": "token_period", "is": "1h", "shouldBe": "24h"}]
    assert changed["command"] == "vault write auth/token/roles/pods token_period=24h"
    found = json.loads(bootstrap(ready, "-o", "json").stdout)
    assert (found["changed"], found["unchanged"]) == (1, 6)
