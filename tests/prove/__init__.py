"""`make prove-…`: what is promised, run for real, one line each: `ok` or `FAIL`, with the figure."""
