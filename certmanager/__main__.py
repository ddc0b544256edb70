"""`python -m certmanager` is `podcert`."""

from certmanager.cli import main

main()
