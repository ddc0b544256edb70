"""kubectl with all rights on a cluster, from whichever provider it is."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod

from tests.cluster import children
from tests.cluster.paths import ClusterError


class ByKubectl(ABC):
    """A cluster that kubectl reaches with the words that start it there."""

    @abstractmethod
    def kubectl_command(self) -> list[str]:
        """Return the words that start kubectl with all rights, for programs that run it themselves."""

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True, timeout: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with all rights; it ends with this process.

        Raises:
            ClusterError: it failed and `check` is set; the message has kubectl's own words.
        """
        done = subprocess.run(
            [*self.kubectl_command(), *arguments],
            input=stdin or "",
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            preexec_fn=children.end_with_parent,
        )
        if check and done.returncode != 0:
            message = f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}"
            raise ClusterError(message)
        return done
