"""What a person does about single pods' certificates: `podcert status`, `renew`, `revoke`; by his own rights in the cluster.

Beside them, what the command lines share (`options`), and that of `podcert bootstrap`, whose work is done in `vault.bootstrap`.
"""
