"""`podcert explain`: what a pod would get, from what, and which rule says so. Reads; changes nothing."""
