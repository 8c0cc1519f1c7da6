"""Generation in processes of its own: the seam, the messages, the child and its keeper."""
