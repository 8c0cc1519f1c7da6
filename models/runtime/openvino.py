"""Runs networks on OpenVINO, an optional package whose threads tolerate busy cores.

It fuses norms, activations and additions into the products before them and keeps activations in the
format that the next product wants. On one thread of the CPU that was measured it takes as long as
PyTorch; its threads do not wait for each other by spinning, so that several of them keep their pace
where other processes take a core, and PyTorch's do not.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import LiveheadError
from models.runtime.engine import Program


class OpenVinoEngine:
    """Compiles for this machine's CPU; see ``Engine``."""

    name = "openvino"

    def __init__(self, threads: int, dtype: torch.dtype) -> None:
        """``dtype`` is what is computed in; inputs and outputs are float32 whatever it is.

        Raises:
            LiveheadError: OpenVINO is not installed (``missing_engine``).
        """
        self._openvino = _import_openvino()
        self._core = self._openvino.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if dtype == torch.bfloat16 else "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # encoders and the gateway share the cores
        }

    def compile(
        self,
        module: nn.Module,
        example: tuple[Tensor, ...],
        free: Collection[tuple[int, int]] = (),
    ) -> Program:
        """Trace, convert and compile; seconds."""
        shapes = [
            [-1 if (index, axis) in free else length for axis, length in enumerate(tensor.shape)]
            for index, tensor in enumerate(example)
        ]
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the tracer, about branches on fixed shapes
            model = self._openvino.convert_model(module, example_input=example, input=shapes)
        return _Program(self._core.compile_model(model, "CPU", self._settings))


class _Program:
    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._outputs = len(compiled.outputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        arrays = [tensor.contiguous().numpy() for tensor in inputs]
        results = self._request.infer(arrays, share_inputs=True)
        return tuple(torch.from_numpy(results[index]) for index in range(self._outputs))


def is_installed() -> bool:
    """Whether OpenVINO can be imported; does not import it."""
    return importlib.util.find_spec("openvino") is not None


def _import_openvino() -> Any:
    """OpenVINO without its companion that reports every import over the network.

    OpenVINO works without that package, so its import is blocked: Livehead opens no connection that
    its user did not ask for.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise LiveheadError(
            "expected the package openvino for --engine openvino, found none;"
            " install livehead[openvino] or choose --engine eager",
            code="missing_engine",
        ) from error
