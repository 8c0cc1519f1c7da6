"""Recordings of training keep clear of the numbers of held-out ones."""

from __future__ import annotations

import pytest

from models.dataset.recordings import FIRST_HELD_OUT
from models.errors import LiveheadError

pytest.importorskip("moderngl", reason="photo puppets need the extra `synth`")
pytest.importorskip("scipy", reason="photo puppets need the extra `synth`")

from models.puppets.speech_pool import plan_recordings  # noqa: E402

pytestmark = pytest.mark.unit


def test_training_never_takes_a_held_out_number() -> None:
    train = plan_recordings(FIRST_HELD_OUT, "train")
    assert not {one.number for one in train} & {
        one.number for one in plan_recordings(9, "held_out")
    }
    with pytest.raises(LiveheadError, match=f"at most {FIRST_HELD_OUT} recordings"):
        plan_recordings(FIRST_HELD_OUT + 1, "train")
