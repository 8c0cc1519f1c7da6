"""The options that choose and set up a model: one record, from which flags and variables follow."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Protocol

from models.errors import LiveheadError

DTYPES = ("fp32", "bf16", "fp16")
RANDOM = "random:"
"""Instead of a folder of weights, before a seed: every value is drawn."""
SIZE = 512
MIN_SIDE, MAX_SIDE = 64, 2048
"""Of a frame, pixels."""
_SIZES = (
    f"a side or WIDTHxHEIGHT, even numbers from {MIN_SIDE} to {MAX_SIDE} such as {SIZE} or 720x1280"
)


def split_list(text: str) -> tuple[str, ...]:
    """A comma separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def read_size(text: str) -> tuple[int, int]:
    """(height, width) from "N", which is a square, or "WIDTHxHEIGHT".

    Raises:
        ModelOptionError: it is neither.
    """
    sides = text.lower().split("x")
    if not (1 <= len(sides) <= 2 and all(side.strip().isdecimal() for side in sides)):
        raise ModelOptionError("size", _SIZES, text)
    return int(sides[-1]), int(sides[0])


def _option(default: Any, text: str, **flag: Any) -> Any:
    """A field and its flag: help, choices, metavar, how to cast, and ``takes`` where a model's
    card must say that it knows the option. Without ``text`` there is no flag."""
    return field(default=default, metadata={**({"help": text} if text else {}), **flag})


class ModelOptionError(LiveheadError):
    """Raised when an option makes no sense (``bad_option``).

    Attributes:
        option: field of ``ModelOptions``.
        expected: what it can be.
        got: what it is.
    """

    def __init__(self, option: str, expected: str, got: object) -> None:
        super().__init__(
            f"expected {_flag_of(option)} as {expected}, got {got!r}", code="bad_option"
        )
        self.option, self.expected, self.got = option, expected, got


class FlagGroup(Protocol):
    """Where flags are added: a parser of ``argparse``, or a group of one."""

    def add_argument(self, *flags: str, **settings: Any) -> Any:
        """Add one flag."""
        ...


