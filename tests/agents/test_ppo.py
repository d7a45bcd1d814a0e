"""`agents.PPO` against Stable-Baselines3's, tensor by tensor, and with interventions against itself."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit, TransformObservation
from small_ppo import assert_same, build, global_rng, parameters, world
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, MlpExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecNormalize

import envs
from agents import PPO
from agents.networks import MinAtarCNN
from agents.plasticity import GXD, Intervention, ReDo, ReGraMa
from agents.plasticity.diagnostics import measure

RESETS = {
    "gxd": lambda: GXD(rate=0.01, period=6, maturity=6, score_every=2),
    "gxd-each-step": lambda: GXD(rate=0.01, period=1, maturity=6, score_every=1),
    "redo": lambda: ReDo(tau=0.6, period=6),
    "regrama": lambda: ReGraMa(tau=0.9, period=6, maturity=6, cap=0.5),
}
NEVER = {"gxd": lambda: GXD(period=10**9), "redo": lambda: ReDo(period=10**9), "regrama": lambda: ReGraMa(period=10**9)}


def like(model: PPO) -> dict:
    """Arguments that make stock SB3 build the same network."""
    return {"policy_kwargs": model.policy_kwargs}


# ------------------------------------------------------------------ without interventions: SB3


def test_training_gives_sb3s_parameters(kind: str) -> None:
    ours = build(kind).learn(256)
    stock = build(kind, StockPPO, **like(ours)).learn(256)
    assert_same(parameters(ours), parameters(stock))
    untrained = parameters(build(kind))
    assert any(not torch.equal(untrained[name], tensor) for name, tensor in parameters(ours).items())
    assert ours.logger.name_to_value["train/loss"] == stock.logger.name_to_value["train/loss"]
    assert set(ours.logger.name_to_value) == set(stock.logger.name_to_value)


OPTIONS = {
    "schedules": {"learning_rate": lambda left: 1e-3 * left, "clip_range": lambda left: 0.3 * left},
    "clipped values": {"clip_range_vf": 0.1},
    "early stop": {"target_kl": 1e-5, "learning_rate": 1e-2},
    "plain advantages": {"normalize_advantage": False, "ent_coef": 0.02, "vf_coef": 0.7, "max_grad_norm": 0.1},
    "odd minibatches": {"batch_size": 24},
}


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize("option", OPTIONS)
def test_options_give_sb3s_parameters(option: str) -> None:
    ours = build("mlp", **OPTIONS[option]).learn(256)
    stock = build("mlp", StockPPO, **OPTIONS[option]).learn(256)
    assert_same(parameters(ours), parameters(stock))
    assert ours._n_updates == stock._n_updates
    steps = {int(state["step"]) for state in ours.policy.optimizer.state.values()}
    assert steps == {ours.gradient_steps}


def test_training_on_a_stream_gives_what_sb3_gives_on_the_games_themselves() -> None:
    """Our games, our vector environment and our PPO against minatar's own environments, DummyVecEnv and SB3."""
    import minatar.gym

    minatar.gym.register_envs()
    space = gymnasium.spaces.Box(0.0, 1.0, (10, 10, 10), dtype=bool)

    def game() -> gymnasium.Env:
        env = TimeLimit(gymnasium.make("MinAtar/Breakout-v0", disable_env_checker=True), 2500)
        return TransformObservation(env, lambda board: np.pad(board, ((0, 0), (0, 0), (0, 6))), space)

    settings = {"n_steps": 32, "batch_size": 32, "n_epochs": 2, "seed": 4, "device": "cpu"}
    ours = PPO("CnnPolicy", envs.make("breakout", n_envs=4), **settings).learn(512)
    stock = StockPPO("CnnPolicy", make_vec_env(game, n_envs=4), policy_kwargs=ours.policy_kwargs, **settings).learn(512)
    assert_same(parameters(ours), parameters(stock))
    assert [e["r"] for e in ours.ep_info_buffer] == [e["r"] for e in stock.ep_info_buffer]


