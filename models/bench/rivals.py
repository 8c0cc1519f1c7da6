"""Times mini's whole frame beside the networks of two other talking heads, in one process.

A frame of mini is everything from sound to H.264:

    features      speech encoder and conditioning
    sampling      all steps of the plan
    decode        the frame decoder: latents to pixels of the face
    composition   the rest of ``Pipeline.decode``: the face laid into the portrait, the head turned
    encode        pixels to H.264, by the encoder that the caller gives

Of Wav2Lip and Ultralight-Digital-Human only the network runs, as their repositories run it: eager,
normalisation not folded, channels first. Their speech features, face detection, pasting and video
are left out. Calls take turns, so that other load on the machine affects all of them equally; the
number of threads is set anew before each, so that mini with one thread has its turn like the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from models.bench import ultralight, wav2lip
from models.bench.flops import flops_of
from models.bench.model import Encode
from models.bench.target import BenchTarget
from models.bench.timing import WARM_UP, Call, time_in_turns
from models.lightning.plan import StepPlan, full_plan
from models.lightning.sampler import Sampler

PARTS = ("features", "sampling", "decode", "composition", "encode")
LIP_FLOAT32 = "wav2lip_float32_batch4"
LIP_BFLOAT16 = "wav2lip_bfloat16_batch1"
LIGHT_FLOAT32 = "ultralight_float32_batch1"
NORMALISE_BATCH = 4


class PartTimer:
    """Adds up milliseconds by part; time in a part inside another one is the inner one's alone."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """``clock`` returns seconds."""
        self._clock = clock
        self._running: list[str] = []
        self._since = 0.0
        self._spent: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What runs inside belongs to the part."""
        self._settle()
        self._running.append(name)
        try:
            yield
        finally:
            self._settle()
            self._running.pop()

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """``call``, as a part."""

        def run(*args: Any, **named: Any) -> Any:
            with self.part(name):
                return call(*args, **named)

        return run

    def take(self) -> dict[str, float]:
        """Milliseconds by part since the last call."""
        spent, self._spent = self._spent, {}
        return spent

    def _settle(self) -> None:
        now = self._clock()
        if self._running:
            name = self._running[-1]
            self._spent[name] = self._spent.get(name, 0.0) + 1000 * (now - self._since)
        self._since = now


class FramePath:
    """Chunks of mini from sound to H.264; each call makes the next one.

    Attributes:
        laps: milliseconds a frame by part, of every call.
    """

    def __init__(self, target: BenchTarget, plan: StepPlan, threads: int, encode: Encode) -> None:
        """``threads`` are PyTorch's while it runs; speech encoder and engine have the target's."""
        self.laps: list[dict[str, float]] = []
        # two pools would fight for the cores: see models/runtime/choose.py
        self._threads = 1 if target.pipeline.engine else threads
        self._encode, self._timer = encode, PartTimer()
        self._pipeline, self._speech = target.pipeline, target.speech()
        self._stream = target.pipeline.new_stream(target.identity, seed=0)
        self._sampler = Sampler(target.pipeline.spec.schedule, plan)

    def __call__(self) -> None:
        use_threads(self._threads)
        timer, pipeline, streams = self._timer, self._pipeline, [self._stream]
        with timer.part("features"):
            condition = pipeline.prepare_conditioning(self._stream, next(self._speech))
        with timer.part("sampling"):
            latents = pipeline.sample(self._sampler, streams, [condition])
        with self._timed_decoder(), timer.part("composition"):
            frames = pipeline.decode(streams, latents)[0].numpy()
        with timer.part("encode"):
            for frame in frames:
                self._encode(frame)
        self.laps.append({name: ms / len(frames) for name, ms in timer.take().items()})

    @contextmanager
    def _timed_decoder(self) -> Iterator[None]:
        """Inside ``decode`` the network is a part of its own."""
        pipeline: Any = self._pipeline
        decoder = pipeline.frame_decoder
        pipeline.frame_decoder = self._timer.timed("decode", decoder)
        try:
            yield
        finally:
            pipeline.frame_decoder = decoder

    def parts(self) -> dict[str, float]:
        """Medians of the parts, milliseconds a frame; the warm-up is left out."""
        laps = self.laps[WARM_UP:]
        return {name: median(lap[name] for lap in laps) for name in PARTS}


@dataclass(frozen=True)
class Rival:
    """Another network, to be timed.

    Attributes:
        call: one batch.
        frames: pictures of the batch.
        gflop: 10^9 operations a picture, counted as ``models/bench/flops.py`` says.
    """

    call: Call
    frames: int
    gflop: float


def make_rivals(threads: int) -> dict[str, Rival]:
    """The other networks by name, with random weights."""
    lip = (wav2lip.MEL_SHAPE, wav2lip.FACE_SHAPE)
    light = (ultralight.AUDIO_SHAPE, ultralight.FACE_SHAPE)
    make_lip, make_light = wav2lip.Wav2LipGenerator, ultralight.UltralightUNet
    float32, bfloat16 = torch.float32, torch.bfloat16
    return {
        LIP_FLOAT32: _rival(make_lip(), lip, 4, float32, threads),
        LIP_BFLOAT16: _rival(make_lip(), lip, 1, bfloat16, threads),
        LIGHT_FLOAT32: _rival(make_light(), light, 1, float32, threads),
    }


def use_threads(threads: int) -> None:
    """Give PyTorch and OpenCV so many threads."""
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _rival(
    network: nn.Module,
    shapes: Sequence[tuple[int, ...]],
    batch: int,
    dtype: torch.dtype,
    threads: int,
) -> Rival:
    inputs = [torch.rand(batch, *shape) for shape in shapes]
    normalise(network, [torch.rand(NORMALISE_BATCH, *shape) for shape in shapes])
    gflop = flops_of(lambda: network(*inputs)) / batch / 1e9
    network.to(dtype)
    inputs = [tensor.to(dtype) for tensor in inputs]

    @torch.inference_mode()
    def run() -> None:
        use_threads(threads)
        network(*inputs)

    return Rival(run, batch, gflop)


@torch.no_grad()
def normalise(network: nn.Module, inputs: Sequence[Tensor]) -> None:
    """Measure the statistics of every batch normalisation, then leave training.

    Else the maps of random weights shrink from layer to layer until they are denormal numbers,
    which processors are slow with.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    network.train()
    network(*inputs)
    network.eval()


