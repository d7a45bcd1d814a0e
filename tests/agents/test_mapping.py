"""Which parameters a policy takes from one whose world has other observations or actions, by hand-worked numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor

from agents.mapping import Actions, Mapped, UnlikeError, mapped
from agents.networks import MinAtarCNN
from agents.networks.policies import PlasticActorCriticPolicy, PlasticDQNPolicy

OWN = -1.0


def vector(size: int) -> spaces.Box:
    return spaces.Box(-1, 1, (size,), np.float32)


def build(kind: Any, seen: spaces.Space[Any], acts: spaces.Space[Any], **arguments: Any) -> Any:
    return kind(seen, acts, lambda _: 1e-3, **{"net_arch": [2], **arguments})


def counted(policy: Any) -> dict[str, Tensor]:
    """The state of a policy whose every tensor counts up from 0."""
    return {
        name: torch.arange(tensor.numel(), dtype=torch.float32).view(tensor.shape)
        for name, tensor in policy.state_dict().items()
    }


def begun(policy: Any, source: Any, own: Actions | None = None, theirs: Actions | None = None) -> Mapped:
    """A policy of `OWN` alone that begins with one whose tensors count up."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(OWN)
    return mapped(policy, counted(source), own, theirs)


def named(*names: str) -> Actions:
    return Actions("Discrete", names)


def test_values_are_mapped_by_position_and_actions_by_name() -> None:
    policy = build(ActorCriticPolicy, vector(3), spaces.Discrete(2))
    source = build(ActorCriticPolicy, vector(2), spaces.Discrete(3))
    found = begun(policy, source, named("fire", "left"), named("noop", "left", "right"))
    for net in ("policy_net", "value_net"):
        assert found.state[f"mlp_extractor.{net}.0.weight"].tolist() == [[0, 1, OWN], [2, 3, OWN]]
        assert found.state[f"mlp_extractor.{net}.0.bias"].tolist() == [0, 1]
    assert found.state["action_net.weight"].tolist() == [[OWN, OWN], [2, 3]]
    assert found.state["action_net.bias"].tolist() == [OWN, 1]
    assert found.state["value_net.weight"].tolist() == [[0, 1]]
    assert found.kept["action_net.weight"].tolist() == [[False, False], [True, True]]
    assert found.moved == {
        "mlp_extractor.policy_net.0.weight", "mlp_extractor.value_net.0.weight", "action_net.weight", "action_net.bias",
    }  # fmt: skip
    back = begun(source, policy, named("noop", "left", "right"), named("fire", "left"))
    assert back.state["mlp_extractor.policy_net.0.weight"].tolist() == [[0, 1], [3, 4]]  # its third value is cut
    assert back.state["action_net.weight"].tolist() == [[OWN, OWN], [2, 3], [OWN, OWN]]
    assert all(parameter.eq(OWN).all() for parameter in source.parameters())  # the policy itself stays


@pytest.mark.parametrize(
    ("own", "theirs", "rows"),
    [
        (None, None, [[0, 1], [2, 3]]),  # as many
        (named("left", "right"), None, [[0, 1], [2, 3]]),
        (named("left", "right"), named("right", "left"), [[2, 3], [0, 1]]),
        (named("left", "right"), named("right", "left", "up"), [[0, 1], [2, 3]]),  # names that are not of each action
        (None, Actions("Box"), [[OWN, OWN]] * 2),
        (None, Actions("MultiDiscrete [2]"), [[OWN, OWN]] * 2),
    ],
)
def test_as_many_actions_are_the_same_unless_they_are_known_to_be_others(
    own: Actions | None, theirs: Actions | None, rows: list[list[float]]
) -> None:
    policy, source = (build(DQNPolicy, vector(2), spaces.Discrete(2)) for _ in range(2))
    found = begun(policy, source, own, theirs)
    for network in ("q_net", "q_net_target"):
        assert found.state[f"{network}.q_net.2.weight"].tolist() == rows
        assert found.state[f"{network}.q_net.0.weight"].tolist() == [[0, 1], [2, 3]]
    assert bool(found.moved) == (rows != [[0, 1], [2, 3]])


def test_other_numbers_of_actions_without_names_are_fresh_and_targets_as_their_networks() -> None:
    policy = build(DQNPolicy, vector(1), spaces.Discrete(3))
    found = begun(policy, build(DQNPolicy, vector(2), spaces.Discrete(2)))
    for network in ("q_net", "q_net_target"):
        assert found.state[f"{network}.q_net.0.weight"].tolist() == [[0], [2]]
        assert found.state[f"{network}.q_net.2.weight"].tolist() == [[OWN, OWN]] * 3
        assert found.state[f"{network}.q_net.2.bias"].tolist() == [OWN] * 3


def test_a_q_function_that_reads_as_many_numbers_of_another_kind() -> None:
    """Two observed values and one action there, one value and two actions here."""
    policy = build(SACPolicy, vector(1), vector(2))
    source = build(SACPolicy, vector(2), vector(1))
    found = begun(policy, source, Actions("Box", ("hip", "knee")), Actions("Box", ("knee",)))
    for network in ("critic.qf0", "critic.qf1", "critic_target.qf0"):
        assert found.state[f"{network}.0.weight"].tolist() == [[0, OWN, 2], [3, OWN, 5]]
        assert found.state[f"{network}.2.weight"].tolist() == [[0, 1]]
    assert found.state["actor.latent_pi.0.weight"].tolist() == [[0], [2]]
    for head in ("mu", "log_std"):
        assert found.state[f"actor.{head}.weight"].tolist() == [[OWN, OWN], [0, 1]]
        assert found.state[f"actor.{head}.bias"].tolist() == [OWN, 0]
    assert begun(policy, source).state["critic.qf0.0.weight"].tolist() == [[0, OWN, OWN], [3, OWN, OWN]]


