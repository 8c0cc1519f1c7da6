"""Files and terminals: read sound and pictures, write video, print progress and tables."""
