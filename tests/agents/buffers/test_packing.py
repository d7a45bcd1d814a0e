"""Batches as plain data: what a learner packs, it unpacks."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import small_off_policy
import small_ppo
import torch

from agents.buffers.packing import KINDS, unpacked
from crl import storage


def trained(kind: str) -> Any:
    model = small_ppo.build(kind) if kind in small_ppo.ALL else small_off_policy.ours(kind)
    return model.learn(64)


def assert_equal(left: Any, right: Any) -> None:
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    else:
        assert left is right is None or torch.equal(left, right)


@pytest.mark.parametrize("kind", ["mlp", "dict", "dqn-mlp", "sac-dict"])
def test_a_batch_outlives_a_checkpoint(kind: str, tmp_path: Any) -> None:
    model = trained(kind)
    batch = model.sample(8, torch.Generator().manual_seed(0))
    storage.write(tmp_path / "1", {"batch": model.pack(batch)})
    again = model.unpack(storage.read(tmp_path / "1")["batch"])
    assert type(again) is type(batch)
    for left, right in zip(batch, again, strict=True):
        assert_equal(left, right)
    for outputs, same in zip(model.outputs(batch).values(), model.outputs(again).values(), strict=True):
        assert torch.equal(outputs, same)


def test_what_is_unpacked_shares_no_memory_with_what_was_saved() -> None:
    model = trained("mlp")
    packed = model.pack(model.sample(8, torch.Generator()))
    model.unpack(packed).actions.fill_(7)
    assert not (packed["fields"][1] == 7).any()


class Weighted(NamedTuple):
    """A prioritised buffer's batch."""

    observations: Any
    actions: Any
    next_observations: Any
    dones: Any
    rewards: Any
    weights: Any
    discounts: Any = None


def test_of_a_batch_of_ones_own_kind_sb3s_fields_are_kept() -> None:
    model = trained("dqn-mlp")
    batch = model.sample(8, torch.Generator())
    again = model.unpack(model.pack(Weighted(*batch[:5], torch.ones(8))))
    assert type(again) is type(batch)
    assert again.discounts is None
    for left, right in zip(batch, again, strict=True):
        assert_equal(left, right)
    with pytest.raises(ValueError, match=r"^a tuple cannot be kept over a checkpoint; give batches with the fields of"):
        model.pack(tuple(batch))


ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (3, "is none of a buffer's"),
        ({}, "is none of a buffer's"),
        ({"kind": [], "fields": []}, "is none of a buffer's"),
        ({"kind": "os.system", "fields": []}, "is none of a buffer's"),
        ({"kind": "RolloutBufferSamples", "fields": 3}, "is none of a buffer's"),
        ({"kind": "RolloutBufferSamples", "fields": [ONE] * 7}, "is none of a buffer's"),
        ({"kind": "RolloutBufferSamples", "fields": [ONE] * 5}, "is none of a buffer's"),
        ({"kind": "RolloutBufferSamples", "fields": [ONE] * 5 + [None]}, "has no returns"),
        ({"kind": "ReplayBufferSamples", "fields": ["text"] * 6}, "holds a str; give tensors and dicts of these"),
    ],
)
def test_what_is_no_batch_is_refused(saved: Any, message: str) -> None:
    assert len(KINDS) == 4
    with pytest.raises(ValueError, match=f"^the saved batch {message}"):
        unpacked(saved, torch.device("cpu"))
