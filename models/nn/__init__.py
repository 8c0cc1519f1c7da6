"""Attention and embeddings that several models share."""
