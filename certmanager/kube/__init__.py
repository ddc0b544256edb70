"""The Kubernetes API: one client, list and watch, Secrets, Roles, Events. JSON becomes the domain's views at once."""
