"""Where a session's frames and events go over a WebSocket."""
