"""Pictures in, portraits out: face detection, framing and mask."""

from models.portrait.images import load_image
from models.portrait.portrait import Portrait, prepare_portrait

__all__ = ["Portrait", "load_image", "prepare_portrait"]
