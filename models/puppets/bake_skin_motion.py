"""Bakes ``models/mini/scene/skin_motion.npz``: how far each blendshape takes each landmark.

python -m models.puppets.bake_skin_motion
"""

from __future__ import annotations

import numpy as np

from models.face.cuts import LOWER_LIP, UPPER_LIP
from models.mini.motion import MOUTH_UNITS
from models.mini.scene.skin_motion import SKIN_MOTION, UNITS
from models.puppets.template import load_template
from models.synth.blendshapes import ARKIT_BLENDSHAPES, arkit_weights


def main() -> None:
    """Write the file."""
    template = load_template()
    marks = template.marks
    seam = (marks[list(UPPER_LIP), :2] + marks[list(LOWER_LIP), :2]) / 2
    lower = marks[:, 1] > np.interp(marks[:, 0], seam[:, 0], seam[:, 1])
    lower[list(UPPER_LIP[1:-1])], lower[list(LOWER_LIP[1:-1])] = False, True
    above, below = (template.field(marks[:, :2], side) for side in (False, True))
    moves = np.where(lower[:, None, None], below, above)  # [468, 52, 3]
    rows = [
        sum(share * moves[:, ARKIT_BLENDSHAPES.index(name)] for name, share in arkit_weights(unit))
        for unit in UNITS
    ]
    assert UNITS[: len(MOUTH_UNITS)] == MOUTH_UNITS
    np.savez_compressed(
        SKIN_MOTION, marks=marks.astype(np.float32), moves=np.stack(rows).astype(np.float16)
    )


if __name__ == "__main__":
    main()
