"""Benchmarks: latency, memory and FLOPs, by part and as a whole."""
