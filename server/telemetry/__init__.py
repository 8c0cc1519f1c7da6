"""What the server tells of itself: metrics, log lines and spans."""