def test_a_zip_goes_both_ways_and_training_goes_on_the_same(kind: str, tmp_path: Path) -> None:
    ours = build(kind).learn(128)
    stock = build(kind, StockPPO, **like(ours)).learn(128)
    ours.save(tmp_path / "ours")
    stock.save(tmp_path / "stock")
    trained = []
    for cls, name in ((PPO, "ours"), (PPO, "stock"), (StockPPO, "ours"), (StockPPO, "stock")):
        model = cls.load(tmp_path / name, env=world(kind), device="cpu")
        assert_same(parameters(model), parameters(ours))
        trained.append(parameters(model.learn(128)))
    for other in trained[1:]:
        assert_same(trained[0], other)


def test_normalised_observations_and_rewards_give_sb3s_parameters() -> None:
    trained = []
    for cls in (PPO, StockPPO):
        model = build("mlp", cls)
        model.set_env(VecNormalize(model.env))
        trained.append(parameters(model.learn(128)))
    assert_same(*trained)


# ------------------------------------------------------------------ with interventions


@pytest.mark.parametrize("reset", RESETS)
def test_resets_act_on_every_network(kind: str, reset: str) -> None:
    model = build(kind, interventions=[RESETS[reset]()]).learn(384)
    counts = model.units_reset()
    assert set(counts) == set(model.networks)
    if reset != "redo" or kind != "mlp-tanh-gsde":  # tanh units are seldom near zero
        assert all(count > 0 for count in counts.values()), counts
    assert all(torch.isfinite(tensor).all() for tensor in parameters(model).values())


@pytest.mark.parametrize("reset", NEVER)
def test_a_reset_that_never_fires_changes_nothing(kind: str, reset: str) -> None:
    plain = build(kind, n_envs=4).learn(256)
    watched = build(kind, n_envs=4, interventions=[NEVER[reset]()]).learn(256)
    assert_same(parameters(plain), parameters(watched))


def test_diagnostics_change_nothing() -> None:
    from stable_baselines3.common.callbacks import BaseCallback

    class Measure(BaseCallback):
        generator = torch.Generator().manual_seed(0)

        def _on_rollout_end(self) -> None:
            self.measured = measure(self.model, self.generator)

        def _on_step(self) -> bool:
            return True

    callback = Measure()
    watched = build("board").learn(256, callback=callback)
    assert_same(parameters(build("board").learn(256)), parameters(watched))
    assert callback.measured["plasticity/features/grad_norm"] > 0


@pytest.mark.parametrize("reset", RESETS)
def test_train_save_load_train_is_train_train(kind: str, reset: str, tmp_path: Path) -> None:
    model = build(kind, interventions=[RESETS[reset]()]).learn(192)
    assert sum(model.units_reset().values()) or (reset, kind) == ("redo", "mlp-tanh-gsde")
    model.save(tmp_path / "model.zip")
    restore = global_rng()
    before = model.units_reset()
    uninterrupted = parameters(model.learn(192, reset_num_timesteps=False))
    after = model.units_reset()

    # The environment goes on where it stood when the zip was written: a second run up to there.
    twin = build(kind, interventions=[RESETS[reset]()]).learn(192)
    loaded = PPO.load(tmp_path / "model.zip", env=twin.env, device="cpu", force_reset=False)
    assert loaded.units_reset() == before
    restore()
    assert_same(parameters(loaded.learn(192, reset_num_timesteps=False)), uninterrupted)
    assert loaded.units_reset() == after


def test_stock_sb3_loads_a_zip_with_interventions(tmp_path: Path) -> None:
    model = build("board", interventions=[RESETS["gxd"]()]).learn(128)
    model.save(tmp_path / "model")
    assert_same(parameters(StockPPO.load(tmp_path / "model", device="cpu")), parameters(model))


def test_a_zip_can_be_a_file_object_and_interventions_can_begin_anew(tmp_path: Path) -> None:
    model = build("mlp", interventions=[RESETS["gxd"](), RESETS["regrama"]()]).learn(192)
    path = tmp_path / "with spaces.zip"
    with path.open("wb") as file:
        model.save(file)
    with path.open("rb") as file:
        loaded = PPO.load(file, device="cpu")
    assert [i.arguments() for i in loaded.interventions] == [i.arguments() for i in model.interventions]
    for old, new in zip(model.interventions, loaded.interventions, strict=True):
        assert_same(old.state_dict(), new.state_dict())
    anew = PPO.load(path, device="cpu", interventions=[GXD(rate=0.5)])
    assert [i.arguments()["rate"] for i in anew.interventions] == [0.5]
    assert not any(t.any() for k, t in anew.interventions[0].state_dict().items() if k.startswith("utility"))
    assert PPO.load(path, device="cpu", interventions=[]).interventions == []


