"""Tests of ``client_demo``: the page and the Python client."""
