"""WebRTC: one peer connection per caller, fed with media that is already encoded."""
