"""Metrics, log lines and spans, and the board that shows them."""
