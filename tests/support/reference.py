"""Finds the reference values of the SD 1.5 models, which lie outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.tracked import ROOT

VARIABLE = "LIVEHEAD_REFERENCE"


def reference(model: str) -> Path:
    """The folder of a model's tiny weights and stored values; skips the test, loudly, if absent.

    It is looked for in the folder that the environment names, then beside the checkout.
    """
    named = os.environ.get(VARIABLE)
    top = Path(named) if named else ROOT.parent / "shared" / "reference"
    folder = top / model
    if not (folder / "tiny_config.json").is_file():
        pytest.skip(
            f"NOT TESTED AGAINST THE PUBLISHED {model.upper()}: no stored values at {folder};"
            f" set {VARIABLE} to the folder that holds {model}/"
        )
    return folder
