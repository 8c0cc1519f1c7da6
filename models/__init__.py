"""Livehead's models: tensors in, tensors out; no sockets, clocks or environment."""
