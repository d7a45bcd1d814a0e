"""Images that are moved at random before an agent learns from them."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from torch import Tensor

from agents.buffers.sampling import ReplayBatch, RolloutBatch
from agents.networks.extractors import board_channels_first
from agents.plasticity.validation import check

BatchT = TypeVar("BatchT", bound=ReplayBatch | RolloutBatch)
FIELDS = ("observations", "next_observations")
"""Of a batch, what may be images."""


def shifted(images: Tensor, offsets: Tensor) -> Tensor:
    """Images moved by whole pixels; what comes in at an edge repeats the pixels there.

    Args:
        images: (batch, channels, height, width), of any type.
        offsets: whole numbers (batch, 2): the row and the column of the old image that become the first.
    """
    batch, _, height, width = images.shape
    rows, columns = (
        (torch.arange(size, device=images.device) + offsets[:, axis, None]).clamp(0, size - 1)
        for axis, size in enumerate((height, width))
    )
    each = torch.arange(batch, device=images.device)[:, None, None]
    return images[each, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


class RandomShift:
    """Moves every image of a minibatch by up to so many pixels up or down and left or right (DrQ, arXiv 2004.13649).

    That is padding by repeating the edges and cropping at random, with the same result: DrQ takes 4 pixels of 84, and
    adaptive replay ratio (arXiv 2310.07418) is published with it. An observation and its next one are moved each in
    its own way. All that is drawn comes from a generator of its own on the device.

    Args:
        pixels: the most that an image is moved by, at least 1.
        space: of the observations, as SB3 has transposed them; of a dict the images are moved. Squares with more
            channels than rows, which SB3 leaves as they are, do not count as images.
        device: of the minibatches.
        seed: of the generator.

    Raises:
        ValueError: `pixels` is out of range, or there are no images.
    """

    def __init__(self, pixels: int, space: spaces.Space[Any], device: torch.device, seed: int) -> None:
        check("random_shift", pixels, pixels >= 1 and pixels % 1 == 0, "a whole number of pixels, 0 for none")
        parts = space.spaces if isinstance(space, spaces.Dict) else {"": space}
        self._keys = [key for key, part in parts.items() if _is_image(part)]
        if not self._keys:
            raise ValueError(
                f"random_shift={pixels} moves images whose channels come first, but the observations are {space}; "
                "leave it out"
            )
        self._pixels = pixels
        self.generator = torch.Generator(device).manual_seed(seed)

    def __call__(self, batch: BatchT) -> BatchT:
        """The batch with its images moved."""
        found = {name: getattr(batch, name) for name in FIELDS if hasattr(batch, name)}
        moved: Any = {name: self._moved(observations) for name, observations in found.items()}
        augmented: BatchT = batch._replace(**moved)  # type: ignore[assignment]  # it is of the same class
        return augmented

    def _moved(self, observations: Any) -> Any:
        if isinstance(observations, dict):
            return observations | {key: self._moved(observations[key]) for key in self._keys}
        low, high, size = -self._pixels, self._pixels + 1, (len(observations), 2)
        return shifted(
            observations,
            torch.randint(low, high, size, generator=self.generator, device=observations.device),
        )


def _is_image(space: spaces.Space[Any]) -> bool:
    """Whether observations are images, and their channels come first."""
    return isinstance(space, spaces.Box) and is_image_space(space) and bool(board_channels_first(space))
