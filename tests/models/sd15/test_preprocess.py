"""Portraits as the published models see them: face networks, masks, crops, odd pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from models.echomimic import preprocess as echomimic
from models.errors import PortraitError, WeightsError
from models.face.insightface import (
    ALIGNED_POINTS,
    ALIGNED_SIDE,
    DETECTOR,
    RECOGNISER,
    SIDE,
    STRIDES,
    InsightFaceEmbedder,
    align,
    decode_detections,
)
from models.hallo import preprocess as hallo
from models.sd15.preprocess import (
    NoFaceEmbedder,
    detect_landmarks,
    face_tokens_of_mask,
    load_face_embedder,
    part_around,
    report_of_picture,
)

pytestmark = pytest.mark.unit

BOX = np.array([200.0, 160.0, 360.0, 380.0])
POINTS = np.array([[240.0, 240], [320, 240], [280, 290], [250, 330], [310, 330]])


def outputs(stride: int, cell: tuple[int, int], score: float = 0.9) -> list[NDArray[np.float32]]:
    """What a detector says of one face, found in one cell of one stride."""
    found: list[list[NDArray[np.float32]]] = [[], [], []]
    for step in STRIDES:
        cells = SIDE // step
        rows = [np.zeros((2 * cells * cells, n), np.float32) for n in (1, 4, 10)]
        if step == stride:
            middle = np.array(cell) * step
            row = 2 * (cell[1] * cells + cell[0])
            rows[0][row] = score
            rows[1][row] = np.concatenate([middle - BOX[:2], BOX[2:] - middle]) / step
            rows[2][row] = ((POINTS - middle) / step).reshape(-1)
        for kept, part in zip(found, rows, strict=True):
            kept.append(part)
    return [part for kind in found for part in kind]


@pytest.mark.parametrize(("stride", "cell"), [(8, (35, 34)), (16, (17, 16)), (32, (8, 8))])
def test_a_face_is_read_at_every_stride(stride: int, cell: tuple[int, int]) -> None:
    (face,) = decode_detections(outputs(stride, cell))
    assert np.allclose(face.box, BOX, atol=1e-3) and np.allclose(face.points, POINTS, atol=1e-3)
    assert decode_detections(outputs(stride, cell, score=0.4)) == []


def test_boxes_of_the_same_face_are_one() -> None:
    both = [
        one if one.any() and k % 3 == 0 else other
        for k, (one, other) in enumerate(
            zip(outputs(8, (35, 34)), outputs(16, (17, 16), score=0.8), strict=True)
        )
    ]
    (face,) = decode_detections(both)
    assert face.score == pytest.approx(0.9)


def test_an_aligned_face_has_its_points_in_their_places() -> None:
    turned = 3 * ALIGNED_POINTS @ np.array([[0.8, -0.6], [0.6, 0.8]]) + 40
    picture = np.zeros((600, 600, 3), np.uint8)
    for k, (x, y) in enumerate(np.round(turned).astype(int)):
        picture[y - 6 : y + 7, x - 6 : x + 7] = 50 * (k + 1)
    aligned = align(picture, turned)
    assert aligned.shape == (ALIGNED_SIDE, ALIGNED_SIDE, 3)
    for k, (x, y) in enumerate(np.round(ALIGNED_POINTS).astype(int)):
        assert aligned[y, x, 0] == 50 * (k + 1)


def constant(path: Path, values: list[NDArray[np.float32]], side: int) -> None:
    """An ONNX network that gives ``values`` plus nothing of its picture."""
    kind = onnx.TensorProto.FLOAT
    given = onnx.helper.make_tensor_value_info("picture", kind, [1, 3, side, side])
    nodes, out, constants = [], [], []
    sums = onnx.helper.make_node("ReduceSum", ["picture"], ["sum"], keepdims=0)
    zero = onnx.helper.make_node("Mul", ["sum", "nothing"], ["zero"])
    constants.append(onnx.numpy_helper.from_array(np.zeros((), np.float32), "nothing"))
    for k, value in enumerate(values):
        constants.append(onnx.numpy_helper.from_array(value, f"value{k}"))
        nodes.append(onnx.helper.make_node("Add", [f"value{k}", "zero"], [f"out{k}"]))
        out.append(onnx.helper.make_tensor_value_info(f"out{k}", kind, list(value.shape)))
    graph = onnx.helper.make_graph([sums, zero, *nodes], "faces", [given], out, constants)
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    onnx.save(model, str(path))


def test_face_networks_run_from_their_files(tmp_path: Path) -> None:
    vector = np.arange(512, dtype=np.float32)[None]
    constant(tmp_path / DETECTOR, outputs(16, (17, 16)), SIDE)
    constant(tmp_path / RECOGNISER, [vector], ALIGNED_SIDE)
    networks = InsightFaceEmbedder(tmp_path)
    picture = np.zeros((1280, 960, 3), np.uint8)
    (face,) = networks.detect(picture)
    assert np.allclose(face.box, 2 * BOX, atol=1e-2)
    assert np.array_equal(networks.embed(picture), vector[0])
    constant(tmp_path / DETECTOR, outputs(16, (17, 16), score=0.1), SIDE)
    assert not InsightFaceEmbedder(tmp_path).embed(picture).any()


def test_missing_and_damaged_face_networks_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=DETECTOR):
        load_face_embedder(tmp_path, 512, small=False)
    (tmp_path / "face_analysis/models").mkdir(parents=True)
    (tmp_path / "face_analysis/models" / DETECTOR).write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="no ONNX network"):
        load_face_embedder(tmp_path, 512, small=False)


def test_weights_without_face_networks_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(load_face_embedder(None, 16, small=True), NoFaceEmbedder)
    assert "likeness" in capsys.readouterr().err


def test_a_real_photo_is_prepared_for_all(photo: NDArray[np.uint8]) -> None:
    points = detect_landmarks(photo)
    left, top, right, bottom = echomimic.box_of(points)
    prepared = hallo.prepare_hallo_portrait(photo, points, 128)
    assert prepared.pixels.shape == (3, 128, 128) and float(prepared.pixels.min()) >= -1
    assert [level.shape for level in prepared.masks] == [(3, 256), (3, 64), (3, 16), (3, 4)]
    middle = (int((top + bottom) / 2 / 320 * 16), int((left + right) / 2 / 320 * 16))
    full, face, lip = (mask.view(16, 16) for mask in prepared.masks[0])
    assert face[middle] + lip[middle] > 0.8 and full[middle] < 0.2 and full[15, 0] > 0.9
    crop = echomimic.prepare_echomimic_portrait(photo, echomimic.box_of(points), 128)
    assert crop.pixels.shape == (3, 128, 128) and 0.2 < float(crop.mask.mean()) < 0.7
    tokens = face_tokens_of_mask((crop.mask[0] * 255).byte().numpy(), (16, 16))
    assert len(set(tokens[0].tolist())) == tokens.numel()  # none stands twice
    assert float(crop.mask[0, ::8, ::8].flatten()[tokens[0]].mean()) > 0.7


@pytest.mark.parametrize(
    ("picture", "code"),
    [
        (np.full((256, 256, 3), 127, np.uint8), "no_face"),
        (np.full((8, 8, 3), 127, np.uint8), "image_too_small"),
        (np.full((64, 512, 3), 127, np.uint8), "no_face"),
    ],
)
def test_pictures_without_a_usable_face_are_refused(picture: Any, code: str) -> None:
    with pytest.raises(PortraitError) as refused:
        detect_landmarks(picture)
    assert refused.value.code == code


def test_of_several_faces_one_is_taken(photo: NDArray[np.uint8]) -> None:
    assert detect_landmarks(np.concatenate([photo, photo], axis=1)).shape == (468, 2)


def test_a_box_chooses_a_part_of_the_picture(photo: NDArray[np.uint8]) -> None:
    assert part_around(photo, None) is photo
    assert part_around(photo, (100, 100, 50, 60)).shape == (120, 100, 3)
    assert part_around(photo, (0, 0, 0.5, 0.5)).shape == (240, 240, 3)


def test_a_report_is_on_the_whole_picture_and_the_person_chosen(photo: NDArray[np.uint8]) -> None:
    both = np.concatenate([photo, photo], axis=1)
    right = report_of_picture(both, (0.5, 0, 0.5, 1), aspect=2.0)
    assert right is not None and right.face_box[0] > 320 and right.faces == 2
    assert (right.width, right.height) == (640, 320)
    assert [limit.code for limit in right.limits] == ["squeezed"], "nobody closes her lips"
    assert report_of_picture(np.full((256, 256, 3), 127, np.uint8), None) is None


def test_a_mask_at_the_pictures_edge_ends_there() -> None:
    box = np.array([5.0, 8.0, 205.0, 308.0])
    assert echomimic.mask_of(box, (600, 800))[:20, :20].all()
    assert not echomimic.mask_of(box, (600, 800), as_published=True).any()


def test_a_face_larger_than_the_picture_still_gives_a_mask() -> None:
    points = np.zeros((468, 2))
    points[:, 0], points[:, 1] = np.linspace(-20, 120, 468), np.linspace(-20, 120, 468)
    prepared = hallo.prepare_hallo_portrait(np.zeros((100, 100, 3), np.uint8), points, 64)
    assert all(torch.isfinite(level).all() for level in prepared.masks)
