"""`podcert bootstrap`: what Podcert needs in Vault, brought about once and kept right, in steps that can be read first.

In the flow this stands before everything else: an administrator runs it, with a token of their own; the manager never does.
`plan` says what is wanted, `steps` how each thing is read, compared and written (pure), `run` does it.
"""

from certmanager.vault.bootstrap.plan import BootstrapPlan, OptionError, from_options
from certmanager.vault.bootstrap.run import Result, Status, run
from certmanager.vault.bootstrap.steps import steps

__all__ = ["BootstrapPlan", "OptionError", "Result", "Status", "from_options", "run", "steps"]
