"""MTCNN on networks made by hand: what it sees, moves and keeps; files that do not fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.checkpoints.random_init import randomise
from models.echomimic import pipeline
from models.echomimic.config import CARD
from models.echomimic.mtcnn import FILES, Mtcnn, crops, distinct, distinct_inside, squared
from models.echomimic.preprocess import (
    MTCNN,
    FaceDetector,
    box_of,
    load_face_detector,
    prepare_echomimic_portrait,
)
from models.errors import PortraitError, WeightsError
from models.options import ModelOptions
from models.sd15.load import build_card_networks
from models.sd15.preprocess import detect_landmarks
from tests.support.small import CONFIGS

pytestmark = pytest.mark.unit

# Layers as the package's three files hold them: name -> shape of the weight.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "pnet.pt": {
        "conv1": (10, 3, 3, 3),
        "prelu1": (10,),
        "conv2": (16, 10, 3, 3),
        "prelu2": (16,),
        "conv3": (32, 16, 3, 3),
        "prelu3": (32,),
        "conv4_1": (2, 32, 1, 1),
        "conv4_2": (4, 32, 1, 1),
    },
    "rnet.pt": {
        "conv1": (28, 3, 3, 3),
        "prelu1": (28,),
        "conv2": (48, 28, 3, 3),
        "prelu2": (48,),
        "conv3": (64, 48, 2, 2),
        "prelu3": (64,),
        "dense4": (128, 576),
        "prelu4": (128,),
        "dense5_1": (2, 128),
        "dense5_2": (4, 128),
    },
    "onet.pt": {
        "conv1": (32, 3, 3, 3),
        "prelu1": (32,),
        "conv2": (64, 32, 3, 3),
        "prelu2": (64,),
        "conv3": (64, 64, 3, 3),
        "prelu3": (64,),
        "conv4": (128, 64, 2, 2),
        "prelu4": (128,),
        "dense5": (256, 1152),
        "prelu5": (256,),
        "dense6_1": (2, 256),
        "dense6_2": (4, 256),
        "dense6_3": (10, 256),
    },
}
SCORES = {"pnet.pt": "conv4_1", "rnet.pt": "dense5_1", "onet.pt": "dense6_1"}
MOVES = {"pnet.pt": "conv4_2", "rnet.pt": "dense5_2", "onet.pt": "dense6_2"}
FOUND = np.array([110.0, 40.0, 220.0, 190.0], np.float32)
"""A face's box in the photograph, not the one that the bundled detector gives."""
State = dict[str, Tensor]


def states(value: Callable[[tuple[int, ...]], Tensor] = torch.zeros) -> dict[str, State]:
    """Tensors of the three files."""
    made: dict[str, State] = {}
    for name, layers in SHAPES.items():
        state = made[name] = {}
        for layer, shape in layers.items():
            state[f"{layer}.weight"] = value(shape)
            if not layer.startswith("prelu"):
                state[f"{layer}.bias"] = value(shape[:1])
    return made