def test_a_reset_given_to_a_trained_agent_leaves_it_alone_at_first(tmp_path: Path) -> None:
    build("board").learn(512).save(tmp_path / "model")
    model = PPO.load(tmp_path / "model", env=world("board"), device="cpu", interventions=[GXD(period=20, maturity=20)])
    assert model.gradient_steps == 64
    assert model.interventions[0].state_dict()["born/actor.0"].tolist() == [64] * 64
    trained = parameters(model.learn(64))
    assert_same(trained, parameters(PPO.load(tmp_path / "model", env=world("board"), device="cpu").learn(64)))


def test_what_stock_sb3_saved_again_begins_its_interventions_anew(tmp_path: Path) -> None:
    build("mlp", interventions=[RESETS["gxd"]()]).learn(128).save(tmp_path / "ours")
    StockPPO.load(tmp_path / "ours", device="cpu").save(tmp_path / "again")
    with pytest.warns(UserWarning, match="holds no state of its interventions, they begin anew"):
        loaded = PPO.load(tmp_path / "again", device="cpu")
    assert [i.name for i in loaded.interventions] == ["gxd"]


def test_arguments_are_saved_as_they_are_now(tmp_path: Path) -> None:
    model = build("mlp", interventions=[RESETS["gxd"]()])
    model.interventions[0].rate = 0.25
    model.save(tmp_path / "model")
    assert PPO.load(tmp_path / "model", device="cpu").interventions[0].rate == 0.25


class Watcher(Intervention):
    """Writes down what a learner tells it."""

    name = "watcher"
    needs = frozenset({"activations", "activation_grads"})
    score_every = 4

    def __init__(self) -> None:
        self.steps, self.tapped, self.order, self.switches, self.edits, self.rates = [], [], [], [], [], []

    def penalty(self, update):
        assert not update.taps
        self.order.append("penalty")

    def after_backward(self, update):
        self.steps.append(update.step)
        self.rates.append(update.learning_rate)
        if update.taps:
            self.tapped.append(update.step)
            assert set(update.taps) == {"features.0", "features.1", "actor.0", "critic.0"}
            assert all(a.shape == g.shape == (16, *a.shape[1:]) for a, g in update.taps.values())
        self.order.append("backward")

    def after_step(self, update):
        self.order.append("step")

    def after_update(self):
        self.order.append("update")

    def on_task_switch(self, switch):
        self.order.append("switch")
        self.switches.append(switch)

    def on_surgery(self, edit):
        self.edits.append({name: int(mask.sum()) for name, mask in edit.masks.items()})


def stream_ppo(boundary: str, interventions: list) -> PPO:
    stream = envs.make(["breakout", "freeway"], n_envs=2, steps_per_task=64, cycles=2, boundary=boundary)
    return PPO("CnnPolicy", stream, n_steps=32, batch_size=16, n_epochs=2, seed=1, interventions=interventions)


def test_hooks_are_called_in_their_order_with_gradient_steps_counted() -> None:
    watcher = Watcher()
    model = stream_ppo("revealed", [watcher]).learn(256)
    update = ["penalty", "backward", "step"] * 8
    # A rollout ends with its segment, so that a switch is delivered at the end of the update that follows it.
    assert watcher.order == [*[*update, "switch", "update"] * 3, *update, "update"]
    assert watcher.steps == list(range(1, 33))
    assert set(watcher.rates) == {3e-4}
    assert watcher.tapped == [4, 8, 12, 16, 20, 24, 28, 32]
    assert model.gradient_steps == 32
    assert [(s.task, s.task_index, s.segment) for s in watcher.switches] == [
        ("freeway", 1, 1), ("breakout", 0, 2), ("freeway", 1, 3),
    ]  # fmt: skip


