"""Streams of ProcGen's games."""

from collections.abc import Mapping, Sequence

from envs.catalogue.streams.named import NamedStream, fixed
from envs.catalogue.suites import PROCGEN_GAMES

_ENVPOOL = "games are envpool's, and begun anew at every checkpoint"


def _levels(task: str, levels: Sequence[int], description: str, source: str, differs: str, config: str) -> NamedStream:
    """A stream of single levels of a ProcGen task."""
    entries = {f"level_{level}": {"id": task, "start_level": level, "num_levels": 1} for level in levels}
    return NamedStream(
        tasks=tuple(entries),
        steps_per_task=2_000_000,
        cycles=1,
        description=f"{description} of ProcGen's {task}, one after the other",
        source=source,
        worlds=fixed(entries),
        differs=f"{_ENVPOOL}; {differs}",
        config=config,
    )


_CORA = ("climber", "dodgeball", "ninja", "starpilot", "bigfish", "fruitbot")
_TRAC = ("starpilot", "dodgeball", "fruitbot", "chaser")
_CLIPPED = "values are clipped as in Stable-Baselines3"
_REWARDS = f"{_CLIPPED}; rewards are normalised with the agent's discount, there with 0.99"

STREAMS: Mapping[str, NamedStream] = {
    **{
        f"cchain/{game}": _levels(
            f"{game}_hard",
            range(20, 30),
            "ten hard levels",
            "C-CHAIN, arXiv 2506.00592 (its levels and steps)",
            _REWARDS,
            "procgen_starpilot_ppo_cchain.yaml",
        )
        for game in PROCGEN_GAMES
    },
    **{
        f"plasticine/{game}": _levels(
            f"{game}_easy",
            range(0, 200, 20),
            "ten easy levels",
            "Plasticine, arXiv 2504.17490 (its levels and steps)",
            _CLIPPED,
            "procgen_starpilot_ppo_plasticine.yaml",
        )
        for game in PROCGEN_GAMES
    },
    **{
        f"trac/{game}": _levels(
            f"{game}_hard",
            range(20, 65),
            "up to 45 hard levels",
            "TRAC, arXiv 2405.16642 (its games, and its code's levels and steps)",
            f"{_REWARDS}; its optimizer is agent.optimizer=trac",
            "procgen_starpilot_ppo_cchain.yaml",
        )
        for game in _TRAC
    },
    "cora/procgen": NamedStream(
        tasks=_CORA,
        steps_per_task=5_000_000,
        cycles=5,
        description="200 easy levels of each of six ProcGen games, one game after the other",
        source="CORA, arXiv 2110.10067 (which evaluates on all levels; here on the 200)",
        worlds=fixed({game: {"id": f"{game}_easy", "num_levels": 200} for game in _CORA}),
        differs=f"{_ENVPOOL}; its agents are IMPALA, CLEAR and others, the config's is PPO",
        config="procgen_starpilot_ppo_gxd.yaml",
    ),
}
