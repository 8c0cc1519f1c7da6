"""The one real photograph that tests of portraits start from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.io.image import load_image

PHOTO = Path(__file__).parents[1] / "data" / "astronaut.jpg"


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """RGB uint8 [320, 320, 3], one face of about 95 pixels; read-only."""
    picture = load_image(PHOTO)
    picture.flags.writeable = False
    return picture
