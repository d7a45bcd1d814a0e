"""What has been seen of the training forwards whose gradients an optimizer has not stepped on yet."""

from __future__ import annotations

from torch import Tensor

from agents.plasticity.taps import Seen, Taps, joined


class Passes:
    """The training forwards since gradients were cleared, as parts of one batch; the graph of the last one alone."""

    def __init__(self) -> None:
        self._last: Taps | None = None
        self._scale: Tensor | None = None
        self._seen: list[Seen] = []

    def begin(self, taps: Taps, scale: Tensor | None) -> None:
        """Another forward.

        Args:
            taps: that are open in it.
            scale: by which its loss will be scaled before a backward of the caller's own; None where it will not be.
        """
        self._gather()
        self._last, self._scale = taps, scale

    @property
    def unscaled(self) -> bool:
        """Whether the last forward's loss was not to be scaled."""
        return self._last is not None and self._scale is None

    def forget(self) -> None:
        """Gradients are cleared; that of the last forward may still come."""
        self._seen.clear()
        if self._last is not None:
            self._last.forget()

    def take_last(self) -> Taps:
        """The last forward's taps, for its backward; none is left.

        Raises:
            RuntimeError: there was no forward.
        """
        last = self._required()
        last.forget()
        self._last, self._seen = None, []
        return last

    def take_seen(self) -> Seen:
        """What the taps of all forwards have seen; none is left.

        Raises:
            RuntimeError: there was no forward.
        """
        self._required()
        self._gather()
        seen, self._seen = self._seen, []
        return joined(seen)

    def _required(self) -> Taps:
        if self._last is None:
            raise RuntimeError("step was called without a forward pass; compute the loss inside `with forward():`")
        return self._last

    def _gather(self) -> None:
        if self._last is not None and (seen := self._last.seen(self._scale)).taps:
            self._seen.append(seen)
        self._last = None
