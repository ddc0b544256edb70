"""`podcert bootstrap` against a real OpenBao: token files, rights that lack, logins, and what is wrong told clearly."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from certmanager.cli import main
from certmanager.domain.errors import NotYet
from certmanager.vault.bootstrap.options import METHODS
from certmanager.vault.config import VaultConfig
from certmanager.vault.login import Grant
from certmanager.vault.login_jwt import KubernetesLogin
from certmanager.vault.transport import Transport
from tests.cluster.openbao import DevServer
from tests.cluster.running import LocalCluster
from tests.integration.bootstrap_server import (
    WEB,
    bootstrap,
    last_line,
    limited,
    login_options,
    paste,
    read,
    sign,
    write,
)

NAMESPACE = "bootstrap-tests"
DOCS = Path(__file__).parents[2] / "docs/bootstrap.md"
pytestmark = pytest.mark.cluster


def test_a_token_file_gets_a_token_that_can_sign_renew_and_read_its_roles_and_nothing_else(
    ready: DevServer, tmp_path: Path
) -> None:
    file = tmp_path / "vault token"
    first = bootstrap(ready, "--token-file", str(file))
    assert first.exit_code == 0
    token = file.read_text().strip()
    assert token
    assert token not in first.output
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sign(ready, WEB, token)[0] == 200
    assert ready.call("GET", "pki/roles/pods", token=token)[0] == 200
    assert write(ready, "pki/roles/pods", token, allow_any_name=True)[0] == 403
    assert ready.call("LIST", "pki/roles", token=token)[0] == 403
    assert ready.call("GET", "pki/roles/others", token=token)[0] == 403
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


@pytest.mark.parametrize("auth", METHODS)
def test_the_policy_in_the_docs_is_enough(bao: DevServer, auth: str, tmp_path: Path) -> None:
    policy = re.search(r"```hcl\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert policy is not None
    token = limited(bao, "administrator", policy.group(1))
    options = [f"--auth={auth}", *login_options(auth, tmp_path)]
    if auth == "token":
        options += ["--token-file", str(tmp_path / "token")]
    if auth == "approle":
        options += ["--secret-id-file", str(tmp_path / "secret-id")]
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
