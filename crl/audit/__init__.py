"""`crl audit`: what replacing each unit of a trained agent costs, and which criterion knows it beforehand.

What can be refused without a class or a device is refused here, before anything heavy is imported.
"""

from __future__ import annotations

from pathlib import Path

from crl.config import AgentConfig, ConfigError, imported
from crl.opening import opened
from crl.run_folder import check_home, check_trained

SAMPLES = 1024
FEWEST = 2  # PPO divides advantages by their standard deviation
MAX_SEED = 2**31 - 1


def audit(folder: Path, task: str | None = None, samples: int | None = None, seed: int | None = None) -> int:
    """Audit the newest checkpoint of a run, print what was found, and write it to the folder ``audit`` in the run's.

    Nothing else in the run's folder is touched.

    Args:
        folder: of the run.
        task: that is played for the transitions on which all is measured; None for the one the run ended in.
        samples: transitions; None for 1,024, or a whole rollout where that has fewer.
        seed: of games, actions and the sample; None for the run's.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: something does not fit; nothing has been written.
    """
    check_trained(folder)
    with opened(folder) as config:
        config = imported(config)
        samples = sample_size(config.agent, samples)
        seed = config.seed if seed is None else seed
        if not 0 <= seed <= MAX_SEED:
            raise ConfigError(f"--seed {seed} is out of range; give a whole number from 0 to {MAX_SEED}")
        check_home(folder / "audit")
        from crl.audit.measuring import audit_checkpoint

        return audit_checkpoint(folder, config, task, samples, seed)


def sample_size(agent: AgentConfig, samples: int | None) -> int:
    """How many transitions are looked at: as many as are asked for, or 1,024, or all that the agent ever has.

    Raises:
        ConfigError: as many are too few, or never there.
    """
    if agent.spec.data == "replay":
        most: int = agent.settings["buffer_size"]
        reason = f"the agent never learns from more than agent.buffer_size={most}"
    else:
        most = agent.rollout
        steps = most // agent.n_envs
        rollout = f"agent.n_envs x agent.n_steps = {agent.n_envs} x {steps}"
        reason = f"one rollout of {rollout} has {most} transitions"
    if samples is None:
        return min(SAMPLES, most)
    if samples < FEWEST:
        reason = f"at least {FEWEST} are needed to compare"
    if not FEWEST <= samples <= most:
        raise ConfigError(f"--samples {samples} is not possible: {reason}; give {FEWEST} to {most}")
    return samples
