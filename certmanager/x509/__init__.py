"""Keys, CSRs and the verification of certificates (cryptography). Knows neither Kubernetes nor Vault."""
