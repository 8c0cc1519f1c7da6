"""EchoMimic: audio in the spatial transformers, motion modules, a mask of the face."""