def test_hidden_boundaries_are_not_told() -> None:
    watcher = Watcher()
    stream_ppo("hidden", [watcher]).learn(256)
    assert not watcher.switches


def test_an_intervention_that_needs_boundaries_is_refused_where_they_are_hidden() -> None:
    watcher = Watcher()
    watcher.uses_boundaries = True
    with pytest.raises(ValueError, match=r"watcher acts on task switches.*boundary='revealed'"):
        stream_ppo("hidden", [watcher])
    model = stream_ppo("revealed", [watcher])
    with pytest.raises(ValueError, match="watcher acts on task switches"):
        model.set_env(envs.make("breakout", n_envs=2))


def test_surgery_is_announced_to_the_others_and_counted() -> None:
    watcher, author = Watcher(), RESETS["gxd"]()
    model = stream_ppo("hidden", [author, watcher]).learn(128)
    totals = dict.fromkeys(model.networks, 0)
    for edit in watcher.edits:
        for layer, count in edit.items():
            totals[layer.split(".")[0]] += count
    assert totals == model.units_reset()
    assert sum(totals.values()) > 0


def test_nothing_is_hooked_that_nobody_needs() -> None:
    model = build("board", interventions=[ReGraMa()]).learn(64)
    assert not any(module._forward_hooks for module in model.policy.modules())
    watcher = Watcher()
    watcher.needs = frozenset()
    stream_ppo("hidden", [watcher]).learn(64)
    assert not watcher.tapped


class Pull(Intervention):
    """A penalty whose gradient is known: half the squared output weights of the critic, times a strength."""

    name = "pull"

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def attach(self, learner):
        self.weight = learner.networks["critic"].layers[-1].consumers[0].weight

    def penalty(self, update):
        return self.strength * 0.5 * self.weight.square().sum()


def test_a_penalty_is_added_to_the_gradient_but_not_to_the_taps() -> None:
    class Look(Watcher):
        def attach(self, learner):
            self.weight = learner.networks["critic"].layers[-1].consumers[0].weight

        def after_backward(self, update):
            if update.step == 4:
                self.seen = (self.weight.grad.clone(), self.weight.detach().clone(), update.taps["critic.0"][1].clone())

    looks = []
    for strength in (0.0, 3.0):
        look = Look()
        # no step changes the weights, so that both runs see the same minibatch at the same parameters
        build("board", interventions=[Pull(strength), Pull(0.5 * bool(strength)), look], learning_rate=0.0).learn(64)
        looks.append(look.seen)
    (plain, weight, tap), (pulled, _, tap_pulled) = looks
    torch.testing.assert_close(pulled - plain, 3.5 * weight)
    assert torch.equal(tap, tap_pulled)


# ------------------------------------------------------------------ refusals and small things


def test_networks_without_hidden_units_are_refused() -> None:
    settings = {"policy_kwargs": {"net_arch": {"pi": [], "vf": [8]}}}
    with pytest.raises(ValueError, match=r"gxd: networks names 'actor'.*\(with hidden units: critic\).*net_arch"):
        build("mlp", interventions=[GXD(networks=["actor"])], **settings)
    with pytest.raises(ValueError, match=r"redo: networks names 'features'"):
        build("mlp", interventions=[ReDo(networks=["features"])], **settings)
    with pytest.raises(ValueError, match="no hidden units to reset; give it hidden layers with net_arch"):
        build("mlp", interventions=[ReGraMa()], policy_kwargs={"net_arch": []})


def test_only_the_named_networks_are_reset() -> None:
    model = build("board", interventions=[GXD(networks=["critic"], rate=0.01, period=6, maturity=6, score_every=2)])
    counts = model.learn(256).units_reset()
    assert counts["critic"] > 0
    assert counts["actor"] == counts["features"] == 0


def test_small_boards_get_the_minatar_network_and_pixel_images_sb3s() -> None:
    board = build("board").policy
    assert isinstance(board.features_extractor, MinAtarCNN)
    assert board.net_arch == {"pi": [64], "vf": [64]}
    own = PPO("CnnPolicy", envs.make("breakout"), policy_kwargs={"net_arch": [8]}).policy
    assert own.net_arch == [8]
    assert own.activation_fn is torch.nn.ReLU
    assert type(build("nature").policy.features_extractor) is NatureCNN


