"""Networks: each wires layers and offers ``full`` and ``tail`` to the one sampler."""
