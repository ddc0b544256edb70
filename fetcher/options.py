"""The table of settings: what each is called, its default and its help; how they are judged is in `settings`.

Apart from both readers, `settings` (variables) and `flags`: each needs the table, and only those who give flags need argparse.
"""

from dataclasses import dataclass

_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class Option:
    """One setting: its variable (the flag is made from it), its default ("" is none) and a line of help."""

    variable: str
    default: str
    help: str

    @property
    def flag(self) -> str:
        """`POD_NAME` is `--pod-name`, `PODCERT_TIMEOUT` is `--timeout`."""
        return "--" + self.variable.removeprefix("PODCERT_").lower().replace("_", "-")


OPTIONS = (
    Option("POD_NAME", "", "the pod's name (downward API, metadata.name)"),
    Option("POD_NAMESPACE", "", "the pod's namespace (downward API, metadata.namespace)"),
    Option("POD_UID", "", "the pod's uid (downward API, metadata.uid)"),
    Option("PODCERT_SECRET_NAME", "", "the Secret's name, if it is not <pod>-cert-<first 8 of uid>"),
    Option("PODCERT_DIRECTORY", "/var/run/secrets/certs", "where the files go: a writable volume, or a folder in one"),
    Option("PODCERT_TIMEOUT", "", "give up after this long, such as 90s or 5m; without it there is no limit"),
    Option(
        "PODCERT_REFRESH", "false", "stay as a sidecar and follow the Secret: true or false; the flag alone means true"
    ),
    Option("PODCERT_RELOAD_TIMEOUT", "60s", "how long a sidecar tries to reload the application before it ends"),
    Option(
        "PODCERT_SEED_DIR",
        "",
        "a sidecar's certificate until the pod's own is there: a directory with tls.crt, tls.key and ca.crt",
    ),
    Option("PODCERT_TERMINATION_LOG", "/dev/termination-log", "where serial and expiry are written for the manager"),
    Option("PODCERT_MESSAGE_INTERVAL", "5s", "how often it is said what is waited for"),
    Option("PODCERT_REQUEST_TIMEOUT", "10s", "how long one answer of the API server may take"),
    Option("PODCERT_WATCH_TIMEOUT", "30s", "how long one watch lasts before it is made anew"),
    Option("PODCERT_TOKEN_FILE", f"{_SERVICE_ACCOUNT}/token", "the ServiceAccount's token"),
    Option("PODCERT_CA_FILE", f"{_SERVICE_ACCOUNT}/ca.crt", "the CA of the API server"),
    Option("KUBERNETES_SERVICE_HOST", "", "the API server's address (set by the kubelet)"),
    Option("KUBERNETES_SERVICE_PORT", "", "the API server's port (set by the kubelet)"),
)
