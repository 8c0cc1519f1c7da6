"""Media without sessions: encoders, decoders, resampling, and the encoded frame."""
