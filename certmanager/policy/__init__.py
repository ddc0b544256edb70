"""The administrator's policy as a file: read strictly, kept as it last was right, read again when it changes."""
