"""The init container `certificate-fetcher`: it holds an application back until the pod's certificate is in its files.

It stands at the end of the path: the manager has stored the certificate as a Secret, and the fetcher brings it into the
pod's volume. It uses the standard library only, and imports little of that, because every pod's start waits for it.

`wait` brings Secrets (through `api`), `bundle` says whether one is the pod's own and decodes it, `publish` writes its
files out of sight, `verify` tries them, `publish` makes them visible; `progress` says in words what is waited for.
"""
