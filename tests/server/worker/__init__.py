"""Tests of the worker processes and of what they say to the gateway."""
