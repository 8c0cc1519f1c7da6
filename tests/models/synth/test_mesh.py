"""Tests the readers of MakeHuman's meshes on small made-up files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.synth.mesh import read_fitted_mesh, texture_borders

pytestmark = pytest.mark.unit

MHCLO = """# a comment
basemesh hm08
material card.mhmat
obj_file card.obj
x_scale 0 1 2.0
y_scale 0 2 4.0
verts 0
    1
    0 1 2 0.5 0.25 0.25 0.1 0.2 0.3
delete_verts
    3 - 9
"""
OBJ = """v 0 0 0
v 1 0 0
vt 0 0
vt 1 0.5
f 1/1 2/2 2/2
"""


def test_a_fitted_mesh_follows_its_body(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "card.mhclo").write_text(MHCLO)
    (folder / "card.obj").write_text(OBJ)
    fitted = read_fitted_mesh(folder, 4)
    body = np.array([[0, 0, 0], [4, 0, 0], [0, 2, 0], [9, 9, 9]], np.float32)
    expected = [body[1], 0.5 * body[0] + 0.25 * body[1] + 0.25 * body[2] + [0.2, 0.1, 0.3]]
    np.testing.assert_allclose(fitted.fit(body), expected, atol=1e-6)
    np.testing.assert_array_equal(fitted.mesh.face_texture, [[0, 1, 1, 1]])


def test_borders_are_the_edges_of_one_face() -> None:
    faces = np.array([[0, 1, 4, 3], [1, 2, 5, 4]])
    borders = {tuple(edge) for edge in texture_borders(faces).tolist()}
    assert borders == {(0, 1), (1, 2), (2, 5), (4, 5), (3, 4), (0, 3)}
