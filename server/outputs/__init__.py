"""Where a session's units and events go: WebSockets and WebRTC peers."""
