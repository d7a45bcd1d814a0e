"""An agent is asked for actions in one thread while another one goes on learning."""

from __future__ import annotations

import io
import json
import threading
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from agents import DQN, PPO, SAC, TD3
from agents.learner import LearnerMixin
from agents.plasticity import L2Init
from agents.plasticity.fresh import fresh_parameters, holding
from agents.plasticity.functional import run_with
from agents.plasticity.injectable import Injectable
from agents.plasticity.threads import ReadWriteLock
from agents.plasticity.trials import on_a_copy
from agents.serving import beside

REPLAY: dict[str, Any] = {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}
CASES: dict[str, tuple[Callable[..., Any], str, dict[str, Any], str]] = {
    "ppo": (PPO, "CartPole-v1", {"n_steps": 16, "batch_size": 8, "n_epochs": 1}, "action_net"),
    "ppo_sde": (PPO, "Pendulum-v1", {"n_steps": 16, "batch_size": 8, "n_epochs": 1, "use_sde": True}, "action_net"),
    "dqn": (DQN, "CartPole-v1", REPLAY, "q_net.q_net.0"),
    "sac": (SAC, "Pendulum-v1", REPLAY, "actor.mu"),
    "td3": (TD3, "Pendulum-v1", REPLAY, "actor.mu.0"),
}
"""Name -> class, world, settings, and a layer in the middle of a forward."""


def agent(case: str, **more: Any) -> tuple[Any, nn.Module]:
    kind, world, settings, layer = CASES[case]
    net_arch = {"pi": [4], "vf": [4]} if kind is PPO else {"pi": [4], "qf": [4]} if kind is not DQN else [4]
    given = {**settings, **more}
    policy = {"net_arch": net_arch, **given.pop("policy_kwargs", {})}
    model = kind("MlpPolicy", world, **given, policy_kwargs=policy, seed=1, device="cpu")
    return model, model.policy.get_submodule(layer)


