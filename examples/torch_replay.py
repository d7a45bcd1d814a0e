"""A replay buffer in tensors on the learner's device, and a run that goes on bit for bit wherever it is killed.

python examples/torch_replay.py /tmp/run    # and again after a kill
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import ReplayBufferSamples

import envs
from agents import DQN
from agents.training_state import restore_training_state, training_state
from crl import storage

STORED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


class TorchReplay(ReplayBuffer):
    """SB3's replay buffer, whose minibatches are there where they are used; takes no `VecNormalize`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in STORED:
            array = getattr(self, name)
            dtype = torch.as_tensor(array[:1]).dtype
            setattr(self, name, torch.zeros(array.shape, dtype=dtype, device=self.device))

    def add(self, obs: Any, next_obs: Any, action: Any, reward: Any, done: Any, infos: Any) -> None:
        timeouts = [info.get("TimeLimit.truncated", False) for info in infos]
        for name, row in zip(STORED, (obs, next_obs, action, reward, done, timeouts), strict=True):
            place = getattr(self, name)[self.pos]
            place.copy_(torch.as_tensor(row).reshape(place.shape), non_blocking=True)
        self.pos = (self.pos + 1) % self.buffer_size
        self.full = self.full or self.pos == 0

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> ReplayBufferSamples:
        games = np.random.randint(0, high=self.n_envs, size=len(batch_inds))
        rows = torch.as_tensor(np.stack([batch_inds, games]), device=self.observations.device)
        taken = {name: getattr(self, name)[rows[0], rows[1]] for name in STORED}
        ended = taken["dones"] * (1 - taken["timeouts"])
        observations, following = taken["observations"], taken["next_observations"]
        return ReplayBufferSamples(observations, taken["actions"], following, ended[:, None], taken["rewards"][:, None])


class Checkpoints(BaseCallback):
    """Goes on from the newest checkpoint in `folder`, and writes one about every `every` steps."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__()
        self.folder, self.every = folder, every

    def _on_training_start(self) -> None:
        found, _ = storage.newest(self.folder)
        if found is not None:
            restore_training_state(self.model, storage.read(found))
        self.passed = self.num_timesteps = self.model.num_timesteps
        self.model.update_ended.append(self._save)

    def _save(self) -> None:
        steps = self.model.num_timesteps
        if steps // self.every > self.passed // self.every:
            storage.write(self.folder / str(steps), training_state(self.model))
            storage.prune(self.folder, keep=2)
        self.passed = steps

    def _on_step(self) -> bool:
        return True


def train(folder: Path, buffer: type[ReplayBuffer] = TorchReplay, steps: int = 30_000, every: int = 5000) -> DQN:
    stream = envs.make("minatar3", n_envs=4, steps_per_task=steps // 3, seed=1)
    model = DQN("CnnPolicy", stream, buffer_size=steps // 2, replay_buffer_class=buffer, learning_starts=200, seed=1)
    return model.learn(steps, callback=Checkpoints(folder, every))


if __name__ == "__main__":
    print(train(Path(sys.argv[1])).replay_buffer.rewards.sum().item(), "reward in the buffer")