def test_images_are_mapped_by_channels_and_places_by_none() -> None:
    def board(side: int, channels: int, **arguments: Any) -> Any:
        seen = spaces.Box(0, 1, (side, side, channels), bool)
        extractor = {"features_extractor_class": MinAtarCNN, "features_extractor_kwargs": {"features_dim": 3}}
        return build(PlasticActorCriticPolicy, seen, spaces.Discrete(2), **extractor, **arguments)

    found = begun(board(4, 3), board(4, 2))
    kernels = found.state["features_extractor.cnn.0.weight"]  # 16 x 3 x 3 x 3, there 16 x 2 x 3 x 3
    assert kernels[1, :2].flatten().tolist() == list(range(18, 36))
    assert kernels[:, 2].eq(OWN).all()
    assert found.state["pi_features_extractor.cnn.0.weight"] is kernels  # which they share
    assert found.moved == {f"{who}features_extractor.cnn.0.weight" for who in ("", "pi_", "vf_")}
    found = begun(board(5, 2, norm="layer"), board(4, 2, norm="layer"))
    assert found.state["features_extractor.cnn.0.weight"][1, 1, 0].tolist() == [27, 28, 29]
    for name in ("cnn.1.weight", "cnn.1.bias", "linear.0.weight", "linear.0.bias"):  # the norm is over places, too
        assert found.state[f"features_extractor.{name}"].eq(OWN).all()
    assert found.state["features_extractor.linear.1.weight"].tolist() == [0, 1, 2]
    assert found.state["action_net.weight"].tolist() == [[0, 1], [2, 3]]


def test_deviations_go_with_their_actions() -> None:
    both = Actions("Box", ("hip", "knee")), Actions("Box", ("knee", "hip", "toe"))
    found = begun(*(build(ActorCriticPolicy, vector(2), vector(count)) for count in (2, 3)), *both)
    assert found.state["log_std"].tolist() == [1, 0]
    noisy = [build(ActorCriticPolicy, vector(2), vector(count), use_sde=True) for count in (2, 3)]
    assert begun(*noisy, *both).state["log_std"].tolist() == [[1, 0], [4, 3]]
    numbers, choices = (build(ActorCriticPolicy, vector(2), acts) for acts in (vector(2), spaces.Discrete(2)))
    found = begun(numbers, choices)
    assert found.state["log_std"].tolist() == [OWN] * 2
    assert found.state["action_net.weight"].tolist() == [[OWN] * 2] * 2
    assert begun(choices, numbers).state["action_net.weight"].tolist() == [[OWN] * 2] * 2


def test_what_was_frozen_by_plasticity_injection_is_mapped_as_what_learns() -> None:
    policy, source = (build(PlasticDQNPolicy, vector(2), spaces.Discrete(n), injectable=True) for n in (2, 3))
    found = begun(policy, source, named("left", "up"), named("up", "noop", "left"))
    for name in ("2.weight", "old_2", "fresh_2"):
        assert found.state[f"q_net.q_net.{name}"].tolist() == [[4, 5], [0, 1]]
        assert found.state[f"q_net_target.q_net.{name}"].tolist() == [[4, 5], [0, 1]]


def test_flattened_images_of_another_size_are_fresh() -> None:
    policy, source = (build(DQNPolicy, spaces.Box(0, 1, (side, 2), np.float32), spaces.Discrete(2)) for side in (2, 3))
    found = begun(policy, source)
    assert found.state["q_net.q_net.0.weight"].eq(OWN).all()
    assert found.state["q_net.q_net.0.bias"].eq(OWN).all()
    assert found.state["q_net.q_net.2.bias"].tolist() == [0, 1]


def test_another_architecture_is_refused_by_the_first_parameter_that_differs() -> None:
    policy = build(ActorCriticPolicy, vector(2), spaces.Discrete(2))
    for arguments, name in (
        ({"net_arch": [3]}, "mlp_extractor.policy_net.0.weight"),
        ({"net_arch": [2, 2]}, "mlp_extractor.policy_net.2.weight"),
    ):
        with pytest.raises(UnlikeError) as error:
            begun(policy, build(ActorCriticPolicy, vector(3), spaces.Discrete(3), **arguments))
        assert error.value.name == name
    forged = counted(policy) | {"action_net.bias": torch.zeros(5), "action_net.weight": torch.zeros(4, 2)}
    with pytest.raises(UnlikeError) as error:
        mapped(policy, forged)
    assert error.value.name == "action_net.bias"
    pictures = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    image = build(ActorCriticPolicy, pictures, spaces.Discrete(2), features_extractor_class=NatureCNN)
    with pytest.raises(UnlikeError, match=r"features_extractor\.cnn\.0\.weight"):
        begun(image, policy)


class OtherHead(ActorCriticPolicy):
    """Of somebody else: its layers are not known, and all the same it goes on as it is."""

    def _build(self, lr_schedule: Any) -> None:
        super()._build(lr_schedule)
        self.extra = torch.nn.Linear(2, 2)


def test_a_policy_that_is_not_understood_goes_on_where_nothing_differs() -> None:
    policy = build(OtherHead, vector(2), spaces.Discrete(2))
    assert begun(policy, policy, None, Actions("Box")).state["action_net.weight"].tolist() == [[0, 1], [2, 3]]
    with pytest.raises(UnlikeError, match=r"action_net\.weight"):
        begun(policy, build(OtherHead, vector(2), spaces.Discrete(3)))
    numbers = build(OtherHead, vector(2), vector(2))  # its deviations are all that two actions to choose from have not
    with pytest.raises(UnlikeError, match="log_std"):
        mapped(policy, numbers.state_dict())
