"""Every reason that a decision can have, in one place: the docs are made from it.

A reason is the Event's reason, the metric's label and the log's field, all at once; so each is one CamelCase word, and
none is ever reused with another meaning.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A reason; `meaning` is its line in the docs."""

    _value_: str
    meaning: str

    def __new__(cls, value: str, meaning: str) -> Reason:
        """A member whose value is the word alone."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    # Nothing to do.
    NOT_ENROLLED = "NotEnrolled", "The pod's label podcert.io/enroll is absent or false."
    FINISHED = "Finished", "The pod has succeeded or failed: it needs no certificate any more."
    DELETING = "Deleting", "The pod is being deleted."
    VALID = "Valid", "The Secret holds the pod's certificate, and its renewal is not due yet."

    # A certificate is made.
    CERTIFICATE_MISSING = "CertificateMissing", "The pod has no Secret yet."
    CERTIFICATE_UNREADABLE = "CertificateUnreadable", "The Secret's files could not be read as certificate, key and CA."
    KEY_MISMATCH = "KeyMismatch", "The private key in the Secret does not belong to its certificate."
    CHAIN_BROKEN = "ChainBroken", "The certificate's chain does not reach an anchor in the Secret's ca.crt."
    ANCHOR_UNKNOWN = "AnchorUnknown", "The chain ends at an anchor that Vault does not have (any more)."
    REQUEST_CHANGED = "RequestChanged", "Mode, role, mount, key type, TTL or common name is not what was asked for."
    NAME_GAINED = "NameGained", "The pod has a name that its certificate lacks."
    RENEWAL_DUE = "RenewalDue", "The certificate's renewal is due, or the certificate has expired."
    ANCHOR_MISSING = "AnchorMissing", "Vault has a trust anchor that the Secret's ca.crt lacks."
    ISSUER_CLOSING = "IssuerClosing", "The CA that issued the certificate may not issue any more."
    ANCHOR_RETIRED = "AnchorRetired", "The Secret's ca.crt holds a trust anchor that Vault has retired."
    ANNOTATIONS_CHANGED = (
        "AnnotationsChanged",
        "Somebody has changed what the Secret's annotations tell of its certificate, which is all that commands look at.",
    )
    RENEWAL_REQUESTED = "RenewalRequested", "Somebody asks for another certificate (podcert renew)."
    REVOCATION_REQUESTED = "RevocationRequested", "Somebody asks for the certificate's revocation (podcert revoke)."

    # The pod is to be replaced by a new one, or cannot be.
    ROTATION_DUE = "RotationDue", "The certificate that the pod serves is to be replaced, with a new pod."
    FILES_OUTDATED = "FilesOutdated", "The pod's files hold an older certificate than its Secret, and do not follow it."
    CANNOT_RESTART = "CannotRestart", "The pod has no owner that could be rolled: its Secret is renewed in place."

    # Waiting for something that comes by itself.
    WAITING_FOR_POD_IP = "WaitingForPodIP", "The pod asked for its IP in the certificate and has none yet."
    WAITING_FOR_SERVICES = "WaitingForServices", "No Service selects the new pod yet; one may arrive within 250 ms."
    PREDECESSOR_SECRET = "PredecessorSecret", "The Secret belongs to a pod that is gone; it is deleted first."

    # No, until the pod, a Service or the configuration changes.
    INVALID_LABEL = "InvalidLabel", "The label podcert.io/enroll is neither true nor false."
    INVALID_ANNOTATION = "InvalidAnnotation", "An annotation is unknown, or its value breaks a rule."
    ROLE_NOT_ALLOWED = "RoleNotAllowed", "The role asked for is not one of the configured ones."
    KEY_TYPE_WITH_ISSUE = "KeyTypeWithIssue", "In mode issue the Vault role decides the key type."
    NAME_NOT_ALLOWED = (
        "NameNotAllowed",
        "A name, address or URI asked for is neither the pod's own nor granted by the policy.",
    )
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed", "By the policy no pod of this namespace gets a certificate."
    POLICY_FORBIDS = "PolicyForbids", "The policy does not allow this mode, key type, lifetime or rotation strategy."
    NO_NAME = "NoName", "No Service selects the pod, and it cannot have a name of its own."
    NO_TRUST_DOMAIN = "NoTrustDomain", "A SPIFFE ID was asked for, and no trust domain is configured."
    POD_IP_WITH_MOUNT = "PodIPWithMount", "A pod that mounts its Secret gets its IP only after the Secret is mounted."
    POD_IP_OF_NODE = "PodIPOfNode", "A pod in the node's network has the node's IP, which is not its own."
    SECRET_NAME_TAKEN = "SecretNameTaken", "A Secret of that name belongs to somebody else; it is left untouched."

    # A Warning beside a certificate that was made all the same.
    NO_DELIVERY = "NoDelivery", "Neither a certificate-fetcher nor a volume brings the certificate into the pod."
    MOUNT_TOO_SLOW = (
        "MountTooSlow",
        "The kubelet may bring a mounted Secret's new files after the old certificate's end.",
    )
    SHARED_SERVICE_ACCOUNT = (
        "SharedServiceAccount",
        "Pods that share a ServiceAccount can read each other's certificates.",
    )
    ROLE_SHORTENS_TTL = "RoleShortensTTL", "The Vault role's max_ttl is less than the lifetime that was asked for."
    ROLE_NOT_FOR_SERVERS = "RoleNotForServers", "The Vault role's certificates are not for TLS servers."
    RENEWAL_LOOP = "RenewalLoop", "A certificate that has just been made is wanting again; the next one waits."
