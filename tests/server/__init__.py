"""Tests of ``server``: sessions, queues, pacing and the wire."""
