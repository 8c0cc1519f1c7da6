"""Stand-ins for what tests must not wait for: clocks, workers, outputs."""
