"""The command line of `podcert bootstrap`. What each option may be is in `vault.bootstrap.options`, loaded when it is run."""

from __future__ import annotations

import sys

import click

from certmanager.commands.options import console


@click.command()
@click.option("--mount", envvar="PODCERT_MOUNT", help="PKI secrets engine; made if absent. [pki]")
@click.option("--no-root", is_flag=True, help="Make no root CA: the mount is an intermediate's, set up by hand.")
@click.option("--root-common-name", help="Name of a root CA that is made. [Podcert root CA]")
@click.option("--root-ttl", help="Lifetime of a root CA that is made, and longest TTL of the mount. [87600h]")
@click.option("--sign-role", envvar="PODCERT_SIGN_ROLE", help="Vault role for mode `sign`. [pods]")
@click.option("--issue-role", envvar="PODCERT_ISSUE_ROLE", help="Vault role for mode `issue`. [pods-issue]")
@click.option("--policy", help="The manager's policy. [pods]")
@click.option("--cluster-domain", envvar="PODCERT_CLUSTER_DOMAIN", help="The cluster's DNS domain. [cluster.local]")
@click.option(
    "--allowed-domains",
    multiple=True,
    help="Domains below which names pass; repeat it, or use commas. [svc.<cluster domain>]",
)
@click.option("--trust-domain", envvar="PODCERT_TRUST_DOMAIN", help="SPIFFE trust domain whose identities pass. [none]")
@click.option("--allow-ip-sans", is_flag=True, help="Let IP addresses pass.")
@click.option("--allow-wildcards", is_flag=True, help="Let wildcard names pass.")
@click.option("--no-store", is_flag=True, help="Vault keeps no copy of certificates.")
@click.option("--revoke", is_flag=True, help="Let the manager revoke certificates.")
@click.option(
    "--crl-url", help="Vault's address as peers reach it: CRL and OCSP addresses of new certificates. [unchanged]"
)
@click.option("--ttl", help="Lifetime of certificates that ask for none. [24h]")
@click.option("--max-ttl", help="Longest lifetime of certificates. [72h]")
@click.option(
    "--auth", envvar="PODCERT_AUTH", help="How the manager logs in: token, kubernetes, jwt, approle, cert. [token]"
)
@click.option("--token-role", help="Token role, for --auth=token. [pods]")
@click.option("--token-period", help="How long its tokens live between renewals. [24h]")
@click.option("--token-file", type=click.Path(), help="Put a token for the manager there (0600), unless it holds one.")
@click.option("--auth-mount", envvar="PODCERT_AUTH_MOUNT", help="Path of the auth method; made if absent. [its name]")
@click.option("--auth-role", envvar="PODCERT_AUTH_ROLE", help="The manager's role in it. [podcert]")
@click.option("--namespace", help="Namespace of the manager's ServiceAccount. [podcert]")
@click.option("--service-account", help="The manager's ServiceAccount. [certificate-manager]")
@click.option("--audience", help="Audience of the manager's token, for kubernetes and jwt. [vault]")
@click.option("--kubernetes-host", help="API server, as Vault reaches it. [https://kubernetes.default.svc]")
@click.option("--kubernetes-ca-file", type=click.Path(), help="The cluster's CA, for a Vault outside the cluster.")
@click.option("--reviewer-token-file", type=click.Path(), help="Token that may review tokens, for such a Vault.")
@click.option("--oidc-discovery-url", help="Issuer of the manager's JWTs, whose keys Vault fetches, for --auth=jwt.")
@click.option("--oidc-discovery-ca-file", type=click.Path(), help="CA of that address, if it is no public one.")
@click.option(
    "--jwt-public-keys-file", type=click.Path(), help="The issuer's public keys (PEM), where Vault cannot fetch."
)
@click.option("--bound-subject", help="Subject of these JWTs. [that of the ServiceAccount]")
@click.option("--secret-id-file", type=click.Path(), help="Put a secret-id there (0600), unless it holds a good one.")
@click.option("--secret-id-ttl", help="How long secret-ids live, for --auth=approle. [0, until they are destroyed]")
@click.option("--wrap-ttl", help="Put a token there that wraps the secret-id and lives that long. [none]")
@click.option("--client-ca-file", type=click.Path(), help="CA of the manager's certificate (PEM), for --auth=cert.")
@click.option(
    "--client-names", multiple=True, help="DNS names, one of which it has. [<service account>.<namespace>.svc.<domain>]"
)
@click.option("--dry-run", is_flag=True, help="Change nothing; print the `vault` commands that would.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Shape of the output. [text]")
def bootstrap(no_root: bool, dry_run: bool, output: str, **options: object) -> None:
    """Set Vault up for Podcert: PKI mount, root CA, roles, policy and the manager's login.

    Run again it changes only what is no longer as it should be. VAULT_ADDR, VAULT_TOKEN (or ~/.vault-token), VAULT_CACERT
    and so on mean what they mean to the Vault CLI. See docs/bootstrap.md.
    """
    from certmanager.vault.bootstrap import command

    options["root"] = not no_root
    sys.exit(command.main(options, console(), dry_run=dry_run, as_json=output == "json"))
