"""What a person does about single pods' certificates: `podcert status`, `renew`, `revoke`; by his own rights in the cluster."""
