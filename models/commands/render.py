"""``livehead render``: makes a video file from a portrait and a speech file, without a server."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.commands.generator import make_generator
from models.errors import AudioError, PortraitError
from models.evaluation.timing import TimedGenerator
from models.face.report import PortraitReport, report_of
from models.generator import AnyGenerator, frame_count, generate_all
from models.io.audio import STANDARD_INPUT, SoundFile
from models.io.console import bar, emit_json, say
from models.io.contact_sheet import (
    MouthBox,
    contact_sheet,
    mouth_box_of,
    mouth_closeup,
    save_image,
    thumbnail,
)
from models.io.face_box import FaceBox, read_face_box
from models.io.image import Picture, read_picture
from models.io.output import OutputError, check_outputs
from models.io.video import FrameWriter, GifWriter, Mp4Writer
from models.options import add_model_arguments
from models.registry import MODELS
from models.weights.bundled import avatar_picture

STRIP_PICTURES = 36
KINDS = (".mp4", ".gif")
GIF_WIDTH = 192
MIN_GIF_WIDTH = 16


@dataclass(frozen=True)
class Rendered:
    """Result of one rendering.

    Attributes:
        frames: number of frames written.
        computing: seconds inside the generator.
        sampled: frames for a contact sheet, by number.
        mouth_box: mouth position in the frames.
        report: what was found in the portrait, where the model tells.
    """

    frames: int
    computing: float
    sampled: dict[int, NDArray[np.uint8]]
    mouth_box: MouthBox
    report: PortraitReport | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--avatar", metavar="ID", help="bundled avatar (default: the first one)")
    who.add_argument(
        "--portrait", type=Path, metavar="PICTURE", help="JPEG, PNG, WebP, AVIF or HEIC"
    )
    parser.add_argument(
        "--box",
        metavar="X,Y,W,H",
        help="around the face to take of several, in pixels or shares of the picture",
    )
    parser.add_argument(
        "--audio",
        type=Path,
        required=True,
        help="speech: any sound or video file, a pipe, or - for standard input",
    )
    parser.add_argument("--out", type=Path, required=True, help="video to write: .mp4 or .gif")
    add_model_arguments(parser.add_argument_group("model"), MODELS)
    parser.add_argument("--seed", type=int, default=0, help="names the motion of head and eyes")
    parser.add_argument("--strip", type=Path, metavar="PNG", help="contact sheet to write as well")
    parser.add_argument(
        "--strip-every", type=int, metavar="K", help="frames from one of its pictures to the next"
    )
    parser.add_argument(
        "--gif-width", type=int, default=GIF_WIDTH, help="of a .gif, pixels (default %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")


def run(args: argparse.Namespace) -> int:
    """Render one file.

    Raises:
        LiveheadError: the portrait, the sound, the weights or an output cannot be used.
    """
    _check(args)
    box = None if args.box is None else read_face_box(args.box)
    with SoundFile(args.audio) as sound:
        picture = read_picture(args.portrait or avatar_picture(args.avatar))
        generator = make_generator(args)
        speech = sound.speech(generator.sample_rate)
        every = args.strip_every or -(-frame_count(generator, speech.size) // STRIP_PICTURES)
        with _writer(args, generator, sound) as writer:
            rendered = render(
                generator, picture, speech, writer, args.seed, every if args.strip else 0, box
            )
    if args.strip:
        save_image(args.strip, contact_sheet_of(rendered, generator.fps))
    _report(args, rendered, generator.fps)
    return 0


def render(
    generator: AnyGenerator,
    picture: Picture,
    speech: NDArray[np.float32],
    writer: FrameWriter,
    seed: int = 0,
    sample_every: int = 0,
    box: FaceBox | None = None,
) -> Rendered:
    """Generate a speaking portrait, frame by frame into a writer.

    Args:
        generator: makes the frames.
        picture: with a face.
        speech: float32 [N] mono at the generator's rate.
        writer: receives the frames; the last one may be partly silent.
        seed: of the procedural motion.
        sample_every: keep every such frame for a contact sheet; none if 0.
        box: around the face to take of several, in pixels of the picture's file.

    Raises:
        PortraitError: the picture cannot be used.
    """
    timed = TimedGenerator(generator)
    identity = timed.prepare(picture.pixels, picture.box(box))
    stream = timed.open(identity, seed=seed, speech=speech)
    sampled: dict[int, NDArray[np.uint8]] = {}
    written = 0
    with bar("rendering", total=frame_count(generator, speech.size), unit="frame") as progress:
        for chunk in generate_all(timed, stream, speech):
            for frame in chunk:
                writer.write(frame)
                if sample_every and written % sample_every == 0:
                    sampled[written] = frame
                written += 1
            progress.update(len(chunk))
    mouth_box = mouth_box_of(identity, generator.size)
    return Rendered(
        written, timed.watch.seconds, sampled, mouth_box, report_of(identity, picture.reduction)
    )


def contact_sheet_of(rendered: Rendered, fps: float) -> NDArray[np.uint8]:
    """Contact sheet of the sampled frames and their mouths, with times; RGB uint8 [H, W, 3]."""
    labels = [f"{number / fps:.2f} s" for number in rendered.sampled]
    rows = [
        ("whole", [thumbnail(frame) for frame in rendered.sampled.values()]),
        (
            "mouth",
            [mouth_closeup(frame, rendered.mouth_box) for frame in rendered.sampled.values()],
        ),
    ]
    return contact_sheet(rows, labels)


def _check(args: argparse.Namespace) -> None:
    """Check the options before anything is computed.

    Raises:
        LiveheadError: an option cannot be used.
    """
    if args.out.suffix.lower() not in KINDS:
        raise OutputError(
            f"expected --out to end with {' or '.join(KINDS)}, got {args.out.name!r}; rename it"
        )
    if args.strip and args.strip.suffix.lower() not in (".png", ".jpg"):
        raise OutputError(f"expected --strip to end with .png or .jpg, got {args.strip.name!r}")
    if args.gif_width < MIN_GIF_WIDTH:
        raise OutputError(f"expected --gif-width >= {MIN_GIF_WIDTH}, got {args.gif_width}")
    if args.seed < 0:
        raise OutputError(f"expected --seed >= 0, got {args.seed}")
    if args.strip_every is not None and args.strip_every < 1:
        raise OutputError(f"expected --strip-every >= 1, got {args.strip_every}")
    if args.audio != STANDARD_INPUT and not args.audio.exists():
        raise AudioError(f"expected a sound file, got no file at {args.audio}", code="bad_audio")
    if args.portrait and not args.portrait.is_file():
        raise PortraitError(f"expected a picture, got no file at {args.portrait}", code="bad_image")
    check_outputs(filter(None, (args.out, args.strip)), filter(None, (args.audio, args.portrait)))


def _writer(args: argparse.Namespace, generator: AnyGenerator, sound: SoundFile) -> FrameWriter:
    if args.out.suffix.lower() == ".gif":
        return GifWriter(args.out, generator.fps, width=args.gif_width)
    return Mp4Writer(args.out, generator.size, generator.fps, sound.pieces(), sound.rate)


def _say_report(report: PortraitReport) -> None:
    """What was found in the portrait and what limits it, for a person."""
    mouth = report.mouth.replace("_", " ")
    found = [
        f"face of {report.face_box[2]:.0f}x{report.face_box[3]:.0f} in"
        f" {report.width}x{report.height} pixels",
        f"mouth {mouth}" if report.mouth in ("closed", "parted", "open") else mouth,
        *(["glasses"] if report.glasses else []),
        *(["black and white"] if report.black_and_white else []),
        f"yaw {report.yaw:+.0f}, pitch {report.pitch:+.0f}, roll {report.roll:+.0f} degrees",
    ]
    say(f"portrait: {', '.join(found)}")
    for limit in report.limits:
        say(f"  {limit.text} {limit.hint}")


def _report(args: argparse.Namespace, rendered: Rendered, fps: float) -> None:
    if rendered.report is not None:
        _say_report(rendered.report)
    seconds = rendered.frames / fps
    ratio = rendered.computing / seconds
    say(f"{args.out}: {seconds:.2f} s of video, {ratio:.2f} s of computing per second")
    if args.json:
        emit_json(
            {
                "out": str(args.out),
                "frames": rendered.frames,
                "video_s": round(seconds, 3),
                "computing_s": round(rendered.computing, 3),
                "computing_per_second": round(ratio, 4),
                "ms_per_frame": round(1000 * rendered.computing / rendered.frames, 2),
                "report": None if rendered.report is None else rendered.report.as_record(),
            }
        )
