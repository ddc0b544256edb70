"""Logins by something that was delivered: a token in a file, AppRole's secret-id, plain and wrapped."""

from __future__ import annotations

from tests.integration.ways import Case, Way
from tests.integration.world import eventually

REFUSED = "VaultLoginRefused"
ROLE = "podcert"


class TokenFile(Way):
    """A given token in a file."""

    name = "token"
    title = "by a token file"
    LIFE = 8
    """Seconds of the token that ends: enough for the manager to see it and to use it."""

    def set_up(self) -> None:
        """It is there: every world has a token."""

    def settings(self) -> dict[str, str]:
        return {}

    def good(self) -> None:
        self.world.put_token(self.world.new_token())

    def cases(self) -> tuple[Case, ...]:
        refused, do = "VaultTokenRefused", "put a valid token there"
        return (
            Case("expiry", "the token ends", self.let_end, refused, ("has expired", do)),
            Case("revocation", "the token is revoked", self.place.take_tokens, refused, ("was revoked", do)),
            Case(
                "wrong",
                "a token without the policy",
                lambda: self.world.put_token(self.world.new_token(policies=["default"])),
                "VaultPolicyForbids",
                ("the token is valid, its policies do not allow it", "sign/pods"),
                ready=False,
            ),
        )

    def let_end(self) -> None:
        """A token that cannot be renewed is taken into use, and ends."""
        token = self.world.new_token(ttl=f"{self.LIFE}s", explicit_max_ttl=f"{self.LIFE}s")
        self.world.put_token(token)
        self.place.take_tokens(but=token)
        self.world.pod("token-short")
        self.world.enrolled("token-short")
        eventually(lambda: self.world.vault.call("GET", "auth/token/lookup-self", token=token)[0] == 403)


class AppRole(Way):
    """A secret-id in a file."""

    name = "approle"
    title = "by AppRole"
    wrapped = False

    @property
    def secret_ids(self) -> str:
        """Where they are made."""
        return f"auth/{self.mount}/role/{ROLE}/secret-id"

    def set_up(self) -> None:
        self.enable("approle")
        for role in (ROLE, "other"):
            body = {"token_policies": self.world.namespace, "token_ttl": "1h"}
            self.world.ask("POST", f"auth/{self.mount}/role/{role}", body)

    def settings(self) -> dict[str, str]:
        role_id = self.world.ask("GET", f"auth/{self.mount}/role/{ROLE}/role-id")["data"]["role_id"]
        return {
            "PODCERT_AUTH": "approle",
            "PODCERT_AUTH_MOUNT": self.mount,
            "PODCERT_AUTH_ROLE_ID": role_id,
            "PODCERT_AUTH_SECRET_ID_FILE": str(self.place.file("secret-id")),
            "PODCERT_AUTH_SECRET_ID_WRAPPED": str(self.wrapped).lower(),
        }

    def good(self) -> None:
        self.place.write("secret-id", self.secret_id())

    def secret_id(self, role: str = ROLE, **fields: str) -> str:
        """A new one."""
        made = self.world.ask("POST", f"auth/{self.mount}/role/{role}/secret-id", fields)
        return str(made["data"]["secret_id"])

    def cases(self) -> tuple[Case, ...]:
        do = "write a new one"
        return (
            Case("expiry", "the secret-id ends", self.let_end, REFUSED, ("it was accepted before", "expired", do)),
            Case("revocation", "the secret-id is destroyed", self.destroy, REFUSED, ("it was accepted before", do)),
            Case(
                "wrong",
                "a secret-id of another role",
                lambda: self.place.write("secret-id", self.secret_id("other")),
                REFUSED,
                ("Vault has not accepted it before", "PODCERT_AUTH_ROLE_ID", do),
            ),
        )

    def let_end(self) -> None:
        """One of a few seconds is used for a login, and ends."""
        secret_id = self.secret_id(ttl="6s")
        self.place.write("secret-id", secret_id)
        self.place.take_tokens()
        self.world.pod("approle-short")
        self.world.enrolled("approle-short")
        lookup = f"{self.secret_ids}/lookup"
        eventually(lambda: self.world.vault.call("POST", lookup, {"secret_id": secret_id})[0] != 200)

    def destroy(self) -> None:
        """By an administrator: all that there are."""
        for accessor in self.world.ask("LIST", self.secret_ids)["data"]["keys"]:
            body = {"secret_id_accessor": accessor}
            self.world.ask("POST", f"auth/{self.mount}/role/{ROLE}/secret-id-accessor/destroy", body)


class WrappedAppRole(AppRole):
    """A wrapping token in a file, good once."""

    name = "wrapped"
    title = "by wrapped AppRole"
    wrapped = True

    def good(self) -> None:
        self.place.write("secret-id", self.place.wrapped(self.secret_ids))

    def cases(self) -> tuple[Case, ...]:
        misused, do = "VaultSecretIdMisused", "write a new wrapping token"
        return (
            Case("expiry", "the wrapping token ends unused", self.let_end, misused, ("has expired", do)),
            Case(
                "revocation",
                "the unwrapped secret-id is destroyed",
                self.destroy,
                REFUSED,
                ("the secret-id that was unwrapped from", "it was accepted before"),
            ),
            Case(
                "wrong",
                "somebody else unwraps it first",
                self.unwrap_first,
                misused,
                ("someone else may have unwrapped it", "audit log", do),
            ),
        )

    def let_end(self) -> None:
        """Before the manager sees it."""
        token = self.place.wrapped(self.secret_ids, seconds=1)
        eventually(lambda: self.world.vault.call("POST", "sys/wrapping/lookup", {"token": token})[0] != 200)
        self.place.write("secret-id", token)

    def unwrap_first(self) -> None:
        """As a thief would, who then puts the spent token back."""
        token = self.place.wrapped(self.secret_ids)
        status, _ = self.world.vault.call("POST", "sys/wrapping/unwrap", token=token)
        assert status == 200
        self.place.write("secret-id", token)
