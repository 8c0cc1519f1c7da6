"""The ``livehead`` command: finds the module of a sub-command, and only that one."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.io import console
from models.io.command import ended_at_once, run_command


@dataclass(frozen=True)
class Command:
    """A sub-command: where it lives, what it does, and commands of its own."""

    module: str
    summary: str
    inner: dict[str, Command] = field(default_factory=dict)


COMMANDS = {
    "serve": Command("server.serve", "run the server"),
    "key": Command(
        "server.key_command",
        "make an API key",
        {"add": Command("server.key_command", "make an API key")},
    ),
    "render": Command("models.commands.render", "make a video from a portrait and speech"),
    "bench": Command(
        "client_demo.bench_model",
        "measure the model",
        {
            "model": Command("client_demo.bench_model", "measure the model"),
            "server": Command("client_demo.bench_server.command", "measure the server"),
            "cost": Command("models.commands.bench_cost", "count a model's operations"),
            "memory": Command("models.commands.bench_memory", "measure a model's memory"),
            "rivals": Command("client_demo.bench_rivals", "time mini beside other talking heads"),
            "speed": Command("models.commands.bench_speed", "time a model, plain and fast"),
        },
    ),
    "evaluate": Command("models.commands.evaluate", "judge quality"),
    "train": Command("models.commands.train", "train the codec and the denoiser"),
    "finetune": Command("models.commands.finetune", "teach the model one person from a video"),
    "data": Command(
        "models.commands.data",
        "make training data",
        {
            "photos": Command("models.commands.data_photos", "make portraits speak"),
            "synth": Command("models.commands.data", "draw and speak the talking heads"),
        },
    ),
}

HELP = ("-h", "--help")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command; the exit status (2 for a wrong call)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in HELP or given[0] not in COMMANDS:
        return _overview(given)
    name = given.pop(0)
    command = COMMANDS[name]
    if given and given[0] in command.inner:
        name, command = f"{name} {given[0]}", command.inner[given[0]]
        given.pop(0)
    return _run(name, command, given)


def _run(name: str, command: Command, given: list[str]) -> int:
    try:
        with ended_at_once():
            module = importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        if error.name is None or not command.module.startswith(error.name):
            console.warn(
                f"livehead {name} needs the package {error.name}, which is not installed;"
                " install livehead with the extra that brings it, for example livehead[synth]"
            )
        else:
            console.warn(f"livehead {name} is not part of this installation")
        return 1
    parser = argparse.ArgumentParser(prog=f"livehead {name}", description=command.summary)
    module.add_arguments(parser)
    return run_command(lambda: module.run(parser.parse_args(given)))


def _overview(given: list[str]) -> int:
    """Print the commands; the exit status, 0 when help was asked for, 2 for a wrong call."""
    console.say("usage: livehead COMMAND [options]\n")
    width = max(len(name) for name in COMMANDS)
    for name, command in COMMANDS.items():
        console.say(f"  {name.ljust(width)}  {command.summary}")
        for inner, below in command.inner.items():
            console.say(f"  {(name + ' ' + inner).ljust(width)}  {below.summary}")
    console.say("\nlivehead COMMAND --help shows a command's options")
    if given and given[0] not in HELP:
        console.warn(f"expected one of {', '.join(COMMANDS)}; got {given[0]}")
    return 0 if given and given[0] in HELP else 2


if __name__ == "__main__":
    sys.exit(main())
