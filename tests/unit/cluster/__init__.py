"""Tests of the test cluster's own logic."""
