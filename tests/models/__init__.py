"""Tests of ``models``: arrays in, arrays out, no clock and no network."""
