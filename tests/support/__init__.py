"""Shared test helpers: fakes for clocks, workers and outputs, small models, sounds, servers."""
