"""Networks: each wires layers and offers ``full`` and ``light`` to the one sampler."""
