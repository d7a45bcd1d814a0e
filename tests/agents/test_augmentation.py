"""Images that are moved at random before an agent learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_ppo
import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples, ReplayBufferSamples
from torch import Tensor
from torch.nn import functional as F

from agents import PPO
from agents.augmentation import RandomShift, shifted

IMAGES = spaces.Box(0, 255, (3, 8, 6), np.uint8)
CPU = torch.device("cpu")


def images(n: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, *IMAGES.shape), generator=generator, dtype=torch.uint8)


def test_pixels_come_from_the_offset_and_edges_are_repeated() -> None:
    image = torch.tensor([[[[1, 2, 3], [4, 5, 6]]]])
    moved = shifted(image.expand(3, 1, 2, 3), torch.tensor([[0, 0], [1, -1], [-1, 2]]))
    assert moved.tolist() == [[[[1, 2, 3], [4, 5, 6]]], [[[4, 4, 5], [4, 4, 5]]], [[[3, 3, 3], [3, 3, 3]]]]


def test_it_is_padding_and_cropping() -> None:
    batch = images(25)
    offsets = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3))
    padded = F.pad(batch.float(), (2, 2, 2, 2), mode="replicate")
    for image, moved, (down, right) in zip(padded, shifted(batch, offsets), offsets.tolist(), strict=True):
        assert (moved == image[:, 2 + down : 10 + down, 2 + right : 8 + right]).all()
    assert shifted(batch, offsets).dtype == torch.uint8


def test_observations_and_next_ones_are_moved_each_in_its_own_way() -> None:
    shift = RandomShift(2, IMAGES, CPU, seed=4)
    state = torch.get_rng_state()
    same, rest = images(40), torch.zeros(40, 1)
    batch = ReplayBufferSamples(same, rest, same.clone(), rest, rest)
    moved = shift(batch)
    assert type(moved) is ReplayBufferSamples
    assert moved.actions is moved.dones is rest
    assert (moved.observations != moved.next_observations).any()
    offsets = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3))
    whole = [shifted(same, offset.expand(40, 2)) for offset in offsets]
    for found in (moved.observations, moved.next_observations):
        hits = torch.stack([(found == each).flatten(1).all(1) for each in whole])
        assert hits.any(0).all()  # each image by one of the 25
        assert hits.any(1).sum() > 12  # most of them come by
    assert (torch.get_rng_state() == state).all()
    again = RandomShift(2, IMAGES, CPU, seed=4)(batch)
    assert (again.observations == moved.observations).all()


def test_of_a_dict_the_images_are_moved() -> None:
    space = spaces.Dict({"image": IMAGES, "vector": spaces.Box(-1, 1, (2,))})
    ones = torch.ones(40, 1)
    observations = {"image": images(40), "vector": torch.ones(40, 2)}
    moved = RandomShift(2, space, CPU, seed=4)(DictRolloutBufferSamples(observations, *[ones] * 5))
    assert moved.observations["vector"] is observations["vector"]
    assert (moved.observations["image"] != observations["image"]).any()
    assert (observations["image"] == images(40)).all()


@pytest.mark.parametrize(
    ("pixels", "space", "message"),
    [
        (-1, IMAGES, "random_shift is -1; give a whole number of pixels, 0 for none"),
        (2.5, IMAGES, r"random_shift is 2\.5; give a whole number"),
        (True, IMAGES, "random_shift is True; give a whole number"),
        (4, spaces.Box(-1, 1, (2,)), r"random_shift=4 moves images whose .* observations are Box\(.*; leave it out"),
        (4, spaces.Box(0, 255, (10, 10, 10), np.uint8), "random_shift=4 moves images whose channels come first, but"),
    ],
)
def test_refusals(pixels: Any, space: spaces.Space[Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        RandomShift(pixels, space, CPU, seed=0)


def test_ppo_learns_from_moved_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, model = (small_ppo.build("nature", random_shift=pixels) for pixels in (0, 3))
    assert plain.augmentation is None
    learnt: list[Tensor] = []
    losses = PPO.losses
    monkeypatch.setattr(PPO, "losses", lambda self, batch: learnt.append(batch.observations) or losses(self, batch))
    model.learn(16)
    stored = torch.as_tensor(model.rollout_buffer.observations)
    assert stored.dtype == torch.uint8  # images are kept as they are
    seen = torch.cat(learnt)
    assert (seen.dtype, seen.shape[1:]) == (torch.uint8, stored.shape[1:])
    assert not all((stored == image).flatten(1).all(1).any() for image in seen)
    model.save(tmp_path / "model.zip")
    loaded = PPO.load(tmp_path / "model.zip", env=model.env)
    assert loaded.random_shift == 3
    assert loaded.augmentation is not None


def test_nothing_is_read_from_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a value was asked for on the host")

    shift, batch = RandomShift(2, IMAGES, CPU, seed=4), images(8)
    with monkeypatch.context() as patch:
        for method in ("item", "tolist", "nonzero", "cpu", "numpy", "__bool__", "__int__", "__index__"):
            patch.setattr(Tensor, method, refuse)
        moved = shift(ReplayBufferSamples(batch, batch, batch, batch, batch))
    assert moved.observations.shape == batch.shape
