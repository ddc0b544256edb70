"""A real Kubernetes cluster and a real Vault-API server for the tests, the benchmark and the demo.

Users run kind; where there is no container engine and no image registry, provider `local` starts the real parts
(etcd, API server, kubelet, containerd, ...) from one Go binary and keeps them in one sandbox of namespaces.

From the bottom up: `supervisor` and `keeper` (run apart, standard library only) hold the processes and end them;
`sandbox` starts and talks to them; `controlplane` and `node` know the parts' command lines; `gobuild` and `images`
build what runs; `local` puts it together; `provider` is the shape that other providers have too; `__main__` is the
command line and `tests/conftest.py` the fixtures.
"""
