"""The returns of the episodes that end in training."""

from __future__ import annotations

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback


class Episodes(BaseCallback):
    """Collects ``rows``, (step, return) of every training episode."""

    def _init_callback(self) -> None:
        self.rows: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        infos = self.locals["infos"]
        for game in np.flatnonzero(self.locals["dones"]).tolist():
            if "episode" in infos[game]:
                self.rows.append((self.num_timesteps, float(infos[game]["episode"]["r"])))
        return True