class Frames(gymnasium.Env):
    """Observations of any space."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, space: gymnasium.spaces.Box) -> None:
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def test_small_images_are_transposed_once() -> None:
    """SB3 puts an image's channels first before the network sees it, a board's it leaves."""
    model = PPO("CnnPolicy", Frames(gymnasium.spaces.Box(0, 255, (12, 10, 3), np.uint8)), n_steps=8, batch_size=8)
    extractor = model.policy.features_extractor
    assert isinstance(extractor, MinAtarCNN)
    assert extractor.cnn[0].in_channels == 3
    assert extractor.linear[0].in_features == 16 * 10 * 8
    model.learn(16)


def test_wherever_sb3_builds_a_network_ours_is_the_same() -> None:
    floats = Frames(gymnasium.spaces.Box(0, 1, (4, 40, 40), np.float32))
    model = PPO("CnnPolicy", floats, policy_kwargs={"normalize_images": False}, n_steps=8, batch_size=8)
    assert type(model.policy.features_extractor) is NatureCNN

    class Own(ActorCriticCnnPolicy):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **{**keywords, "features_extractor_class": FlattenExtractor})

    board = Frames(gymnasium.spaces.Box(0, 1, (10, 10, 4), bool))
    assert type(PPO(Own, board, n_steps=8, batch_size=8).policy.features_extractor) is FlattenExtractor


class Wider(NatureCNN):
    """Looks like NatureCNN and is none."""


def test_a_subclass_of_a_known_module_is_not_taken_for_it() -> None:
    settings = {"policy_kwargs": {"features_extractor_class": Wider}}
    with pytest.raises(ValueError, match="features: the features extractor Wider is not understood"):
        build("nature", interventions=[GXD()], **settings)
    build("nature", **settings).learn(64)  # without interventions it is SB3

    class OwnHeads(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            super()._build_mlp_extractor()
            self.mlp_extractor.__class__ = type("Skipping", (MlpExtractor,), {})

    with pytest.raises(ValueError, match="actor: Skipping is not understood"):
        PPO(OwnHeads, world("mlp"), interventions=[GXD()])


def test_one_intervention_must_stand_in_a_list() -> None:
    with pytest.raises(ValueError, match=r"interventions is one gxd; give a list"):
        build("mlp", interventions=GXD())


def test_the_first_convolution_sees_a_pixel_of_channel_nine_in_its_place() -> None:
    policy = PPO("CnnPolicy", envs.make("breakout"), seed=0).policy
    board = torch.zeros(1, 10, 10, 10)
    board[0, 2, 7, 9] = 1  # height 2, width 7, channel 9
    conv, seen = policy.features_extractor.cnn[0], []
    conv.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    policy.extract_features(board.bool())
    for h in range(8):
        for w in range(8):
            inside = 0 <= 2 - h < 3 and 0 <= 7 - w < 3
            expected = conv.weight[:, 9, 2 - h, 7 - w] if inside else torch.zeros(16)
            torch.testing.assert_close(seen[0][:, h, w], expected + conv.bias)


def test_samples_are_the_rollouts_own_transitions() -> None:
    model = build("board", n_epochs=1)
    generator = torch.Generator().manual_seed(2)

    class Look(Watcher):
        def after_update(self) -> None:
            self.late = model.sample(10, torch.Generator().manual_seed(2))

    from stable_baselines3.common.callbacks import BaseCallback

    class Early(BaseCallback):
        def _on_rollout_end(self) -> None:
            self.sample = model.sample(10, generator)
            self.whole = model.sample(10**6, generator)

        def _on_step(self) -> bool:
            return True

    early, look = Early(), Look()
    model.interventions = [look]
    model.learn(64, callback=early)
    # before SB3 flattens the rollout, and after it has: the same transitions
    for before, after in zip(early.sample, look.late, strict=True):
        assert torch.equal(before, after)
    assert len(early.whole.actions) == 64
    assert sorted(early.whole.returns.tolist()) == sorted(model.rollout_buffer.returns.flatten().tolist())
