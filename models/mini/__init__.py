"""``mini``: the bundled talking head, in real time on a CPU."""
