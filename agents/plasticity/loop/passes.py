"""What has been seen of the training forwards whose gradients an optimizer has not stepped on yet."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from agents.plasticity.taps import Parts, Seen, Taps, joined


class _Forward(NamedTuple):
    """One forward.

    Attributes:
        taps: that were open in it.
        scale: by which its loss is scaled before a backward of the caller's own; None where it is not.
    """

    taps: Taps
    scale: Tensor | None


class Passes:
    """The training forwards since gradients were cleared, as parts of one batch; without their graphs, when ended."""

    def __init__(self) -> None:
        self._forwards: list[_Forward] = []

    def begin(self, taps: Taps, scale: Tensor | None) -> None:
        """Another forward.

        Args:
            taps: that are open in it.
            scale: by which its loss will be scaled before a backward of the caller's own; None where it will not be.
        """
        self._forwards.append(_Forward(taps, scale))

    def abandon(self, taps: Taps) -> None:
        """The forward in which these were open has raised: it has no loss."""
        self._forwards = [forward for forward in self._forwards if forward.taps is not taps]

    @property
    def unscaled(self) -> bool:
        """Whether the last forward's loss was not to be scaled."""
        return bool(self._forwards) and self._forwards[-1].scale is None

    def forget(self) -> None:
        """Gradients are cleared; those of the last forward, and of others without a backward, may still come."""
        before, last = self._forwards[:-1], self._forwards[-1:]
        self._forwards = [forward for forward in before if not forward.taps.reached] + last
        for forward in self._forwards:
            forward.taps.forget()

    def take(self) -> Parts:
        """The taps of all forwards, for the one backward of them that comes now; none is left.

        Raises:
            RuntimeError: there was no forward.
        """
        self.forget()
        return Parts([forward.taps for forward in self._taken()])

    def take_seen(self) -> Seen:
        """What the taps of all forwards have seen; none is left.

        Raises:
            RuntimeError: there was no forward.
        """
        return joined([taps.seen(scale) for taps, scale in self._taken()])

    def _taken(self) -> list[_Forward]:
        if not self._forwards:
            raise RuntimeError("step was called without a forward pass; compute the loss inside `with forward():`")
        taken, self._forwards = self._forwards, []
        return taken