def written(folder: Path, made: dict[str, State]) -> Path:
    """The folder, with the three files in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in made.items():
        torch.save(state, folder / name)
    return folder


def logits(score: float) -> Tensor:
    """Biases that give a face this score everywhere."""
    return torch.tensor([0.0, math.log(score / (1 - score))])


def certain(scores: tuple[float, float, float] = (0.9, 0.9, 0.95)) -> dict[str, State]:
    """Networks that see a face wherever they look; R and O move its edges by known shares."""
    made = states()
    for (name, layer), score in zip(SCORES.items(), scores, strict=True):
        made[name][f"{layer}.bias"] = logits(score)
    made["rnet.pt"]["dense5_2.bias"] = torch.tensor([0.1, 0.0, 0.3, 0.0])
    made["onet.pt"]["dense6_2.bias"] = torch.tensor([0.0, 0.25, 0.0, -0.25])
    return made


def drawn(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_boxes(count: int, seed: int) -> Tensor:
    """FaceDetector [N, 5] that overlap a good deal, no score twice."""
    generator = np.random.default_rng(seed)
    corner, side = generator.uniform(0, 60, (count, 2)), generator.uniform(5, 50, (count, 2))
    score = generator.permutation(count)[:, None] / count
    return torch.from_numpy(np.concatenate([corner, corner + side, score], 1).astype(np.float32))


def slowly_kept(rows: Tensor, share: float, *, inside: bool) -> list[int]:
    """Box by box: kept unless it shares too much with a surer one that was kept."""
    extra = 1.0 if inside else 0.0
    kept: list[int] = []
    boxes = [[float(v) for v in row] for row in rows]
    for k in sorted(range(len(boxes)), key=lambda k: -boxes[k][4]):
        left, top, right, bottom, _ = boxes[k]
        for other in kept:
            x0, y0, x1, y1, _ = boxes[other]
            wide = min(right, x1) - max(left, x0) + extra
            high = min(bottom, y1) - max(top, y0) + extra
            common = max(wide, 0.0) * max(high, 0.0)
            mine = (right - left + extra) * (bottom - top + extra)
            theirs = (x1 - x0 + extra) * (y1 - y0 + extra)
            whole = min(mine, theirs) if inside else mine + theirs - common
            if common > share * whole:
                break
        else:
            kept.append(k)
    return kept


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_overlapping_boxes_are_dropped_as_a_slow_count_says(seed: int, share: float) -> None:
    rows = random_boxes(60, seed)
    assert distinct(rows, share).tolist() == slowly_kept(rows, share, inside=False)
    assert distinct_inside(rows, share).tolist() == slowly_kept(rows, share, inside=True)
    assert 1 < len(distinct(rows, share)) < 60


def test_of_equally_sure_boxes_the_first_stays() -> None:
    rows = torch.tensor([[0.0, 0, 10, 10, 0.9], [1.0, 0, 11, 10, 0.9], [40.0, 40, 50, 50, 0.9]])
    assert distinct(rows, 0.5).tolist() == [0, 2]
    assert distinct(rows[:0], 0.5).tolist() == []


def test_a_box_inside_another_is_dropped_only_as_a_share_of_itself() -> None:
    rows = torch.tensor([[0.0, 0, 40, 40, 0.9], [10.0, 10, 20, 20, 0.8]])
    assert distinct(rows, 0.7).tolist() == [0, 1]
    assert distinct_inside(rows, 0.7).tolist() == [0]


def test_boxes_become_squares_around_their_middles() -> None:
    rows = torch.tensor([[10.0, 20, 30, 60, 0.9], [0.0, 0, 9, 3, 0.8], [5.0, 5, 8, 8, 0.7]])
    wanted = [[0.0, 20, 40, 60, 0.9], [0.0, -3, 9, 6, 0.8], [5.0, 5, 8, 8, 0.7]]
    assert torch.allclose(squared(rows), torch.tensor(wanted))
    assert squared(rows[:0]).shape == (0, 5)


def slowly_shrunk(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """[3, h, w] -> [3, side, side]: each pixel the mean of those that it touches."""
    small = np.zeros((3, side, side), np.float32)
    spans = [
        [(k * n // side, math.ceil((k + 1) * n / side)) for k in range(side)]
        for n in picture.shape[1:]
    ]
    for i, (top, bottom) in enumerate(spans[0]):
        for j, (left, right) in enumerate(spans[1]):
            small[:, i, j] = picture[:, top:bottom, left:right].mean(axis=(1, 2))
    return small


def test_crops_end_at_the_pictures_edges() -> None:
    picture = np.random.default_rng(0).uniform(0, 255, (3, 50, 70)).astype(np.float32)
    image = torch.from_numpy(picture)[None]
    # A box whole, at fractions, beyond each corner, of one pixel; then what lies outside.
    spans = {
        (11.0, 21.0, 40.0, 45.0): (10, 20, 40, 45),
        (11.9, 21.9, 40.9, 45.9): (10, 20, 40, 45),
        (-8.5, -3.2, 20.0, 20.0): (0, 0, 20, 20),
        (60.0, 40.0, 95.0, 75.0): (59, 39, 70, 50),
        (0.4, 0.4, 1.0, 1.0): (0, 0, 1, 1),
    }
    outside = [(71.0, 1.0, 90.0, 20.0), (1.0, -30.0, 20.0, 0.5), (-9.0, 5.0, -1.0, 13.0)]
    rows = torch.tensor([[*box, 0.5] for box in [*outside[:1], *spans, *outside[1:]]])
    found, shown = crops(image, rows, 24)
    assert torch.equal(found, rows[1 : 1 + len(spans)])
    for crop, (left, top, right, bottom) in zip(shown, spans.values(), strict=True):
        wanted = slowly_shrunk(picture[:, top:bottom, left:right], 24)
        assert np.allclose(crop.numpy(), wanted, atol=1e-3)
    assert crops(image, rows[:1], 48)[1].shape == (0, 3, 48, 48)


@torch.inference_mode()
def test_p_says_of_every_place_what_it_says_of_its_cell_alone(tmp_path: Path) -> None:
    detector = Mtcnn(written(tmp_path, states(lambda shape: drawn(shape) / 3)))
    picture = drawn((1, 3, 31, 26), 1)
    scores, moves = detector.pnet(picture)
    assert scores.shape == (11, 8) and moves.shape == (11, 8, 4)
    for y in range(10):  # beyond, cells of the last row and column are cut by the edge
        for x in range(8):
            score, move = detector.pnet(picture[:, :, 2 * y : 2 * y + 12, 2 * x : 2 * x + 12])
            assert torch.allclose(scores[y, x], score[0, 0], atol=1e-5)
            assert torch.allclose(moves[y, x], move[0, 0], atol=1e-4)


def test_a_box_goes_through_three_networks_as_counted_by_hand(tmp_path: Path) -> None:
    """Of 20 x 20 pixels P sees one scale, 13 x 13, two cells by two. The first one, pixels 1 to 20,
    covers most of its neighbours and 0.49 of its union with the last, 5 to 23. R moves left edges
    by 0.1 and right ones by 0.3 of 20 and 19 pixels; the squares around these are 3, -1, 26, 22 and
    6.9, 3.1, 28.7, 24.9; O moves tops and bottoms inwards by a quarter of 24 and 22.8 pixels."""
    detector = Mtcnn(written(tmp_path, certain()))
    picture = np.zeros((20, 20, 3), np.uint8)
    found = detector.boxes(picture)
    wanted = [[3, 5, 26, 16, 0.95], [6.9, 8.8, 28.7, 19.2, 0.95]]
    assert np.allclose(found, wanted, atol=1e-4)
    largest = detector.largest(picture)
    assert largest is not None and np.array_equal(largest, found[0, :4])


def test_of_boxes_that_p_moves_onto_each_other_r_takes_the_surer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P is surer of pixels 1 to 20 than of 5 to 23, which it moves by -3 to 2 to 20. R is surer of
    what is brighter, and the picture's first row and column are dark."""
    detector = Mtcnn(written(tmp_path, certain()))
    moves = torch.zeros(2, 2, 4)
    moves[1, 1] = -3 / 18
    seen = torch.tensor([[0.9, 0.0], [0.0, 0.8]])
    monkeypatch.setattr(detector, "pnet", lambda _: (seen, moves))

    def bright(shown: Tensor) -> tuple[Tensor, Tensor]:
        return 0.8 + 0.1 * shown.mean((1, 2, 3)), shown.new_zeros(len(shown), 4)

    monkeypatch.setattr(detector, "rnet", bright)
    monkeypatch.setattr(detector, "onet", bright)
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[1:, 1:] = 255
    (face,) = detector.boxes(picture)
    assert np.allclose(face[:4], [2, 2, 20, 20], atol=1e-4)


