"""Every error that Livehead's models raise for a caller's sake, as one small tree.

    LiveheadError          base; carries a stable machine-readable ``code``
    |- PortraitError       the portrait cannot be used (no face, too small, ...)
    |- AudioError          the sound cannot be used (unreadable, empty, wrong shape)
    |- WeightsError        a weights file is missing, foreign, truncated or misshapen
    |- CacheError          a cached feature belongs to another identity, shape or step
    '- PlanError           a step plan is not a plan

A message says what was expected, what came and what to do. The server turns ``code`` into the
``code`` of a problem+json answer; it never shows a traceback to a caller.
"""

from __future__ import annotations


class LiveheadError(Exception):
    """Base of all errors that have a stable ``code`` and a message fit for a person."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class PortraitError(LiveheadError):
    """Raised when a portrait cannot become an identity.

    Codes: ``bad_image``, ``image_too_small``, ``image_too_large``, ``bad_box``, ``no_face``,
    ``face_too_small``, ``face_turned``.
    """


class AudioError(LiveheadError):
    """Raised when sound cannot be read or has the wrong shape (``bad_audio``, ``empty_audio``,
    ``audio_too_long``)."""


class WeightsError(LiveheadError):
    """Raised when weights are missing or do not fit (``missing_weights``, ``bad_weights``)."""


class CacheError(LiveheadError):
    """Raised when a cached feature is used for what it was not made for (``stale_cache``)."""


class PlanError(LiveheadError):
    """Raised when a step plan is inconsistent (``bad_plan``)."""
