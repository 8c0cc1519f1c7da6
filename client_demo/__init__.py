"""Livehead's demo clients: the page a person opens and a Python client."""
