"""OpenGL without a screen, through EGL."""

from __future__ import annotations

from typing import Any

import moderngl


def create_headless_context() -> moderngl.Context:
    """An OpenGL context without a screen.

    Raises:
        RuntimeError: EGL or its software driver is not installed.
    """
    options: dict[str, Any] = {"standalone": True, "backend": "egl"}
    try:
        return moderngl.create_context(**options)
    except Exception as error:
        raise RuntimeError(
            "expected OpenGL 3.3 through EGL, got none; install libegl1 and libgl1-mesa-dri"
        ) from error