@dataclass(frozen=True)
class ModelOptions:
    """Which model runs and how; the same on command lines, in the environment and in workers.

    Attributes:
        model: name of its card.
        weights: mini: a folder as ``livehead train`` exports it, "" for the bundled one; others:
            their publisher's folder, or ``random:SEED``.
        plan: a step plan such as ``10:0,4,8+dfa``; "" for the model's own.
        engine: what runs the networks, out of the card's ``engines``.
        threads: for tensor maths on the CPU; 0 for what suits the engine.
        size: (height, width) of a frame, pixels.
        dtype: that networks compute in, one of ``DTYPES``; "" for float32 on a CPU, bfloat16 on any
            other device.
        devices: where it runs; the light steps of a group are spread over all of them.
        without_reference: paths of transformers that do not read the reference, such as
            ``up_blocks.3.attentions.2``; none for those of the model's spec.
        liveliness: 0..1, size of head, gaze, brow and body movement (mini); 0 is a still face that
            blinks.
        emotion: class of the emotion that the face shows, a number of the published networks; None
            for none.
        frames: of one network call; 0 for the published number. Benches alone set it.
    """

    model: str = _option("mini", "default: mini")
    weights: str = _option(
        "",
        "default: the bundled weights of mini; other models: their publisher's folder, or"
        " random:SEED for noise",
        metavar="DIR",
    )
    plan: str = _option("", "steps such as 10:0,4,8+dfa (default: the model's own)")
    engine: str = _option(
        "auto", "eager, openvino (mini), compiled (other models), or auto (the default)"
    )
    threads: int = _option(0, "default: what suits the engine", metavar="N")
    size: tuple[int, int] = _option(
        (SIZE, SIZE),
        f"of frames, a side or WIDTHxHEIGHT such as 720x1280 (default {SIZE})",
        metavar="N",
        takes=True,
        cast=read_size,
    )
    dtype: str = _option("", "default: fp32 on a CPU, else bf16", choices=DTYPES, takes=True)
    devices: tuple[str, ...] = _option(
        ("cpu",),
        "such as cuda:0,cuda:1 (default cpu)",
        metavar="D,D",
        takes=True,
        cast=lambda text: tuple(text.split(",")),  # an empty name between commas is an error
    )
    without_reference: tuple[str, ...] = _option(
        (),
        "transformers that do not read the portrait, such as up_blocks.3.attentions.2"
        " (default: none)",
        metavar="PATH,PATH",
        takes=True,
        cast=split_list,
    )
    liveliness: float = _option(
        0.6,
        "0 to 1, how much head, eyes and body move; 0 is a still face that blinks (mini; default"
        " 0.6)",
        metavar="X",
        takes=True,
    )
    emotion: int | None = _option(
        None,
        "class of the emotion that the face shows, 0 to 8 (memo; default: none)",
        metavar="N",
        takes=True,
        cast=int,
    )
    frames: int = _option(0, "", takes=True)

    def __post_init__(self) -> None:
        """Refuse what cannot work, before gigabytes are read.

        Raises:
            ModelOptionError: an option makes no sense.
        """
        if self.threads < 0:
            raise ModelOptionError("threads", "0 or more", self.threads)
        if any(side % 2 or not MIN_SIDE <= side <= MAX_SIDE for side in self.size):
            raise ModelOptionError("size", _SIZES, self.size_text)
        if self.dtype not in ("", *DTYPES):
            raise ModelOptionError("dtype", f"one of {', '.join(DTYPES)}", self.dtype)
        if not 0.0 <= self.liveliness <= 1.0:
            raise ModelOptionError("liveliness", "0 to 1", self.liveliness)
        if not self.devices or not all(self.devices):
            expected = "names such as cuda:0,cuda:1"
            raise ModelOptionError("devices", expected, ",".join(self.devices))

    @property
    def size_text(self) -> str:
        """The size as ``--size`` takes it."""
        height, width = self.size
        return f"{width}x{height}"

    def check(self, engines: Collection[str], takes: Collection[str], square_step: int = 0) -> None:
        """Refuse what the model does not know, as its card has it.

        Raises:
            LiveheadError: with the options that must be left out (``bad_option``).
        """
        unknown = [
            _flag_of(item.name)
            for item in fields(self)
            if item.metadata.get("takes")
            and item.name not in takes
            and getattr(self, item.name) != item.default
        ]
        if unknown:
            raise LiveheadError(
                f"expected {', '.join(unknown)} with another model only, got it for"
                f" {self.model}; leave it out",
                code="bad_option",
            )
        if square_step and (self.size[0] != self.size[1] or self.size[0] % square_step):
            expected = f"a side, a multiple of {square_step}, with {self.model}"
            raise ModelOptionError("size", expected, self.size_text)
        if self.engine not in engines:
            raise LiveheadError(
                f"expected an engine out of: {', '.join(engines)} for {self.model}, got"
                f" {self.engine!r}; leave --engine out",
                code="bad_option",
            )


def flagged_options() -> list[Field[Any]]:
    """The options that command lines and the environment can name."""
    return [item for item in fields(ModelOptions) if "help" in item.metadata]


def add_model_arguments(
    group: FlagGroup, models: Collection[str], *, defaults: bool = True
) -> None:
    """Add the flag of every option, ``--model`` out of ``models``.

    Without ``defaults`` a flag that is not given is None, so that the environment may say it.
    """
    for item in flagged_options():
        choices = tuple(models) if item.name == "model" else item.metadata.get("choices")
        group.add_argument(
            _flag_of(item.name),
            dest=item.name,
            type=thread_count if item.name == "threads" and defaults else _cast(item),
            default=item.default if defaults else None,
            choices=choices,
            metavar=item.metadata.get("metavar"),
            help=item.metadata["help"],
        )


def read_options(given: Mapping[str, Any]) -> ModelOptions:
    """Options by name, text cast to each one's type; other names and None are passed over.

    Raises:
        ModelOptionError: a value cannot be read or makes no sense.
    """
    values: dict[str, Any] = {}
    for item in flagged_options():
        value = given.get(item.name)
        if isinstance(value, str):
            try:
                value = _cast(item)(value)
            except ValueError as error:
                kind = "a number" if isinstance(item.default, float) else "a whole number"
                raise ModelOptionError(item.name, kind, value) from error
        if value is not None:
            values[item.name] = value
    return ModelOptions(**values)


def thread_count(text: str) -> int:
    """``--threads`` of a command; 0, which leaves it to the engine, is for the environment alone.

    ``argparse`` names this function where the text is no number.
    """
    threads = int(text)
    if threads < 1:
        raise LiveheadError(
            f"expected at least one thread, got --threads {text}", code="bad_option"
        )
    return threads


def _cast(item: Field[Any]) -> Any:
    """What turns text into the option's type."""
    return item.metadata.get("cast", type(item.default))


def _flag_of(option: str) -> str:
    return "--" + option.replace("_", "-")
