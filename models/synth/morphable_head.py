"""The base head: random identities, face units and landmarks on the licence-free body mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.synth.assets import Assets
from models.synth.mesh import Floats, Ints, Target, read_obj, read_target

PEOPLES = ("african", "asian", "caucasian")
DETAILS = (
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
"""Folders of shape targets."""
DETAIL_SD = 0.17
"""Spread of the detail shapes; from about 0.28 on, faces become caricatures."""
DETAIL_LIMIT = 0.45

_POSITIVE = ("incr", "up", "forward", "out", "max", "convex", "uncompress")
_NEGATIVE = ("decr", "down", "backward", "in", "min", "concave", "compress")
_LEFT_OUT = ("asym", "age")


@dataclass(frozen=True)
class Person:
    """What decides the shape of a head.

    Attributes:
        seed: of the detail shapes.
        gender: 0 female .. 1 male; age: 0 young .. 1 old.
        peoples: weights of ``PEOPLES``, sum 1.
    """

    seed: int
    gender: float
    age: float
    peoples: tuple[float, float, float]


class BaseHead:
    """The mesh that every identity is a deformation of (decimetres, y up, z to the front)."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        self.mesh = read_obj(assets.base_mesh)
        self._target = lru_cache(maxsize=None)(read_target)
        self._details = _detail_paths(assets.targets)
        self._lash_links: dict[str, tuple[Ints, Ints, Floats]] = {}

    @property
    def points(self) -> int:
        """Number of points of the mesh."""
        return len(self.mesh.points)

    def group_faces(self, *names: str) -> NDArray[np.bool_]:
        """Which faces belong to the named groups, bool [F]."""
        return np.isin(self.mesh.groups, names)

    def group_points(self, name: str) -> Ints:
        """Indices of the points of a group."""
        index: Ints = np.unique(self.mesh.faces[self.group_faces(name)])
        return index

    def shape(self, person: Person) -> Floats:
        """Points [V, 3] of a person at rest. The same person gives the same points."""
        rng = np.random.default_rng([person.seed, 11])
        points = self.mesh.points.copy()
        for path, weight in self._macro_weights(person, rng):
            self._add(points, path, weight)
        for path, weight in self._detail_weights(rng):
            self._add(points, path, weight)
        return points

    def unit(self, name: str) -> Target:
        """The displacement of one face unit; blinks also carry the lashes along."""
        index, moved = self._target(self._assets.units / f"{name}.target")
        if not name.startswith("eye"):
            return index, moved
        side = "l" if name.endswith("Left") else "r"
        return self._with_lashes(index, moved, side)

    def _add(self, points: Floats, path: Path, weight: float) -> None:
        if abs(weight) > 1e-4 and path.is_file():
            index, moved = self._target(path)
            points[index] += np.float32(weight) * moved

    def _macro_weights(self, person: Person, rng: np.random.Generator) -> list[tuple[Path, float]]:
        folder = self._assets.targets / "macrodetails"
        muscle, weight = rng.uniform(0.35, 0.65, 2)
        out: list[tuple[Path, float]] = []
        for sex, by_sex in (("female", 1 - person.gender), ("male", person.gender)):
            for years, by_age in (("young", 1 - person.age), ("old", person.age)):
                share = by_sex * by_age
                for people, part in zip(PEOPLES, person.peoples, strict=True):
                    out.append((folder / f"{people}-{sex}-{years}.target.gz", share * part))
                for m, by_m in _three(float(muscle)):
                    for w, by_w in _three(float(weight)):
                        name = f"universal-{sex}-{years}-{m}muscle-{w}weight.target.gz"
                        out.append((folder / name, share * by_m * by_w))
                        name = f"{sex}-{years}-{m}muscle-{w}weight-idealproportions.target.gz"
                        out.append((folder / "proportions" / name, 0.8 * share * by_m * by_w))
        return out

    def _detail_weights(self, rng: np.random.Generator) -> list[tuple[Path, float]]:
        drawn: dict[str, float] = {}
        out: list[tuple[Path, float]] = []
        for path in self._details:
            key = path.name.removesuffix(".target.gz").removeprefix("r-").removeprefix("l-")
            stem = key.rsplit("-", 1)[0]
            if stem not in drawn:
                value = float(rng.standard_normal()) * DETAIL_SD
                drawn[stem] = float(np.clip(value, -DETAIL_LIMIT, DETAIL_LIMIT))
            out.append((path, _signed(key, drawn[stem])))
        return out

    def _with_lashes(self, index: Ints, moved: Floats, side: str) -> Target:
        """Add the lash points, each moved as the three nearest points of the lid."""
        lashes, near, share = self._lash_link(side)
        table = np.zeros((self.points, 3), np.float32)
        table[index] = moved
        table[lashes] = (table[near] * share[..., None]).sum(1)
        every = np.union1d(index, lashes)
        return every, table[every]

    def _lash_link(self, side: str) -> tuple[Ints, Ints, Floats]:
        if side not in self._lash_links:
            self._lash_links[side] = self._find_lash_link(side)
        return self._lash_links[side]

    def _find_lash_link(self, side: str) -> tuple[Ints, Ints, Floats]:
        name = "Left" if side == "l" else "Right"
        blink, moved = self._target(self._assets.units / f"eyeBlink{name}.target")
        points = self.mesh.points
        skin = np.intersect1d(self.group_points("body"), blink)
        eye = points[self.group_points(f"helper-{side}-eye")]
        centre = (eye.min(0) + eye.max(0)) / 2
        radius = float(np.ptp(eye, axis=0).max()) / 2
        far = np.linalg.norm(points[skin] - centre, axis=1)
        lid = skin[far < 1.22 * radius]
        lashes = np.union1d(
            self.group_points(f"helper-{side}-eyelashes-1"),
            self.group_points(f"helper-{side}-eyelashes-2"),
        )
        distance, nearest = cKDTree(points[lid]).query(points[lashes], k=3)
        share = 1.0 / np.maximum(distance, 1e-4) ** 2
        share /= share.sum(1, keepdims=True)
        return lashes, lid[nearest], share.astype(np.float32)


def _three(x: float) -> tuple[tuple[str, float], ...]:
    """Weights of the shapes min, average and max for a value in 0..1."""
    return (
        ("min", max(0.0, 1.0 - 2.0 * x)),
        ("average", 1.0 - abs(2.0 * x - 1.0)),
        ("max", max(0.0, 2.0 * x - 1.0)),
    )


def _detail_paths(targets: Path) -> list[Path]:
    paths = [path for name in DETAILS for path in sorted((targets / name).glob("*.target.gz"))]
    return [path for path in paths if not any(word in path.name for word in _LEFT_OUT)]


def _signed(key: str, value: float) -> float:
    """How far one of a pair of opposite shapes goes for a signed draw."""
    if "trans" in key or "angle" in key or key.startswith("mouth-"):
        value *= 0.6
    if key.endswith(_POSITIVE):
        weight = max(0.0, value)
    elif key.endswith(_NEGATIVE):
        weight = max(0.0, -value)
    else:
        weight = 0.35 * max(0.0, value)
    return weight * 0.6 if "eyefold" in key or "bag" in key else weight
