"""How networks are run: number format, memory layout, PyTorch or OpenVINO."""
