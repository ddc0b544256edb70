"""Pure decisions: no I/O, no third-party package, `now` is an argument. Everything else in the manager depends on this."""
