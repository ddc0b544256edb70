"""Bootstrap without a server: options, variables, and the decision of each step."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from certmanager.domain.errors import Refused
from certmanager.vault.bootstrap import (
    BootstrapPlan,
    OptionError,
    commands,
    from_options,
    steps,
)
from certmanager.vault.bootstrap.environment import admin_token, vault_config
from certmanager.vault.bootstrap.options import Duration
from certmanager.vault.bootstrap.step import Decision, Step
from certmanager.vault.bootstrap.steps import policy_text
from certmanager.vault.errors import Call

ROOT = Path(__file__).parents[3]
ISSUERS = {"key_info": {"one": {"is_default": True, "key_id": "k"}}}


def step(plan: BootstrapPlan, beginning: str) -> Step:
    return next(found for found in steps(plan) if found.name.startswith(beginning))


def decide(plan: BootstrapPlan, beginning: str, found: Mapping[str, Any] | None) -> Decision:
    """The decision of a step whose every read finds the same."""
    one = step(plan, beginning)
    return one.decide(dict.fromkeys(one.reads, found))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("mount", "../sys", "must be words of letters"),
        ("sign_role", "a/b", "without '/'"),
        ("policy", "-x", "'-' at its ends"),
        ("ttl", "1 day", "must be a duration"),
        ("root_ttl", "11000d", "at most ten years"),
        ("cluster_domain", "Cluster.Local", "lower case"),
        ("allowed_domains", ("*.example.com",), "not a wildcard"),
        ("root_common_name", "-", "not beginning with"),
        ("root_common_name", "x" * 65, "1 to 64"),
        ("root_common_name", "a\nb", "printable"),
        ("kubernetes_host", "http://10.0.0.1", "must be the API server's address"),
        ("auth", "ldap", "must be one of token, kubernetes, jwt, approle, cert"),
        ("oidc_discovery_url", "ftp://x", "must be the issuer's address"),
        ("oidc_discovery_url", "https://x/.well-known/openid-configuration", "leave out /.well-known"),
        ("oidc_discovery_url", "https://x/?a=b", "must be the issuer's address"),
        ("bound_subject", "a b", "must be a subject"),
        ("client_names", ("*.example.com",), "not a wildcard"),
        ("secret_id_ttl", "soon", "must be a duration"),
        ("wrap_ttl", "0", "longer than zero"),
        ("crl_url", "ftp://vault", "must be Vault's address"),
        ("crl_url", "http://vault/v1/pki", "must be Vault's address"),
        ("audience", "a b", "must be an audience"),
        ("namespace", "My_Namespace", "must be a Kubernetes name"),
    ],
)
def test_a_wrong_option_is_told_with_its_name_its_value_and_the_rule(option: str, value: object, words: str) -> None:
    with pytest.raises(OptionError) as raised:
        from_options({option: value})
    assert words in str(raised.value)
    assert f"--{option.replace('_', '-')}=" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_wrong_options_are_told_at_once() -> None:
    with pytest.raises(OptionError) as raised:
        from_options({"ttl": "x", "mount": "/"})
    assert len(str(raised.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"issue_role": "pods"}, "--issue-role"),
        ({"ttl": "73h"}, "--ttl=73h"),
        ({"root_ttl": "1h"}, "--max-ttl=72h"),
        ({"auth": "kubernetes", "token_file": "x"}, "--token-file"),
        ({"kubernetes_ca_file": "x"}, "--kubernetes-ca-file"),
        ({"reviewer_token_file": "x"}, "--reviewer-token-file"),
        ({"auth": "jwt"}, "--oidc-discovery-url or --jwt-public-keys-file"),
        ({"auth": "jwt", "oidc_discovery_url": "https://x", "jwt_public_keys_file": "x"}, "one of them"),
        ({"auth": "jwt", "jwt_public_keys_file": "x", "oidc_discovery_ca_file": "x"}, "--oidc-discovery-ca-file"),
        ({"auth": "cert"}, "give --client-ca-file"),
        ({"auth": "approle", "wrap_ttl": "5m"}, "--wrap-ttl: goes with --secret-id-file"),
        ({"auth": "approle", "token_file": "x"}, "--token-file: goes with --auth=token only"),
        (
            {"auth": "jwt", "jwt_public_keys_file": "x", "client_names": ("a.b",)},
            "--client-names: goes with --auth=cert only",
        ),
        ({"secret_id_ttl": "1h"}, "--secret-id-ttl: goes with --auth=approle only"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        from_options(options)


def test_the_roots_lifetime_limits_nothing_where_no_root_is_made() -> None:
    assert from_options({"root": False, "root_ttl": "1h"}).max_ttl == Duration(72 * 3600)


def test_a_reviewer_token_file_that_holds_something_else_is_refused_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hvs.secretsecret")
    with pytest.raises(OptionError) as raised:
        from_options({"auth": "kubernetes", "reviewer_token_file": str(file)})
    assert "secretsecret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_domains_may_be_repeated_or_separated_by_commas() -> None:
    plan = from_options({"allowed_domains": ("svc.cluster.local,svc", "shop", "svc")})
    assert plan.domains == ("svc.cluster.local", "svc", "shop")
    assert from_options({"cluster_domain": "k8s.example.com"}).domains == ("svc.k8s.example.com",)


def test_the_default_policy_is_the_manifest() -> None:
    given, optional = (
        (ROOT / "manifests/policies/pods.hcl").read_text().split("\n# Only where certificates are to be revoked")
    )
    assert policy_text(BootstrapPlan()) == given
    block = "".join(line.removeprefix("# ") for line in optional.splitlines(keepends=True)[1:])
    assert policy_text(BootstrapPlan(revoke=True)) == given + block


def test_addresses_of_crl_and_ocsp_are_written_only_when_one_is_given() -> None:
    assert not [step for step in steps(BootstrapPlan()) if "addresses" in step.name]
    (step,) = [each for each in steps(BootstrapPlan(crl_url="http://vault:8200")) if "addresses" in each.name]
    (read,) = step.reads
    write = step.decide({read: {"crl_distribution_points": [], "ocsp_servers": None}}).write
    assert write is not None
    assert write.payload == {
        "crl_distribution_points": ("http://vault:8200/v1/pki/crl",),
        "ocsp_servers": ("http://vault:8200/v1/pki/ocsp",),
        "issuing_certificates": ("http://vault:8200/v1/pki/ca",),
    }
    assert step.decide({read: {name: list(value) for name, value in write.payload.items()}}).write is None  # type: ignore[call-overload]


def test_a_mount_of_another_type_is_refused() -> None:
    with pytest.raises(Refused, match="type kv"):
        decide(BootstrapPlan(), "secrets engine", {"pki/": {"type": "kv"}})


@pytest.mark.parametrize(
    ("there", "root", "writes"),
    [(2764800, True, True), (315360000, True, False), (400000000, True, False), (2764800, False, False)],
)
def test_the_longest_ttl_is_raised_and_never_lowered(there: int, root: bool, writes: bool) -> None:
    found = decide(BootstrapPlan(root=root), "longest TTL", {"max_lease_ttl": there})
    assert (found.write is not None) is writes


def test_any_issuer_counts_and_there_is_no_second_root() -> None:
    assert decide(BootstrapPlan(), "issuer", ISSUERS).write is None
    made = decide(BootstrapPlan(), "issuer", None).write
    assert made is not None
    assert made.call.path == "pki/root/generate/internal"


def test_without_a_root_a_mount_without_an_issuer_is_refused_with_the_remedy() -> None:
    assert decide(BootstrapPlan(root=False), "issuer", ISSUERS).write is None
    with pytest.raises(Refused, match="intermediate/set-signed"):
        decide(BootstrapPlan(root=False), "issuer", None)


@pytest.mark.parametrize("info", [{"is_default": False, "key_id": "k"}, {"is_default": True, "key_id": ""}])
def test_issuers_none_of_which_can_sign_are_refused(info: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="config/issuers default="):
        decide(BootstrapPlan(), "issuer", {"key_info": {"one": info}})


def test_a_role_that_differs_is_patched_in_the_fields_that_differ_only() -> None:
    plan = BootstrapPlan()
    made = decide(plan, "role pods (sign)", None).write
    assert made is not None
    assert made.call.method == "POST"
    changed = decide(plan, "role pods (sign)", {**made.payload, "ttl": 60, "organization": ["acme"]}).write
    assert changed is not None
    assert changed.call == Call("PATCH", "pki/roles/pods")
    assert changed.payload == {"ttl": "24h"}
    assert changed.command == "vault patch pki/roles/pods ttl=24h"


def test_what_a_step_writes_and_what_its_command_says_are_the_same() -> None:
    for name in ("role pods (sign)", "role pods-issue", "token role", "issuer"):
        write = decide(BootstrapPlan(trust_domain="example.org"), name, None).write
        assert write is not None
        verb, path, *words = shlex.split(write.command)[1:]
        assert (verb, path) == ("write", write.call.path)
        said = {name: value for name, _, value in (word.partition("=") for word in words)}
        assert said == {key: commands.text(value) for key, value in _values(write.payload).items()}


def _values(body: Mapping[str, object]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in body.items()}


def test_a_spiffe_trust_domain_lets_its_identities_pass_and_nothing_else() -> None:
    assert BootstrapPlan().uri_sans == ()
    assert BootstrapPlan(trust_domain="example.org").uri_sans == ("spiffe://example.org/ns/*/sa/*",)


def test_a_kubernetes_configuration_is_written_whole_and_keeps_what_is_there() -> None:
    plan = BootstrapPlan(auth="kubernetes")
    there = {"kubernetes_host": "https://old", "issuer": "me", "disable_iss_validation": False, "pem_keys": []}
    write = decide(plan, "configuration", there).write
    assert write is not None
    assert write.payload == {
        "kubernetes_host": "https://kubernetes.default.svc",
        "issuer": "me",
        "disable_iss_validation": False,
    }


def test_a_reviewer_token_that_would_be_lost_is_asked_for() -> None:
    there = {"kubernetes_host": "https://old", "token_reviewer_jwt_set": True}
    with pytest.raises(Refused, match="--reviewer-token-file"):
        decide(BootstrapPlan(auth="kubernetes"), "configuration", there)


def test_a_reviewer_token_is_in_no_command_and_no_repr(tmp_path: Path) -> None:
    file = tmp_path / "it's a token"
    file.write_text("eyJsecret.eyJsecret.sig\n")
    plan = from_options({"auth": "kubernetes", "reviewer_token_file": str(file)})
    decision = decide(plan, "configuration", None)
    assert decision.write is not None
    assert decision.write.payload["token_reviewer_jwt"] == "eyJsecret.eyJsecret.sig"
    assert "eyJsecret" not in decision.write.command + repr(decision) + repr(plan)
    assert shlex.quote(str(file)) in decision.write.command


def test_the_variables_mean_what_they_mean_to_the_vault_cli(tmp_path: Path) -> None:
    config = vault_config({"VAULT_ADDR": "https://v:8200/", "VAULT_SKIP_VERIFY": "1", "VAULT_CLIENT_TIMEOUT": "90s"})
    assert (config.address, config.skip_verify, config.read_timeout) == ("https://v:8200", True, 90.0)
    assert vault_config({}).address == "https://127.0.0.1:8200"
    (tmp_path / ".vault-token").write_text("from-the-file\n")
    assert admin_token({}, tmp_path)[0] == "from-the-file"
    assert admin_token({"VAULT_TOKEN": "from-the-variable"}, tmp_path) == ("from-the-variable", "VAULT_TOKEN")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"VAULT_SKIP_VERIFY": "yes"}, "VAULT_SKIP_VERIFY"),
        ({"VAULT_CLIENT_TIMEOUT": "soon"}, "VAULT_CLIENT_TIMEOUT"),
        ({"VAULT_ADDR": "vault:8200"}, "VAULT_ADDR"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(environment: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        vault_config(environment)


def test_a_missing_token_is_told_and_a_broken_one_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="vault login"):
        admin_token({}, tmp_path)
    with pytest.raises(ValueError, match="one token") as raised:
        admin_token({"VAULT_TOKEN": "two secretwords"}, tmp_path)
    assert "secretwords" not in str(raised.value)


def test_the_docs_list_every_option() -> None:
    from certmanager.commands.bootstrap_options import bootstrap

    text = (ROOT / "docs/bootstrap.md").read_text()
    for option in bootstrap.params:
        assert f"`{option.opts[0]}`" in text, option.opts


def test_the_docs_show_the_commands_of_an_empty_server() -> None:
    text = (ROOT / "docs/bootstrap.md").read_text()
    for one in steps(BootstrapPlan()):
        write = one.decide(dict.fromkeys(one.reads)).write
        assert write is not None
        assert write.command in text