def compare(
    target: BenchTarget,
    single: BenchTarget,
    threads: int,
    rounds: Iterable[object],
    encoder: Callable[[], Encode],
) -> dict[str, Any]:
    """Time everything in turns.

    Args:
        target: loaded with ``threads``; single: the same with one.
        rounds: one turn of every call each.
        encoder: opens an encoder of one stream.

    Returns:
        Milliseconds a frame, quartiles, mini's parts and operations, as a JSON record.
    """
    plain = full_plan(target.plan.steps)
    paths = {
        "mini": FramePath(target, target.plan, threads, encoder()),
        "mini_plain": FramePath(target, plain, threads, encoder()),
        "mini_one_thread": FramePath(single, single.plan, 1, encoder()),
    }
    rivals = make_rivals(threads)
    calls: dict[str, Call] = {**paths, **{name: rival.call for name, rival in rivals.items()}}
    chunk = target.pipeline.spec.chunk_frames
    frames = dict.fromkeys(paths, chunk) | {name: r.frames for name, r in rivals.items()}
    spent = {name: s.divided(frames[name]) for name, s in time_in_turns(calls, rounds).items()}
    return {
        "size": list(target.pipeline.size),
        "plan": str(target.plan),
        "ms_per_frame": {name: round(s.median, 3) for name, s in spent.items()},
        "quartiles_ms": {name: [round(s.low, 3), round(s.high, 3)] for name, s in spent.items()},
        "parts_ms": {
            name: {part: round(ms, 3) for part, ms in path.parts().items()}
            for name, path in paths.items()
        },
        "gflop_per_frame": {name: round(rival.gflop, 3) for name, rival in rivals.items()},
    }


@dataclass(frozen=True)
class BenchBar:
    """What a figure is held to.

    Attributes:
        what: the figure, for people.
        value, limit: where it is and where it should be.
        at_least: whether larger values are better.
    """

    what: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is on the right side of the limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def distance(self) -> float:
        """How far the value is beyond the limit, in parts of it; below zero where it is missed."""
        beyond = (self.value - self.limit) / self.limit
        return beyond if self.at_least else -beyond

    def to_json(self) -> dict[str, Any]:
        """As a JSON record."""
        return {
            "what": self.what,
            "value": round(self.value, 3),
            "limit": self.limit,
            "at_least": self.at_least,
            "met": self.met,
            "distance": round(self.distance, 3),
        }


def bars(record: Mapping[str, Any], memory_mb: float) -> list[BenchBar]:
    """What mini's speed and memory are held to, given what ``compare`` returned."""
    times, parts = record["ms_per_frame"], record["parts_ms"]
    whole, sampling = times["mini"], parts["mini"]["sampling"]
    return [
        BenchBar("frame / Wav2Lip's network, float32, batch 4", whole / times[LIP_FLOAT32], 0.7),
        BenchBar("frame / Wav2Lip's network, bfloat16, batch 1", whole / times[LIP_BFLOAT16], 1.0),
        BenchBar("sampling, plain / plan", parts["mini_plain"]["sampling"] / sampling, 2.1, True),
        BenchBar("frame, one thread / all", times["mini_one_thread"] / whole, 1.6),
        BenchBar("composition and warp, ms", parts["mini"]["composition"], 3.0),
        BenchBar("memory of mini alone, MB", memory_mb, 800.0),
    ]
