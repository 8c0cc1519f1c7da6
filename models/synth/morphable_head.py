"""The morphable head: identities and ARKit blendshapes on the licence-free body mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.synth.assets import Assets
from models.synth.mesh import Floats, Ints, MorphTarget, read_morph_target, read_obj

ETHNICITIES = ("african", "asian", "caucasian")
DETAIL_FOLDERS = (
    "head",
    "nose",
    "mouth",
    "eyes",
    "ears",
    "chin",
    "cheek",
    "forehead",
    "eyebrows",
    "neck",
)
"""Folders of morph targets."""
DETAIL_SD = 0.17
"""Deviation of the detail weights; from about 0.28 on, faces become caricatures."""
DETAIL_LIMIT = 0.45

_POSITIVE = ("incr", "up", "forward", "out", "max", "convex", "uncompress")
_NEGATIVE = ("decr", "down", "backward", "in", "min", "concave", "compress")
_EXCLUDED = ("asym", "age")


@dataclass(frozen=True)
class HeadShape:
    """Parameters of a head's shape.

    Attributes:
        seed: of the detail weights.
        gender: 0 female .. 1 male; age: 0 young .. 1 old.
        ethnicities: weights of ``ETHNICITIES``, sum 1.
    """

    seed: int
    gender: float
    age: float
    ethnicities: tuple[float, float, float]


class MorphableHead:
    """The mesh that every identity deforms: V points, decimetres, y up, z to the front."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        self.mesh = read_obj(assets.base_mesh)
        self._target = lru_cache(maxsize=None)(read_morph_target)
        self._details = _detail_paths(assets.targets)
        self._lash_links: dict[str, tuple[Ints, Ints, Floats]] = {}

    @property
    def num_points(self) -> int:
        """V, the number of points of the mesh."""
        return len(self.mesh.points)

    def group_faces(self, *names: str) -> NDArray[np.bool_]:
        """Which faces belong to the named groups, bool [F]."""
        return np.isin(self.mesh.groups, names)

    def group_points(self, name: str) -> Ints:
        """Indices of the points of a group, int64 [K]."""
        index: Ints = np.unique(self.mesh.faces[self.group_faces(name)])
        return index

    def deform(self, shape: HeadShape) -> Floats:
        """Points [V, 3] in the rest pose; equal shapes give equal points."""
        rng = np.random.default_rng([shape.seed, 11])
        points = self.mesh.points.copy()
        for path, weight in self._macro_weights(shape, rng):
            self._add(points, path, weight)
        for path, weight in self._detail_weights(rng):
            self._add(points, path, weight)
        return points

    def blendshape(self, name: str) -> MorphTarget:
        """Displacement of one ARKit blendshape; those of the eyes carry the lashes along."""
        index, displacement = self._target(self._assets.blendshapes / f"{name}.target")
        if not name.startswith("eye"):
            return index, displacement
        side = "l" if name.endswith("Left") else "r"
        return self._with_lashes(index, displacement, side)

    def _add(self, points: Floats, path: Path, weight: float) -> None:
        if abs(weight) > 1e-4 and path.is_file():
            index, displacement = self._target(path)
            points[index] += np.float32(weight) * displacement

    def _macro_weights(
        self, shape: HeadShape, rng: np.random.Generator
    ) -> list[tuple[Path, float]]:
        folder = self._assets.targets / "macrodetails"
        muscle, weight = rng.uniform(0.35, 0.65, 2)
        out: list[tuple[Path, float]] = []
        for sex, by_sex in (("female", 1 - shape.gender), ("male", shape.gender)):
            for years, by_age in (("young", 1 - shape.age), ("old", shape.age)):
                share = by_sex * by_age
                for ethnicity, part in zip(ETHNICITIES, shape.ethnicities, strict=True):
                    out.append((folder / f"{ethnicity}-{sex}-{years}.target.gz", share * part))
                for m, by_m in _min_average_max(float(muscle)):
                    for w, by_w in _min_average_max(float(weight)):
                        name = f"universal-{sex}-{years}-{m}muscle-{w}weight.target.gz"
                        out.append((folder / name, share * by_m * by_w))
                        name = f"{sex}-{years}-{m}muscle-{w}weight-idealproportions.target.gz"
                        out.append((folder / "proportions" / name, 0.8 * share * by_m * by_w))
        return out

    def _detail_weights(self, rng: np.random.Generator) -> list[tuple[Path, float]]:
        values: dict[str, float] = {}
        out: list[tuple[Path, float]] = []
        for path in self._details:
            key = path.name.removesuffix(".target.gz").removeprefix("r-").removeprefix("l-")
            stem = key.rsplit("-", 1)[0]
            if stem not in values:
                value = float(rng.standard_normal()) * DETAIL_SD
                values[stem] = float(np.clip(value, -DETAIL_LIMIT, DETAIL_LIMIT))
            out.append((path, _signed(key, values[stem])))
        return out

    def _with_lashes(self, index: Ints, displacement: Floats, side: str) -> MorphTarget:
        """Add the lash points, each moved as the three nearest points of the lid."""
        lash_points, near, share = self._lash_link(side)
        dense = np.zeros((self.num_points, 3), np.float32)
        dense[index] = displacement
        dense[lash_points] = (dense[near] * share[..., None]).sum(1)
        affected = np.union1d(index, lash_points)
        return affected, dense[affected]

    def _lash_link(self, side: str) -> tuple[Ints, Ints, Floats]:
        if side not in self._lash_links:
            self._lash_links[side] = self._find_lash_link(side)
        return self._lash_links[side]

    def _find_lash_link(self, side: str) -> tuple[Ints, Ints, Floats]:
        name = "Left" if side == "l" else "Right"
        blink, _ = self._target(self._assets.blendshapes / f"eyeBlink{name}.target")
        points = self.mesh.points
        skin = np.intersect1d(self.group_points("body"), blink)
        eye = points[self.group_points(f"helper-{side}-eye")]
        centre = (eye.min(0) + eye.max(0)) / 2
        radius = float(np.ptp(eye, axis=0).max()) / 2
        from_eye = np.linalg.norm(points[skin] - centre, axis=1)
        lid = skin[from_eye < 1.22 * radius]
        lash_points = np.union1d(
            self.group_points(f"helper-{side}-eyelashes-1"),
            self.group_points(f"helper-{side}-eyelashes-2"),
        )
        distance, nearest = cKDTree(points[lid]).query(points[lash_points], k=3)
        share = 1.0 / np.maximum(distance, 1e-4) ** 2
        share /= share.sum(1, keepdims=True)
        return lash_points, lid[nearest], share.astype(np.float32)


def _min_average_max(x: float) -> tuple[tuple[str, float], ...]:
    """Weights of the targets min, average and max for a value in 0..1."""
    return (
        ("min", max(0.0, 1.0 - 2.0 * x)),
        ("average", 1.0 - abs(2.0 * x - 1.0)),
        ("max", max(0.0, 2.0 * x - 1.0)),
    )


def _detail_paths(targets: Path) -> list[Path]:
    paths = [
        path for name in DETAIL_FOLDERS for path in sorted((targets / name).glob("*.target.gz"))
    ]
    return [path for path in paths if not any(word in path.name for word in _EXCLUDED)]


def _signed(key: str, value: float) -> float:
    """Weight of one of two opposite targets for a signed value."""
    if "trans" in key or "angle" in key or key.startswith("mouth-"):
        value *= 0.6
    if key.endswith(_POSITIVE):
        weight = max(0.0, value)
    elif key.endswith(_NEGATIVE):
        weight = max(0.0, -value)
    else:
        weight = 0.35 * max(0.0, value)
    return weight * 0.6 if "eyefold" in key or "bag" in key else weight
