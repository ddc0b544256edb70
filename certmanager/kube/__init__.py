"""The Kubernetes API: one client, list and watch, Secrets, Roles, Events. Projects JSON to the domain's small views at once."""
