"""Input latents estimation: inputs for light steps that are predicted all at once.

arXiv 2509.00052, section on input latents estimation. After key step t the state z_{t-1} is exact;
the inputs of the later light steps are not known yet and are extrapolated with the key step's
noise: z^_{t-i-1} = lambda_{t-i} z^_{t-i} + tau_{t-i} e_t. With a constant e_t every factor moves
along the same clean latents x_t, so that in terms of amplitudes (and also where a = 0, as at zero
terminal SNR, where lambda is infinite)

    z^_j = a_j x_t + s_j e_t

Estimates feed the network only. The real trajectory is integrated afterwards, step by step, with
the predicted noises: the scheduler's state never contains an estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from models.lightning.schedule import ddim


def estimate_inputs(
    z: Tensor, x: Tensor, e: Tensor, amplitudes: Sequence[tuple[float, float]], *, flat: bool
) -> list[Tensor]:
    """Inputs of the light steps of one group, in order; the first one is no guess.

    Args:
        z: the exact state that the key step left, [B, C, F, H, W].
        x, e: clean latents and noise that the key step predicted, like ``z``.
        amplitudes: (a, s) that the state before each light step has.
        flat: before the threshold predictions are not steady enough to extrapolate: all light
            steps take the exact state.
    """
    if flat:
        return [z] * len(amplitudes)
    return [z, *(ddim(x, e, a, s) for a, s in amplitudes[1:])]


def predict_eps(z: Tensor, v: Tensor, a: float, s: float) -> Tensor:
    """Predicted noise from the network's own input and its v-prediction: e = a v + s z."""
    return a * v + s * z


def ddim_step(z: Tensor, e: Tensor, now: tuple[float, float], after: tuple[float, float]) -> Tensor:
    """One real step with a predicted noise: z' = lambda z + tau e.

    lambda = a' / a and tau = s' - s a' / a (DDIM in its two-coefficient form).
    """
    (a, s), (a_next, s_next) = now, after
    return (a_next / a) * z + (s_next - s * a_next / a) * e
