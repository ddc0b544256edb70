"""`make demo`: from nothing to a verified TLS handshake between two pods, on a real cluster, step by step."""
