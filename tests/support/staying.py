"""Actions of tests that only count steps."""

import numpy as np

from envs.vector import StreamVectorEnv


def stay(env: StreamVectorEnv) -> np.ndarray:
    """The action 0 of every game."""
    return np.zeros(env.num_envs, np.int64)
