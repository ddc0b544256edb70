"""`podcert bootstrap` against a real OpenBao: twice, by its own dry run's commands, on what others changed, without rights."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certmanager.cli import main
from certmanager.domain.errors import NotYet
from certmanager.vault.config import VaultConfig
from certmanager.vault.login import Grant, KubernetesLogin
from certmanager.vault.transport import Transport
from tests.cluster import openbao
from tests.cluster.openbao import DevServer, dev_server
from tests.cluster.running import LocalCluster

pytestmark = pytest.mark.cluster

WEB = "web.default.svc.cluster.local"
NAMESPACE = "bootstrap-tests"
DOCS = Path(__file__).parents[2] / "docs/bootstrap.md"


@pytest.fixture
def bao() -> Iterator[DevServer]:
    with dev_server() as server:
        yield server


@pytest.fixture(scope="module")
def ready() -> Iterator[DevServer]:
    """A server that has been set up; tests change nothing in it that they do not put right."""
    with dev_server() as server:
        assert bootstrap(server).exit_code == 0
        yield server


def bootstrap(server: DevServer, *options: str, token: str | None = None) -> Result:
    environment = {"VAULT_ADDR": server.url, "VAULT_TOKEN": token or server.root_token, "HOME": "/nonexistent"}
    result = CliRunner().invoke(main, ["bootstrap", *options], env=environment)
    assert server.root_token not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def last_line(result: Result) -> str:
    return result.stdout.splitlines()[-1]


def read(server: DevServer, path: str, method: str = "GET") -> dict[str, Any]:
    status, body = server.call(method, path)
    assert status == 200, (path, status)
    found: dict[str, Any] = body["data"]
    return found


def write(server: DevServer, path: str, token: str | None = None, **body: Any) -> tuple[int, dict[str, Any]]:
    status, answer = server.call("POST", path, body, token=token)
    return status, answer or {}


def csr(*names: str) -> str:
    """A CSR without a subject, of DNS names, IP addresses and URIs."""
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([general_name(name) for name in names]), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    return x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdecimal() else x509.DNSName(name)


def sign(server: DevServer, name: str, token: str | None = None) -> tuple[int, dict[str, Any]]:
    return write(server, "pki/sign/pods", token, csr=csr(name))


def names(answer: dict[str, Any]) -> list[str]:
    certificate = x509.load_pem_x509_certificate(answer["data"]["certificate"].encode())
    extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def state(server: DevServer, kubernetes: bool) -> dict[str, Any]:
    """Everything that bootstrap writes, as the server tells it, without what is made anew on each server."""
    mount = read(server, "sys/mounts")["pki/"]
    (issuer,) = read(server, "pki/issuers", "LIST")["key_info"]
    root = x509.load_pem_x509_certificate(read(server, f"pki/issuer/{issuer}")["certificate"].encode())
    public = root.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    paths = ["pki/roles/pods", "pki/roles/pods-issue", "sys/policies/acl/pods", "sys/mounts/pki/tune"]
    if kubernetes:
        paths += ["auth/kubernetes/config", "auth/kubernetes/role/podcert", "sys/auth/kubernetes/tune"]
    else:
        paths.append("auth/token/roles/pods")
    found: dict[str, Any] = {path: read(server, path) for path in paths}
    found["sys/policies/acl/pods"].pop("modified", None)
    return found | {
        # The CLI says `options: {}`, which is none.
        "mount": {key: value or None for key, value in mount.items() if key not in {"accessor", "uuid"}},
        "root": (
            root.subject.rfc4514_string(),
            public.curve.name,
            (root.not_valid_after_utc - root.not_valid_before_utc).days,
        ),
    }


def paste(server: DevServer, script: str, folder: Path) -> None:
    """Runs a script in a shell that finds OpenBao's CLI as `vault`."""
    folder.mkdir()
    (folder / "vault").symlink_to(openbao.binary())
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        "VAULT_ADDR": server.url,
        "VAULT_TOKEN": server.root_token,
    }
    done = subprocess.run(["sh", "-eu"], input=script, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_second_run_changes_nothing_and_says_so(bao: DevServer) -> None:
    first, second = bootstrap(bao), bootstrap(bao)
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert last_line(first) == "7 changed, 0 unchanged"
    assert last_line(second) == "0 changed, 7 unchanged"
    assert all(line.startswith("ok ") for line in second.stdout.splitlines()[:-1])


@pytest.mark.parametrize("auth", ["token", "kubernetes"])
def test_the_commands_of_a_dry_run_pasted_into_a_shell_give_the_same_state(
    bao: DevServer, auth: str, tmp_path: Path
) -> None:
    options = [f"--auth={auth}", "--trust-domain=example.org", "--ttl=90m", "--allow-ip-sans"]
    options.append('--root-common-name=@acme\'s "root", $HOME `CA`')
    if auth == "kubernetes":
        (tmp_path / "ca of kind.pem").write_text(certificate_authority())
        (tmp_path / "it's a token").write_text("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln\n")
        options.append(f"--kubernetes-ca-file={tmp_path / 'ca of kind.pem'}")
        options.append(f"--reviewer-token-file={tmp_path}/it's a token")
    dry = bootstrap(bao, *options, "--dry-run")
    assert dry.exit_code == 0
    assert bao.call("GET", "pki/roles/pods")[0] == 404, "a dry run wrote"
    assert bootstrap(bao, *options).exit_code == 0
    with dev_server() as other:
        paste(other, dry.stdout, tmp_path / "bin")
        assert state(other, auth == "kubernetes") == state(bao, auth == "kubernetes")
        again = bootstrap(other, *options)
    assert last_line(again).startswith("0 changed, ")


def certificate_authority() -> str:
    return trustme.CA().cert_pem.bytes().decode()


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


def test_a_token_file_gets_a_token_that_can_sign_and_renew_and_nothing_else(ready: DevServer, tmp_path: Path) -> None:
    file = tmp_path / "vault token"
    first = bootstrap(ready, "--token-file", str(file))
    assert first.exit_code == 0
    token = file.read_text().strip()
    assert token
    assert token not in first.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sign(ready, WEB, token)[0] == 200
    assert ready.call("GET", "pki/roles/pods", token=token)[0] == 403
    assert write(ready, "auth/token/renew-self", token)[1]["auth"]["lease_duration"] == 24 * 3600
    assert last_line(bootstrap(ready, "--token-file", str(file))) == "0 changed, 8 unchanged"
    assert file.read_text().strip() == token
    assert write(ready, "auth/token/revoke-self", token)[0] == 204
    assert last_line(bootstrap(ready, "--token-file", str(file))) == "1 changed, 7 unchanged"
    assert sign(ready, WEB, file.read_text().strip())[0] == 200
    assert [entry.name for entry in tmp_path.iterdir()] == ["vault token"]


@pytest.mark.parametrize("content", ["apiVersion: v1\nkind: Secret\n", "ROOT"])
def test_a_token_file_that_holds_something_else_is_not_overwritten(
    ready: DevServer, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "file"
    file.write_text(content.replace("ROOT", ready.root_token))
    before = file.read_bytes()
    result = bootstrap(ready, "--token-file", str(file))
    assert result.exit_code == 1
    assert "is not overwritten; name another file" in result.stderr
    assert file.read_bytes() == before


def test_the_dry_run_of_a_token_file_makes_one_too(ready: DevServer, tmp_path: Path) -> None:
    file = tmp_path / "it's here"
    file.write_text("hvs.deaddeaddead")
    file.chmod(0o644)
    dry = bootstrap(ready, "--dry-run", "--token-file", str(file))
    assert file.read_text() == "hvs.deaddeaddead"
    paste(ready, dry.stdout, tmp_path / "bin")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert last_line(bootstrap(ready, "--token-file", str(file))) == "0 changed, 8 unchanged"


def limited(server: DevServer, name: str, policy: str) -> str:
    """A token with that policy and `default`."""
    server.call("PUT", f"sys/policies/acl/{name}", {"policy": policy})
    token: str = write(server, "auth/token/create", policies=[name])[1]["auth"]["client_token"]
    return token


@pytest.mark.parametrize("auth", ["token", "kubernetes"])
def test_the_policy_in_the_docs_is_enough(bao: DevServer, auth: str, tmp_path: Path) -> None:
    policy = re.search(r"```hcl\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert policy is not None
    token = limited(bao, "administrator", policy.group(1))
    options = [f"--auth={auth}"]
    if auth == "kubernetes":
        (tmp_path / "ca.pem").write_text(certificate_authority())
        options += ["--kubernetes-ca-file", str(tmp_path / "ca.pem")]
    else:
        options += ["--token-file", str(tmp_path / "token")]
    assert bootstrap(bao, *options, token=token).exit_code == 0
    write(bao, "pki/roles/pods", allow_any_name=True)
    assert last_line(bootstrap(bao, *options, token=token)).startswith("1 changed, ")


def test_rights_that_lack_for_reading_are_all_told(ready: DevServer) -> None:
    result = bootstrap(ready, token=limited(ready, "nothing", 'path "x" { capabilities = ["read"] }'))
    assert result.exit_code == 1
    for path in ("sys/mounts", "pki/roles/pods", "sys/policies/acl/pods", "auth/token/roles/pods"):
        assert f'path "{path}" {{ capabilities = ["read"] }}' in result.stderr


def test_rights_that_lack_for_writing_are_all_told_before_anything_is_written(bao: DevServer) -> None:
    reader = 'path "*" { capabilities = ["read", "list"] }'
    result = bootstrap(bao, "--auth=kubernetes", token=limited(bao, "reader", reader))
    assert result.exit_code == 1
    assert 'path "pki/root/generate/internal" { capabilities = ["update"] }' in result.stderr
    assert 'path "sys/auth/kubernetes" { capabilities = ["update", "sudo"] }' in result.stderr
    assert "pki/" not in read(bao, "sys/mounts")
    assert bootstrap(bao, "--dry-run", token=limited(bao, "reader", reader)).exit_code == 0


def test_the_right_to_patch_a_role_is_told_apart_from_the_right_to_write_it(ready: DevServer) -> None:
    assert write(ready, "pki/roles/pods", allow_any_name=True)[0] == 200
    writer = 'path "*" { capabilities = ["create", "read", "update", "list", "sudo"] }'
    result = bootstrap(ready, "-o", "json", token=limited(ready, "writer", writer))
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["reason"] == "VaultPolicyForbids"
    assert 'path "pki/roles/pods" { capabilities = ["patch"] }' in error["message"]
    assert bootstrap(ready).exit_code == 0


def test_a_token_that_vault_does_not_know_is_told_from_one_without_rights(ready: DevServer) -> None:
    result = bootstrap(ready, token="hvs.unknownunknown")
    assert result.exit_code == 1
    assert "does not accept the token of VAULT_TOKEN" in result.stderr
    assert "unknownunknown" not in result.output


def test_a_vault_outside_the_cluster_is_told_to_be_given_its_ca(bao: DevServer) -> None:
    result = bootstrap(bao, "--auth=kubernetes")
    assert result.exit_code == 1
    assert "--kubernetes-ca-file" in result.stderr


def test_the_manager_logs_in_as_its_service_account_and_nobody_else_does(
    bao: DevServer, control_plane: LocalCluster, tmp_path: Path
) -> None:
    space = f"--namespace={NAMESPACE}"
    control_plane.kubectl("create", "namespace", NAMESPACE)
    for account in ("certificate-manager", "reviewer", "other"):
        control_plane.kubectl("create", "serviceaccount", account, space)
    delegator = ["--clusterrole=system:auth-delegator", f"--serviceaccount={NAMESPACE}:reviewer"]
    control_plane.kubectl("create", "clusterrolebinding", f"{NAMESPACE}-reviewer", *delegator)
    (tmp_path / "reviewer").write_text(control_plane.token(NAMESPACE, "reviewer"))
    files = [f"--kubernetes-ca-file={control_plane.ca_file}", f"--reviewer-token-file={tmp_path}/reviewer"]
    options = ["--auth=kubernetes", f"--kubernetes-host={control_plane.apiserver_url}", *files, space]
    assert bootstrap(bao, *options).exit_code == 0
    assert last_line(bootstrap(bao, *options)) == "0 changed, 9 unchanged"
    transport = Transport(VaultConfig(bao.url))

    def login(account: str, audience: str) -> Grant:
        jwt = control_plane.kubectl("create", "token", account, space, f"--audience={audience}").stdout
        (tmp_path / "jwt").write_text(jwt)
        return KubernetesLogin("kubernetes", "podcert", tmp_path / "jwt").login(transport, None)

    grant = login("certificate-manager", "vault")
    assert sign(bao, WEB, grant.token)[0] == 200
    assert (grant.ttl, grant.renewable) == (3600.0, True)
    for account, audience in (("other", "vault"), ("certificate-manager", "elsewhere")):
        with pytest.raises(NotYet, match="VaultLoginRefused"):
            login(account, audience)
    transport.close()


def test_a_sealed_vault_is_told_and_nothing_is_lost(bao: DevServer) -> None:
    assert bao.call("PUT", "sys/seal")[0] == 204
    result = bootstrap(bao)
    assert result.exit_code == 1
    assert "Vault is sealed: unseal it" in result.stderr


def test_a_token_file_in_a_folder_that_is_not_there_is_refused_before_anything_is_written(
    bao: DevServer, tmp_path: Path
) -> None:
    result = bootstrap(bao, f"--token-file={tmp_path}/none/token")
    assert result.exit_code == 1
    assert "its folder is not there" in result.stderr
    assert "pki/" not in read(bao, "sys/mounts")


def test_wrong_options_end_with_2_and_an_absent_server_with_1(ready: DevServer) -> None:
    assert bootstrap(ready, "--ttl=soon").exit_code == 2
    with ready.paused():
        result = CliRunner().invoke(
            main, ["bootstrap"], env={"VAULT_ADDR": ready.url, "VAULT_TOKEN": "x", "VAULT_CLIENT_TIMEOUT": "1s"}
        )
    assert result.exit_code == 1
    assert "run it again" in result.stderr


def test_json_tells_the_same_as_the_text(ready: DevServer) -> None:
    write(ready, "auth/token/roles/pods", token_period="1h")
    found = json.loads(bootstrap(ready, "--dry-run", "-o", "json").stdout)
    assert (found["dryRun"], found["changed"], found["unchanged"], found["error"]) == (True, 1, 6, None)
    (changed,) = [step for step in found["steps"] if step["status"] == "would change"]
    assert changed["differences"] == [{"field": "token_period", "is": "1h", "shouldBe": "24h"}]
    assert changed["command"] == "vault write auth/token/roles/pods token_period=24h"
    found = json.loads(bootstrap(ready, "-o", "json").stdout)
    assert (found["changed"], found["unchanged"]) == (1, 6)
