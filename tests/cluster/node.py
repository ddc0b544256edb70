"""The node of a local cluster: network and mounts of its sandbox, containerd, kubelet, kube-proxy and DNS.

Everything that changes while it runs is on a tmpfs inside the sandbox's mount namespace: it ends with the sandbox and
the machine's own folders, kernel settings and firewall stay as they are.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from pathlib import Path

from tests.cluster import controlplane, pki
from tests.cluster.addresses import Link
from tests.cluster.api import Api
from tests.cluster.images import PAUSE
from tests.cluster.paths import ClusterError
from tests.cluster.sandbox import Part, Sandbox

NAME = "podcert-node"
DATA = "/run/podcert"
SOCKET = f"{DATA}/containerd.sock"
DNS = "10.96.0.10"
PLUGINS = "/usr/lib/cni"
USERS = {
    "kubelet": pki.Subject(f"system:node:{NAME}", ("system:nodes",)),
    "proxy": pki.Subject("system:kube-proxy"),
    "dns": pki.Subject("podcert:dns"),
}
# The kubelet sets these when they differ, for the whole machine. It is shown the values that it wants instead.
KERNEL = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/keys/root_maxbytes": 25000000,
}
# A folder of its own in each cgroup hierarchy, version 1 or 2, becomes the root that the sandbox sees: containers of two
# clusters never mix, and what they leave has a name to be swept by. First the future process 1 joins, from outside;
# with its cgroup namespace that place is "/".
JOIN_CGROUPS = """
for each in /sys/fs/cgroup /sys/fs/cgroup/*; do
  case "$(stat -f -c %T $each)" in cgroup*) ;; *) continue ;; esac
  own=$each/NAME
  mkdir -p $own
  for file in cpuset.cpus cpuset.mems; do
    if [ -e $own/$file ] && [ -z "$(cat $own/$file)" ]; then cat $each/$file > $own/$file; fi
  done
  echo $$ > $own/cgroup.procs
done
exec "$@"
"""
# Then, inside: version 2 wants no process beside groups that have controllers, so the parts move one down.
SEE_CGROUPS = """
for each in /sys/fs/cgroup/* /sys/fs/cgroup; do
  own=$each/NAME
  [ -e $own/cgroup.procs ] || continue
  if [ -s $own/cgroup.controllers ] || [ -n "$(cat $own/cgroup.controllers 2>/dev/null)" ]; then
    mkdir -p $own/parts
    for process in $(cat $own/cgroup.procs); do echo $process > $own/parts/cgroup.procs; done
    for controller in $(cat $own/cgroup.controllers); do
      echo +$controller > $own/cgroup.subtree_control 2>/dev/null || true
    done
  fi
  mount --bind $own $each
done
"""


def enter(cgroup: str) -> list[str]:
    """Return the words before the sandbox's own command that make the process join `cgroup` in every hierarchy."""
    return ["sh", "-euc", JOIN_CGROUPS.replace("NAME", cgroup), "sh"]


def prepare(sandbox: Sandbox, link: Link, cgroup: str) -> None:
    """Make the sandbox's network and mounts, its containers' cgroups below `cgroup`.

    Raises:
        ClusterError: with the failing command's own words.
    """
    supervisor = sandbox.pid()
    # The pair is made from inside, so there is no moment when half of it would outlive the sandbox.
    pair = ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", link.interface, "netns", str(os.getpid())]
    end = time.monotonic() + 5
    while (error := _try(["nsenter", "--target", str(supervisor), "--net", "--", *pair])) is not None:
        if time.monotonic() > end:
            message = f"cannot make the interface {link.interface}: {error}"
            raise ClusterError(message)
        time.sleep(0.1)
    for command in (
        ["ip", "address", "add", f"{link.outside}/30", "dev", link.interface],
        ["ip", "link", "set", link.interface, "up"],
        sandbox.command(["sh", "-euc", _script(link, cgroup)]),
    ):
        if (error := _try(command)) is not None:
            message = f"cannot prepare the sandbox: {error}"
            raise ClusterError(message)


def _try(command: list[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return None if done.returncode == 0 else done.stderr.strip() or f"{command[0]} ended with {done.returncode}"


def _script(link: Link, cgroup: str) -> str:
    # kubelet and containerd have paths below /var/lib and /var/log that no setting changes: a throw-away layer on top.
    lines = [
        "mount -t tmpfs -o mode=0755 podcert /run",
        f"mkdir -p {DATA}/kernel",
        "for each in /var/lib /var/log; do",
        f"  mkdir -p {DATA}/layer$each {DATA}/work$each",
        f"  mount -t overlay -o lowerdir=$each,upperdir={DATA}/layer$each,workdir={DATA}/work$each podcert $each",
        "done",
        "ip link set lo up",
        f"ip address add {DNS}/32 dev lo",
        f"ip address add {link.inside}/30 dev eth0",
        "ip link set eth0 up",
        # Without a route to it a Service's address is refused before kube-proxy's rules see the packet.
        f"ip route add {controlplane.SERVICES} dev eth0 src {link.inside}",
    ]
    for path, value in KERNEL.items():
        copy = f"{DATA}/kernel/{path.replace('/', '-')}"
        lines += [f"echo {value} > {copy}", f"mount --bind {copy} /proc/sys/{path}"]
    return "\n".join([*lines, SEE_CGROUPS.replace("NAME", cgroup)])


def containerd(folder: Path) -> Part:
    """Write containerd's configuration and return the part."""
    network = {
        "cniVersion": "0.4.0",
        "name": "podcert",
        "plugins": [
            # ptp, not bridge: every packet between pods is routed, so Services work without the module br_netfilter.
            {
                "type": "ptp",
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": "10.244.0.0/24"}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": f"{DATA}/cni",
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    (folder / "conf" / "cni").mkdir(exist_ok=True)
    (folder / "conf" / "cni" / "10-podcert.conflist").write_text(json.dumps(network))
    unused = ", ".join(f'"io.containerd.snapshotter.v1.{each}"' for each in ("aufs", "btrfs", "devmapper", "zfs"))
    configuration = f"""version = 2
root = "{DATA}/containerd/root"
state = "{DATA}/containerd/state"
disabled_plugins = [{unused}]
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = "{folder}/conf/cni"
"""
    file = folder / "conf" / "containerd.toml"
    file.write_text(configuration)
    return Part("containerd", ["containerd", "--config", str(file)])


def kubelet(plan: controlplane.Plan, made: controlplane.Credentials) -> Part:
    """Write the kubelet's configuration and return the part."""
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(made.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS],
        "resolvConf": "",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        # A machine that is 90 % full is no reason to keep pods waiting.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "1s",
        "shutdownGracePeriod": "0s",
        "volumePluginDir": f"{DATA}/volume-plugins",
        "featureGates": dict.fromkeys(controlplane.POD_CERTIFICATE_GATES, True) if plan.pod_certificates else {},
    }
    file = plan.folder / "conf" / "kubelet.json"
    file.write_text(json.dumps(configuration))
    flags = {
        "config": file,
        "kubeconfig": made.kubeconfigs["kubelet"],
        "hostname-override": NAME,
        "node-ip": plan.address,
        "root-dir": f"{DATA}/kubelet",
        "cert-dir": f"{DATA}/kubelet-pki",
    }
    return Part("kubelet", [str(plan.kube), "kubelet", *(f"--{name}={value}" for name, value in flags.items())])


def proxy(plan: controlplane.Plan, made: controlplane.Credentials) -> Part:
    """Write kube-proxy's configuration and return the part."""
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "hostnameOverride": NAME,
        "clusterCIDR": controlplane.PODS,
        "clientConnection": {"kubeconfig": str(made.kubeconfigs["proxy"])},
        "iptables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        # Those are the machine's, not the sandbox's.
        "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    file = plan.folder / "conf" / "proxy.json"
    file.write_text(json.dumps(configuration))
    return Part("proxy", [str(plan.kube), "proxy", f"--config={file}"])


def dns(plan: controlplane.Plan, made: controlplane.Credentials) -> Part:
    """Write CoreDNS's configuration and return the part; it knows the cluster's names and no others."""
    file = plan.folder / "conf" / "Corefile"
    file.write_text(
        f".:53 {{\n  bind {DNS}\n  errors\n  cache 1\n"
        "  kubernetes cluster.local in-addr.arpa ip6.arpa {\n"
        f"    kubeconfig {made.kubeconfigs['dns']} podcert\n    pods verified\n    ttl 1\n  }}\n}}\n"
    )
    return Part("coredns", [str(plan.kube), "coredns", "-conf", str(file)])


def register(api: Api) -> None:
    """Create the Node (else the kubelet may race against its own registration) and the rights of DNS."""
    labels = {
        "kubernetes.io/hostname": NAME,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
    }
    api.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME, "labels": labels}})
    rbac = "rbac.authorization.k8s.io"
    read = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces", "endpoints"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
    ]
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "podcert:dns"}, "rules": rules}
    api.create(f"/apis/{rbac}/v1/clusterroles", role)
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "podcert:dns"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "podcert:dns"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "podcert:dns"}],
    }
    api.create(f"/apis/{rbac}/v1/clusterrolebindings", binding)
