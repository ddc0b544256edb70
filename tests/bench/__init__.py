"""The benchmark: `make bench`, or `python -m tests.bench`.

Ratios in one run, never bare times: a plain load generator (`load`) measures what the two servers can do on this machine,
and the manager is measured against that, minutes or seconds apart. `place` starts the parts, `phases` and `rest` measure,
`figures` does the arithmetic. What is measured and why: docs/performance.md.
"""
