"""WebRTC calls that send media which is already encoded."""
