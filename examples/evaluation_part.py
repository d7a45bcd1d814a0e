"""A part of a run: every so many steps the agent plays an episode of each task, and its return goes into a CSV file.

It shows how a part is written; what crl itself has for this is the section `evaluation` of a config.

Run it from this folder: ``crl train ../configs/minatar3.yaml imports=[evaluation_part] parts=[{name: evaluations}]``
"""

from __future__ import annotations

from typing import Any

import envs
from crl.csv_log import CsvLog
from crl.every import Every
from crl.parts import Part, part


@part("evaluations", summary="an episode of each task every so many steps, in played.csv")
class Evaluations(Part):
    """Plays each task by the agent's best guess.

    Training does not notice: the games and their seed are its own, and deterministic actions draw no numbers.

    Args:
        every: steps of training between two evaluations.
        limit: steps after which an episode is cut.
    """

    log_files = ("played.csv",)

    def __init__(self, *, every: int = 10_000, limit: int = 1000) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every is {every}; give 1 or more")
        self._due, self._limit = Every(every, multiples=True), limit
        self._log: CsvLog | None = None

    def _on_training_start(self) -> None:
        self._log = CsvLog(self.run.folder / self.log_files[0])

    def update_ended(self) -> None:
        step = self.learner.num_timesteps
        if self._due.is_due(step):
            self._due.done(step)
            for task in self.run.env.stream.tasks:
                self._log.append({"step": step, "task": task.name, "return": self._played(task)})

    def _played(self, task: envs.Task) -> float:
        """The return of an episode; at each evaluation of the same one."""
        games = envs.StreamVectorEnv(envs.TaskStream.build([task], steps_per_task=None), 1)
        observations, _ = games.reset(seed=self.run.config.seed)
        normalizer, found = self.learner.get_vec_normalize_env(), 0.0
        for _ in range(self._limit):
            seen = observations if normalizer is None else normalizer.normalize_obs(observations)
            actions, _ = self.learner.predict(seen, deterministic=True)
            observations, rewards, terminated, truncated, _ = games.step(actions)
            found += float(rewards[0])
            if terminated[0] or truncated[0]:
                break
        games.close()
        return found

    def state(self) -> Any:
        return self._due.state()

    def restore(self, state: Any) -> None:
        self._due.restore(state)

    def close(self) -> None:
        if self._log is not None:
            self._log.close()
