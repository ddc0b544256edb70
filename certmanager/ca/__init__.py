"""`podcert ca`: how far a change of the CA is, and what drives it from phase to phase. An administrator's command.

In the flow this stands beside the manager, never in it: it changes issuers in Vault and looks at what pods serve; the manager
sees the issuers and brings every certificate to what they say (docs/ca.md).
"""
