"""Vault's API (HashiCorp Vault and OpenBao): the session (login, renewal, probe) and the PKI mount."""
