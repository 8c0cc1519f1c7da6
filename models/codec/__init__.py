"""Latents to pixels and back."""

from models.codec.codec import Codec, CodecSpec

__all__ = ["Codec", "CodecSpec"]