def in_another_thread(work: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    assert found, "the thread has failed"
    return found[0]


def observations(model: LearnerMixin, count: int) -> np.ndarray:
    space = model.observation_space
    assert isinstance(space, gymnasium.spaces.Box)
    return np.random.default_rng(count).normal(size=(count, *space.shape)).astype(np.float32)


def parameters(model: LearnerMixin) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("speed", ["exact", "fast"])
def test_learning_is_the_same_to_the_last_bit_where_others_ask_in_the_middle_of_its_forwards(
    case: str, speed: str
) -> None:
    drawing = {} if case == "ppo_sde" else {"policy_kwargs": {"dropout": 0.5}}  # evaluation mode would show
    alone = agent(case, speed=speed, **drawing)[0].learn(32)
    asked, layer = agent(case, speed=speed, **drawing)
    learns, shapes = threading.get_ident(), []

    def ask(*_: Any) -> None:
        if threading.get_ident() == learns and len(shapes) < 40:
            actions = in_another_thread(lambda: asked.predict(observations(asked, 3), deterministic=True)[0])
            shapes.append(actions.shape)

    layer.register_forward_hook(ask)
    asked.learn(32)
    assert len(shapes) > 10 or speed == "fast"  # which computes much without the modules
    assert {shape[0] for shape in shapes} <= {3}
    assert torch.equal(parameters(asked), parameters(alone))


@pytest.mark.parametrize("case", ["ppo", "ppo_sde", "sac"])
def test_who_asks_gets_the_actions_for_its_own_observations(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = agent(case)
    wanted = model.predict(observations(model, 3), deterministic=True)[0]
    kind = type(getattr(model.policy, "actor", model.policy).action_dist)
    mode, learns = kind.mode, threading.get_ident()

    def learning_in_between(distribution: Any) -> Tensor:
        if threading.get_ident() != learns:
            monkeypatch.undo()
            model.policy.predict(observations(model, 5), deterministic=True)  # of the policy that learns
            model.policy.set_training_mode(True)
        found: Tensor = mode(distribution)
        return found

    monkeypatch.setattr(kind, "mode", learning_in_between)
    found = in_another_thread(lambda: model.predict(observations(model, 3), deterministic=True)[0])
    np.testing.assert_array_equal(found, wanted)
    assert model.policy.training


def test_who_asks_sees_what_was_learnt_and_which_layers_were_put_in() -> None:
    model, _ = agent("td3")
    first = in_another_thread(lambda: model.predict(observations(model, 2), deterministic=True)[0])
    with torch.no_grad():
        model.actor.mu[2].bias += 0.1
    model.actor.mu[2] = nn.Sequential(model.actor.mu[2], nn.Tanh())
    wanted = model.predict(observations(model, 2), deterministic=True)[0]
    found = in_another_thread(lambda: model.predict(observations(model, 2), deterministic=True)[0])
    np.testing.assert_array_equal(found, wanted)
    assert not np.array_equal(found, first)


def test_the_thread_that_learnt_last_has_the_policy_itself_and_a_zip_knows_of_none(tmp_path: Path) -> None:
    model, _ = agent("ppo")
    assert model._in_this_thread() is model
    in_another_thread(lambda: model.learn(16))
    assert model._in_this_thread().policy is not model.policy
    assert in_another_thread(lambda: model.predict(observations(model, 2))[0].shape) == (2,)
    in_another_thread(lambda: model.save(tmp_path / "model"))
    assert PPO.load(tmp_path / "model")._own_thread == threading.get_ident()
    data = json.loads(zipfile.ZipFile(tmp_path / "model.zip").read("data"))
    assert not {"_own_thread", "parameter_lock"} & data.keys()


def test_modules_beside_hold_the_same_memory_once_for_every_place_in_which_they_stand() -> None:
    shared = nn.Linear(2, 2)
    normed = parametrizations.weight_norm(nn.Linear(2, 2))
    model = nn.Sequential(shared, nn.BatchNorm1d(2), normed, nn.ReLU(), shared, nn.Dropout(0.9))
    x = torch.tensor([[0.5, -2.0], [1.0, 3.0]])
    found = beside(model, {})
    assert found[0] is found[4]
    assert found[0] is not shared
    assert found[0].weight.data_ptr() == shared.weight.data_ptr()
    assert not any(module.training for module in found.modules())
    assert all(module.training for module in model.modules())
    seen = found(x)
    assert torch.equal(model[1].running_mean, torch.zeros(2))
    with torch.no_grad():
        shared.bias += 1.0
    assert not torch.equal(found(x), seen)
    assert torch.equal(found(x), model.eval()(x))
    seen = found(x)
    shared.weight.data = torch.zeros(2, 2)  # as while copies are on trial
    shared.bias = nn.Parameter(torch.ones(2))
    assert torch.equal(found(x), seen)


def test_modules_beside_have_what_is_hidden_from_torch_to_themselves() -> None:
    head = Injectable(nn.Linear(2, 2))
    head.inject([torch.ones(2, 2), torch.ones(2)])
    found = beside(head, {})
    assert found._frozen[0] is not head._frozen[0]
    x = torch.tensor([[0.5, -2.0]])
    assert torch.equal(found(x), head(x))


def _holding(model: Any, look: Callable[[], None]) -> None:
    with holding(model, fresh_parameters(model, 1)):
        look()


def _on_a_copy(model: Any, look: Callable[[], None]) -> None:
    with on_a_copy(model, 1), torch.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(1.0)
        look()


def _running(model: Any, look: Callable[[], None]) -> None:
    run_with(model.policy, fresh_parameters(model, 1), lambda _: look(), None)


@pytest.mark.parametrize("others", [_holding, _on_a_copy, _running])
def test_who_asks_or_saves_while_other_values_are_looked_at_gets_the_agents_own(
    others: Callable[[Any, Callable[[], None]], None], tmp_path: Path
) -> None:
    model, _ = agent("ppo_sde")
    seen = observations(model, 3)
    wanted, own = model.predict(seen, deterministic=True)[0], parameters(model)
    asked: list[Future[Any]] = []

    def look() -> None:
        assert not torch.equal(parameters(model), own)
        asked.append(pool.submit(model.predict, seen, deterministic=True))
        asked.append(pool.submit(model.save, tmp_path / "model"))
        assert not wait(asked, 0.1).done

    with ThreadPoolExecutor(2) as pool:
        others(model, look)
    np.testing.assert_array_equal(asked[0].result()[0], wanted)
    assert asked[1].result() is None
    assert torch.equal(parameters(PPO.load(tmp_path / "model", device="cpu")), own)


def test_compiled_functions_of_torch_script_stay_as_they_are() -> None:
    with warnings.catch_warnings(action="ignore"):  # torch would have it no more
        scripted = torch.jit.trace(nn.Linear(2, 1), torch.ones(1, 2))
    assert beside(nn.Sequential(scripted), {})[0] is scripted


# ---------------------------------------------------------------------- saving


@pytest.mark.parametrize("case", ["ppo", "dqn", "sac", "td3"])
def test_another_thread_saves_the_agent_as_it_is_between_two_updates(case: str) -> None:
    model, layer = agent(case, interventions=[L2Init(coefficient=0.1)])
    learns = threading.get_ident()
    found: dict[int, Future[bytes]] = {}

    def saved() -> bytes:
        file = io.BytesIO()
        model.save(file)
        return file.getvalue()

    def save(*_: Any) -> None:
        if threading.get_ident() == learns and model.policy.training and len(found) < 8:
            found[model.optimizer_steps] = pool.submit(saved)

    steps_after_updates = {0}
    model.update_ended.append(lambda: steps_after_updates.add(model.optimizer_steps))
    with ThreadPoolExecutor(4) as pool:
        layer.register_forward_hook(save)
        model.learn(64)
        files = [io.BytesIO(future.result()) for future in found.values()]
    assert len(files) > 4
    for file in files:
        loaded = type(model).load(file, device="cpu")
        assert loaded.optimizer_steps in steps_after_updates


def test_a_callback_that_waits_for_another_threads_save_goes_on() -> None:
    model, _ = agent("ppo")
    file = io.BytesIO()

    def save(*_: Any) -> bool:
        in_another_thread(lambda: model.save(file) is None)
        return model.num_timesteps < 20

    model.learn(64, callback=save)
    assert PPO.load(io.BytesIO(file.getvalue()), device="cpu").num_timesteps > 0


def test_who_reads_goes_before_who_writes_next_and_all_may_enter_again() -> None:
    lock, order = ReadWriteLock(), []
    ready, written = threading.Event(), threading.Event()

    def read() -> None:
        ready.set()
        with lock.reading(), lock.reading():
            order.append("read")
            assert not written.wait(0.05)

    thread = threading.Thread(target=read)
    with lock.writing(), lock.writing(), lock.reading():
        thread.start()
        ready.wait()
        while not lock._waiting:
            threading.Event().wait(0.001)
        order.append("written")
    with lock.writing():
        order.append("written again")
        written.set()
    thread.join()
    assert order == ["written", "read", "written again"]


def test_who_comes_to_read_after_one_that_waits_to_write_goes_after_it() -> None:
    """Else those that ask all the time would hold up learning for ever."""
    lock, order = ReadWriteLock(), []

    def enter(name: str, way: Callable[[], Any]) -> None:
        with way():
            order.append(name)

    with ThreadPoolExecutor(2) as pool, lock.reading():
        pool.submit(enter, "write", lock.writing)
        while not lock._queued:
            threading.Event().wait(0.001)
        with lock.reading():  # who reads already may go on
            pool.submit(enter, "read", lock.reading)
            while not lock._waiting:
                threading.Event().wait(0.001)
        order.append("first")
    assert order == ["first", "write", "read"]
    assert not lock._readers


def test_a_handler_of_signals_may_read_where_its_thread_waits_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    lock, order = ReadWriteLock(), []
    began, handled = threading.Event(), threading.Event()

    def read() -> None:
        with lock.reading():
            began.set()
            handled.wait()

    def interrupted(condition: Callable[[], bool]) -> None:
        monkeypatch.undo()
        with lock.reading():
            order.append("handled")
        handled.set()
        wait_for(condition)

    wait_for = lock._changed.wait_for
    thread = threading.Thread(target=read)
    thread.start()
    began.wait()
    monkeypatch.setattr(lock._changed, "wait_for", interrupted)
    with lock.writing():
        order.append("written")
    thread.join()
    assert order == ["handled", "written"]


def test_who_gives_up_reading_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lock = ReadWriteLock()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(lock._changed, "wait_for", interrupted)
        with pytest.raises(KeyboardInterrupt), lock.reading():
            pass
    with lock.writing():
        assert lock._writer == threading.get_ident()


def test_a_failing_update_lets_others_save(tmp_path: Path) -> None:
    model, layer = agent("sac")
    handle = layer.register_forward_hook(lambda *_: 1 / 0 if model.policy.training else None)
    with pytest.raises(ZeroDivisionError):
        model.learn(32)
    handle.remove()
    in_another_thread(lambda: model.save(tmp_path / "model") is None)
    assert SAC.load(tmp_path / "model", device="cpu").num_timesteps == model.num_timesteps
