"""`podcert vault …`: the servers of a Vault for trying it out, initialised and unsealed (docs/vault.md)."""
