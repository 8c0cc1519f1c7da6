"""The HTTP and WebSocket surface; each module is one family of routes."""
