"""The certificate manager: watches labelled pods and keeps a certificate from Vault's PKI in a Secret for each of them."""

__version__ = "0.1.0"
