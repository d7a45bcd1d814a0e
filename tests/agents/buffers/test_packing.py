"""Batches as plain data: what a learner packs, it unpacks."""

from __future__ import annotations

from typing import Any

import pytest
import small_off_policy
import small_ppo
import torch

from agents.buffers.packing import KINDS
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


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            {"kind": "os.system", "fields": []},
            "the saved batch of kind 'os.system' with 0 fields is none of",
        ),
        ({"kind": "RolloutBufferSamples", "fields": [torch.ones(1)] * 7}, "with 7 fields is none"),
        ({"kind": "RolloutBufferSamples", "fields": [torch.ones(1)] * 5}, "with 5 fields is none"),
        ({"kind": "ReplayBufferSamples", "fields": ["text"] * 5}, "holds a str; give tensors and dicts of these"),
    ],
)
def test_what_is_no_batch_is_refused(saved: dict[str, Any], message: str) -> None:
    assert len(KINDS) == 4
    with pytest.raises(ValueError, match=message):
        trained("mlp").unpack(saved)
