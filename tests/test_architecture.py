"""The rules of the architecture: who may import whom, what a file may hold, what is documented."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.import_graph import (
    find_cycle,
    imports_between_units,
    module_imports,
    unit_of,
)
from tests.support.tracked import PACKAGES, ROOT, imports, modules, tracked, uses

pytestmark = pytest.mark.unit

MAX_LINES = 400
MAX_README_LINES = 130
MAX_REPOSITORY_BYTES = 80_000_000
MAX_EQUAL_NAMES = 3
# File names that a folder per model, or a package, has by rule.
COMMON_NAMES = {
    "__init__.py",
    "checkpoint.py",
    "conditioning.py",
    "config.py",
    "networks.py",
    "pipeline.py",
    "preprocess.py",
    "unet.py",
}
# Lowest first: a package imports only packages before it.
PACKAGE_ORDER = (*PACKAGES, "tests")
# Lowest first: folders, and files beside them, import only from rows before their own. What stands
# in one row does not know the rest of its row.
LAYERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "models": (
        ("errors", "generator"),
        ("audio", "options", "spec"),
        ("io", "registry", "runtime", "weights"),
        ("lightning", "nn"),
        ("checkpoints", "face", "fake", "pipeline"),
        ("sd15",),
        ("echomimic", "hallo", "memo", "mini"),
        ("dataset",),
        ("synth",),
        ("puppets",),
        ("bench", "evaluation", "training"),
        ("finetune",),
        ("commands",),
    ),
    "server": (
        ("clock", "errors", "settings"),
        ("assets", "keys", "media", "telemetry", "turn"),
        ("avatars",),
        ("session",),
        ("outputs", "webrtc", "worker"),
        ("api",),
        ("app",),
        ("key_command", "serve"),
        ("cli",),
    ),
}
DATA = {".bin", ".jpg", ".npz", ".onnx", ".ort", ".png", ".safetensors", ".tflite", ".wav"}

# What models must not know: event loops and the network.
IMPURE = ("asyncio", "http", "socket", "socketserver", "ssl", "urllib.request")
# What lies here runs for hours, on all cores, and measures; the rest of models does not.
TIMED = ("multiprocessing", "threading", "time")
LONG_RUNNING = (
    "models/bench/",
    "models/commands/",
    "models/evaluation/",
    "models/puppets/",
    "models/synth/",
    "models/training/",
)

# What of models the server may see, and which of its modules may see more.
SEEN_BY_SERVER = {
    "models.io.command",
    "models.io.console",
    "models.audio.downmix",
    "models.errors",
    "models.face.report",
    "models.fake",
    "models.generator",
    "models.io.face_box",
    "models.options",
    "models.registry",
}
SEEN_BY_ONE: dict[str, set[str]] = {
    "server/worker/preparing.py": {"models.io.image"},  # decodes what was uploaded
}
# The client reads sound files, raises the same errors and knows an AV frame's header; everything
# else crosses the wire.
SEEN_BY_CLIENT = {
    "models.audio.downmix",
    "models.errors",
    "models.io.audio",
    "models.io.command",
    "models.io.console",
    "models.io.output",
    "server.media.av_frame",
}
# The benches are commands above the model and the server.
SEEN_BY_BENCH = {
    "models.bench",
    "models.options",
    "server.media.encoders",
    "server.webrtc.aiortc_patches",
}

# Folders of one machine, and hosts that packages come from.
FOREIGN = re.compile(
    r"(?<![\w.\-/}])/(?:work|root|home/(?!livehead)|tmp/\w)"
    r"|pypi\.(?:org|python)|pythonhosted\.|registry\.npmjs|(?:deb|security)\.debian\.|download\.pytorch"
)
EMOJI = re.compile("[\u2600-\u27bf\ufe0f\U0001f000-\U0001faff]")


def text_of(path: Path) -> str | None:
    """The text of a tracked file, or None where it is not UTF-8."""
    try:
        return (ROOT / path).read_text("utf-8")
    except UnicodeDecodeError:
        return None


def documented_tree() -> dict[str, str]:
    """The documented tree: path -> its words. Folders end with a slash."""
    page = text_of(Path("docs/architecture.md")) or ""
    blocks = re.findall(r"^```\w*\n(livehead/\n.*?)^```", page, re.M | re.S)
    assert len(blocks) == 1, "docs/architecture.md needs one fenced block that begins livehead/"
    found: dict[str, str] = {}
    folders: list[str] = []
    for line in blocks[0].splitlines()[1:]:
        match = re.fullmatch(r"((?:  )+)(\S+) *(.*)", line)
        assert match, (
            f"docs/architecture.md: expected two spaces a level, a name and words, got {line!r}"
        )
        indent, name, words = match.groups()
        del folders[len(indent) // 2 - 1 :]
        path = "".join(folders) + name
        found[path] = words
        if name.endswith("/"):
            folders.append(name)
    return found


def test_documented_tree_lists_only_what_exists() -> None:
    absent = [path for path in documented_tree() if not (ROOT / path).exists()]
    assert not absent, f"docs/architecture.md lists what is not there: {absent}"


def test_documented_tree_lists_every_module_or_its_folder() -> None:
    tree = documented_tree()
    opened = {path.rpartition("/")[0] + "/" for path in tree if not path.endswith("/")}
    unlisted = [
        str(path)
        for path in modules(*PACKAGES, "tests")
        if path.name != "__init__.py"
        and str(path) not in tree
        # A folder whose files are not listed one by one stands for them.
        and not any(f"{up}/" in tree and f"{up}/" not in opened for up in path.parents)
    ]
    assert not unlisted, f"docs/architecture.md's tree misses: {unlisted}"


def test_documented_tree_says_each_job_in_a_few_words() -> None:
    wrong = {
        path: words for path, words in documented_tree().items() if not 2 <= len(words.split()) <= 9
    }
    assert not wrong, f"two to nine words for each line of docs/architecture.md's tree: {wrong}"


def test_readme_is_two_screens() -> None:
    lines = len((text_of(Path("README.md")) or "").splitlines())
    assert lines <= MAX_README_LINES, f"{lines} lines; what is for engineers belongs in docs/"


def test_pages_name_files_that_exist() -> None:
    pages = [path for path in tracked() if path.suffix == ".md"]
    absent = {
        f"{page}: {name}"
        for page in pages
        for name in re.findall(r"`([\w./-]+/[\w.-]+\.(?:md|py|yml|toml))`", text_of(page) or "")
        if not any((ROOT / up / name).exists() for up in (page.parent, "", "models"))
    }
    assert not absent, f"pages name what is not there: {sorted(absent)}"


def test_every_module_says_what_it_is_for() -> None:
    ours = modules(*PACKAGES, "tests")
    bare = [str(path) for path in ours if not ast.get_docstring(ast.parse(text_of(path) or ""))]
    assert not bare, f"open with a docstring whose first sentence states the one idea: {bare}"


def test_no_file_is_long() -> None:
    code = (
        p
        for p in tracked()
        if p.parts[0] in PACKAGES and p.suffix in {".py", ".js", ".css", ".html"}
    )
    long = {str(p): n for p in code if (n := len((text_of(p) or "").splitlines())) > MAX_LINES}
    assert not long, f"over {MAX_LINES} lines, split by idea: {long}"


def test_no_file_name_is_everywhere() -> None:
    names = Counter(path.name for path in modules(*PACKAGES))
    wrong = {
        name: count
        for name, count in names.items()
        if count > MAX_EQUAL_NAMES and name not in COMMON_NAMES
    }
    assert not wrong, f"say in the file name what the file is about: {wrong}"


def test_packages_import_only_packages_below_them() -> None:
    order = {package: k for k, package in enumerate(PACKAGE_ORDER)}
    wrong = [
        str(edge)
        for edge in module_imports(*PACKAGE_ORDER)
        if order[edge.imported.split(".")[0]] > order[edge.importer.split(".")[0]]
    ]
    assert not wrong, f"imports that run up, expected {' < '.join(PACKAGE_ORDER)}: {wrong}"


@pytest.mark.parametrize("package", LAYERS)
def test_layers_hold_every_folder_once(package: str) -> None:
    placed = Counter(name for layer in LAYERS[package] for name in layer)
    there = {
        path.parts[1].removesuffix(".py")
        for path in modules(package)
        if path.name != "__init__.py" or len(path.parts) > 2
    }
    assert set(placed) == there, (
        f"LAYERS misses {sorted(there - set(placed))}, and names {sorted(set(placed) - there)},"
        " which are not there"
    )
    assert max(placed.values()) == 1, f"placed twice: {placed.most_common(3)}"


@pytest.mark.parametrize("package", LAYERS)
def test_folders_import_only_folders_below_them(package: str) -> None:
    order = {f"{package}.{name}": k for k, row in enumerate(LAYERS[package]) for name in row}
    top = len(order)  # what has no place may be imported by nothing
    wrong = [
        str(edge)
        for edge in imports_between_units(package)
        if order.get(unit_of(edge.imported), top) >= order.get(unit_of(edge.importer), top)
    ]
    assert not wrong, "imports that run up or sideways:\n" + "\n".join(wrong)


@pytest.mark.parametrize("name", [str, unit_of], ids=["modules", "folders"])
def test_no_imports_run_in_a_circle(name: Callable[[str], str]) -> None:
    cycle = find_cycle(module_imports(*PACKAGES), name)
    assert not cycle, f"a circle of imports: {' -> '.join(cycle)}"


def test_only_commands_of_models_parse_arguments() -> None:
    wrong = [
        str(path)
        for path in modules("models")
        if uses(imports(path), "argparse") and path.parts[1] != "commands"
    ]
    assert not wrong, f"argparse belongs into models/commands: {wrong}"


def test_no_two_public_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for path in modules(*PACKAGES):
        for node in ast.parse(text_of(path) or "").body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path))
    wrong = {name: where for name, where in places.items() if len(where) > 1}
    assert not wrong, f"one name for several classes: {wrong}"


def test_only_the_console_prints() -> None:
    printing = [
        f"{path}:{node.lineno}"
        for path in modules(*PACKAGES)
        for node in ast.walk(ast.parse(text_of(path) or ""))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert not printing, f"use models.io.console on command lines, logging elsewhere: {printing}"


def test_models_know_nothing_above_them() -> None:
    for path in modules("models"):
        names = imports(path)
        wrong = [name for name in ("server", "client_demo", *IMPURE) if uses(names, name)]
        assert not wrong, f"{path} imports {wrong}; models take arrays and return arrays"


def test_models_have_no_clock_and_no_environment() -> None:
    for path in modules("models"):
        wrong = [name for name in TIMED if uses(imports(path), name)]
        assert not wrong or str(path).startswith(LONG_RUNNING), f"{path} imports {wrong}"
        assert not re.search(r"\benviron\b|\bgetenv\b", text_of(path) or ""), f"{path}: environment"


def test_server_sees_models_through_generator_alone() -> None:
    for path in modules("server"):
        names = imports(path)
        assert not uses(names, "client_demo"), f"{path} imports client_demo"
        allowed = SEEN_BY_SERVER | SEEN_BY_ONE.get(str(path), set())
        seen = {name for name in names if name.startswith("models.")}
        # `from models.errors import X` gives both models.errors and models.errors.X.
        wrong = {name for name in seen if not permitted(name, allowed)}
        assert not wrong, f"{path} imports {sorted(wrong)}; expected only {sorted(allowed)}"


def test_client_sees_the_server_over_the_wire() -> None:
    for path in modules("client_demo"):
        names = {name for name in imports(path) if name.startswith(("models.", "server."))}
        is_bench = path.parts[1].startswith("bench_")
        allowed = SEEN_BY_CLIENT | (SEEN_BY_BENCH if is_bench else set())
        wrong = {name for name in names if not permitted(name, allowed)}
        assert not wrong, f"{path} imports {sorted(wrong)}; expected only {sorted(allowed)}"


def permitted(name: str, allowed: set[str]) -> bool:
    """Whether a dotted name is in an allowed module, or a package above one.

    ``from models.io import console`` gives models.io as well.
    """
    return any(uses({name}, one) or one.startswith(name + ".") for one in allowed)


def test_no_file_names_a_machine() -> None:
    wrong = [
        f"{path}: {match.group()}"
        for path in tracked()
        if (text := text_of(path)) and (match := FOREIGN.search(text))
    ]
    assert not wrong, f"paths of one machine or hosts of registries: {wrong}"


def test_no_file_has_emojis() -> None:
    wrong = [str(path) for path in tracked() if (text := text_of(path)) and EMOJI.search(text)]
    assert not wrong, f"emojis in: {wrong}"


def test_repository_is_small_enough_to_clone() -> None:
    size = sum((ROOT / path).stat().st_size for path in tracked())
    assert size < MAX_REPOSITORY_BYTES, f"{size} bytes tracked, at most {MAX_REPOSITORY_BYTES}"


def test_every_bundled_data_file_has_its_licence() -> None:
    files = [
        path
        for path in tracked()
        if (path.parts[:2] == ("models", "weights") and path.suffix != ".py")
        or (path.parts[0] in (*PACKAGES, "tests") and path.suffix in DATA)
    ]
    notice = text_of(Path("NOTICE")) or ""
    unnamed = {f"{path.parent}/" for path in files if f"\n{path.parent}/\n" not in notice}
    assert not unnamed, f"NOTICE has no paragraph on {sorted(unnamed)}"
    bare = [str(path) for path in files if not has_licence(path)]
    assert not bare, f"put the LICENCE file in the folder, or above it inside the package: {bare}"


def has_licence(path: Path) -> bool:
    """Whether a licence lies beside a file or above it, up to but not including the package."""
    folders = [path.parents[k] for k in range(len(path.parts) - 2)]
    names = ("LICENCE", "LICENSE")
    return any(entry.name.startswith(names) for up in folders for entry in (ROOT / up).iterdir())


def test_every_test_folder_is_a_package() -> None:
    bare = {
        str(p.parent) for p in modules("tests") if not (ROOT / p.parent / "__init__.py").exists()
    }
    assert not bare, f"equal test names collide without an __init__.py in: {sorted(bare)}"
