"""Tests of the whole product: the real model, real sockets, a real browser."""