@pytest.mark.parametrize("scores", [(0.59, 0.9, 0.9), (0.9, 0.69, 0.9), (0.9, 0.9, 0.69)])
def test_every_network_must_be_sure(scores: tuple[float, float, float], tmp_path: Path) -> None:
    detector = Mtcnn(written(tmp_path, certain(scores)))
    assert detector.boxes(np.zeros((90, 70, 3), np.uint8)).shape == (0, 5)


def test_a_face_below_eight_tenths_is_not_taken(tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    unsure = Mtcnn(written(tmp_path, certain((0.9, 0.9, 0.79))))
    assert len(unsure.boxes(picture)) and unsure.largest(picture) is None


def test_of_sure_faces_the_largest_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Mtcnn(written(tmp_path, states()))
    faces = [[0, 0, 50, 50, 0.99], [60, 0, 120, 60, 0.81], [0, 70, 90, 160, 0.8]]
    monkeypatch.setattr(detector, "boxes", lambda _: np.array(faces, np.float32))
    largest = detector.largest(np.zeros((200, 200, 3), np.uint8))
    assert largest is not None and largest.tolist() == [60, 0, 120, 60]


@pytest.mark.parametrize("shape", [(19, 19, 3), (19, 400, 3), (1, 1, 3)])
def test_a_tiny_picture_holds_no_face(shape: tuple[int, int, int], tmp_path: Path) -> None:
    detector = Mtcnn(written(tmp_path, certain()))
    found = detector.boxes(np.zeros(shape, np.uint8))
    assert found.shape == (0, 5) and found.dtype == np.float32


def test_networks_are_shown_blue_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Mtcnn(written(tmp_path, certain()))
    shown: list[Tensor] = []
    for name in ("pnet", "rnet", "onet"):
        network = getattr(detector, name)

        def watched(x: Tensor, network: nn.Module = network) -> tuple[Tensor, Tensor]:
            shown.append(x)
            found: tuple[Tensor, Tensor] = network(x)
            return found

        monkeypatch.setattr(detector, name, watched)
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[:] = (0, 64, 255)
    detector.boxes(picture)
    assert [x.shape[2:] for x in shown] == [(13, 13), (24, 24), (48, 48)]
    for x in shown:
        wanted = torch.tensor([127.5, -63.5, -127.5]) / 128
        assert torch.allclose(x, wanted[None, :, None, None], atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["rnet", "onet"])
def test_features_are_read_by_column_then_row_then_channel(name: str, tmp_path: Path) -> None:
    made = states(lambda shape: drawn(shape) / math.sqrt(math.prod(shape[1:])))
    network = getattr(Mtcnn(written(tmp_path, made)), name)
    side, pools, dense, head = {
        "rnet": (24, (3, 3, 0), "dense4", "dense5_1"),
        "onet": (48, (3, 3, 2, 0), "dense5", "dense6_1"),
    }[name]
    picture = drawn((2, 3, side, side), 1)
    state = made[f"{name}.pt"]
    features = network.features(picture, pools)
    assert features.shape[2:] == (3, 3)
    weight = state[f"{dense}.weight"]
    weight = weight.view(len(weight), 3, 3, -1)
    h = torch.einsum("ncyx,oxyc->no", features, weight) + state[f"{dense}.bias"]
    h = torch.where(h > 0, h, h * state[dense.replace("dense", "prelu") + ".weight"])
    wanted = (h @ state[f"{head}.weight"].T + state[f"{head}.bias"]).softmax(1)[:, 1]
    assert torch.allclose(network(picture)[0], wanted, atol=1e-5)


def test_a_box_that_o_moves_into_another_is_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second box, 5 to 23, becomes 8 to 17; that is a quarter of the first one, 1 to 20."""
    still = certain()
    still["rnet.pt"]["dense5_2.bias"].zero_()
    detector = Mtcnn(written(tmp_path, still))
    moves = torch.tensor([[0.0] * 4, [3 / 19, 3 / 19, -6 / 19, -6 / 19]])
    monkeypatch.setattr(detector, "onet", lambda _: (torch.tensor([0.9, 0.85]), moves))
    (face,) = detector.boxes(np.zeros((20, 20, 3), np.uint8))
    assert np.allclose(face, [1, 1, 20, 20, 0.9], atol=1e-4)


def test_random_networks_give_the_same_boxes_again(tmp_path: Path) -> None:
    made = states(lambda shape: drawn(shape) / math.sqrt(math.prod(shape[1:])))
    for name, layer in MOVES.items():
        made[name][f"{layer}.weight"] *= 0.05
    for name, layer in SCORES.items():
        made[name][f"{layer}.bias"] = logits(0.9)
    folder = written(tmp_path, made)
    picture = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    first, again = Mtcnn(folder).boxes(picture), Mtcnn(folder).boxes(picture)
    assert len(first) > 1 and np.isfinite(first).all() and np.array_equal(first, again)
    assert (first[:, 4] > 0.7).all() and (np.diff(first[:, 4]) <= 0).all()
    assert len(distinct_inside(torch.from_numpy(first), 0.7)) == len(first)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("gone", "found none"),
        ("text", "no checkpoint"),
        ("truncated", "truncated"),
        ("missing", "1 missing: conv2.bias"),
        ("extra", "1 extra: foreign"),
        ("misshapen", "1 misshapen: conv1.bias"),
    ],
)
def test_a_file_that_does_not_fit_is_named(
    name: str, damage: str, said: str, tmp_path: Path
) -> None:
    made = states()
    if damage == "missing":
        del made[name]["conv2.bias"]
    elif damage == "extra":
        made[name]["foreign"] = torch.zeros(1)
    elif damage == "misshapen":
        made[name]["conv1.bias"] = torch.zeros(7)
    path = written(tmp_path / MTCNN, made) / name
    if damage == "gone":
        path.unlink()
    elif damage == "text":
        path.write_text("not a network")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(WeightsError, match=said) as refused:
        load_face_detector(tmp_path)
    assert str(path) in str(refused.value)
    assert refused.value.code == ("missing_weights" if damage == "gone" else "bad_weights")


def test_files_of_one_another_are_refused(tmp_path: Path) -> None:
    made = states()
    made["pnet.pt"], made["rnet.pt"] = made["rnet.pt"], made["pnet.pt"]
    with pytest.raises(WeightsError, match="pnet.pt does not fit"):
        Mtcnn(written(tmp_path, made))


def test_without_mtcnn_the_bundled_detector_frames_and_says_so(
    photo: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = load_face_detector(tmp_path)
    said = capsys.readouterr().err
    assert str(tmp_path / MTCNN) in said and "pnet.pt" in said and said.count("\n") == 1
    assert np.array_equal(detector.detect(photo), box_of(detect_landmarks(photo)))
    assert load_face_detector(None).mtcnn is None
    assert capsys.readouterr().err == ""  # of random weights, and of the picture


def test_mtcnn_frames_where_its_files_lie(
    photo: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(tmp_path / MTCNN, states())
    monkeypatch.setattr(Mtcnn, "largest", lambda *_: FOUND)
    detector = load_face_detector(tmp_path)
    two = np.concatenate([photo, photo], axis=1)
    assert np.array_equal(detector.detect(two), FOUND)  # several faces are no reason to refuse
    assert capsys.readouterr().err == ""


def test_where_mtcnn_is_unsure_the_bundled_detector_decides(
    photo: NDArray[np.uint8], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    detector = FaceDetector(Mtcnn(written(tmp_path, states())))
    assert np.array_equal(detector.detect(photo), box_of(detect_landmarks(photo)))
    assert "sure of no face" in capsys.readouterr().err
    with pytest.raises(PortraitError, match="a human face"):
        detector.detect(np.full((256, 256, 3), 127, np.uint8))
    with pytest.raises(PortraitError, match="at least"):
        detector.detect(np.zeros((32, 32, 3), np.uint8))


def test_echomimic_crops_by_mtcnn(
    photo: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / MTCNN, states())
    monkeypatch.setattr(Mtcnn, "largest", lambda *_: FOUND)
    networks: dict[str, nn.Module] = build_card_networks(CARD, CONFIGS["echomimic"])
    randomise(networks, 1, dict.fromkeys(networks, torch.float32))
    spec = replace(CARD.spec, latent=(4, 8, 8))
    made = pipeline.make(spec, networks, ModelOptions("echomimic"), folder=tmp_path, small=True)
    mask = prepare_echomimic_portrait(photo, FOUND, 64).mask
    assert not torch.equal(
        mask, prepare_echomimic_portrait(photo, box_of(detect_landmarks(photo)), 64).mask
    )
    with torch.inference_mode():
        located = made.locator(made.to_denoiser(mask[None]))
    assert torch.equal(made.encode_portrait(photo).face, located)
