"""The one path: keys on a queue, reconciled by workers. Talks to clients only through the Protocols in ports.py."""
