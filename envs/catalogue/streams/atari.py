"""Streams of Atari's games."""

from collections.abc import Mapping
from typing import Any

from envs.catalogue.streams.named import NamedStream, fixed

_CONFIG = "atari_ppo_fame.yaml"
_ENVPOOL = "games are envpool's, and begun anew at every checkpoint"

_CORA = ("space_invaders", "krull", "beam_rider", "hero", "star_gunner", "ms_pacman")
_CORA_GAME = {"episode_limit": 10_000, "episodic_life": True, "reward_clip": True}

_FAME_GAME: Mapping[str, Any] = {
    "full_action_space": False,
    "repeat_action_probability": 0.25,
    "frame_skip": 16,
    "noop_max": 120,
    "episode_limit": 6750,
    "episodic_life": True,
    "reward_clip": True,
}
"""Gymnasium's ``ALE/...-v5``, whose actions last 4 frames, with each of them repeated 4 times."""


def _modes(game: str, modes: int, title: str) -> NamedStream:
    """A stream of the modes of one game."""
    entries = {f"mode_{mode}": {"id": f"atari/{game}", "mode": mode, **_FAME_GAME} for mode in range(modes)}
    return NamedStream(
        tasks=tuple(entries),
        steps_per_task=1_000_000,
        cycles=1,
        description=f"the modes 0 to {modes - 1} of Atari's {title}, one after the other",
        source="CompoNet, arXiv 2506.14811 (ICML 2024), and FAME (ICLR 2026)",
        worlds=fixed(entries),
        differs=f"{_ENVPOOL}; a picture is of an action's last two of 16 frames, there of the twelfth and the last; "
        "the learning rate stays, there it falls in every mode",
        config=_CONFIG,
    )


STREAMS: Mapping[str, NamedStream] = {
    "cora/atari6": NamedStream(
        tasks=_CORA,
        steps_per_task=50_000_000,
        cycles=5,
        description="six Atari games with all 18 actions, one after the other",
        source="CORA, arXiv 2110.10067 (its code's steps, which the paper calls frames; it reports two of the cycles)",
        worlds=fixed({game: {"id": f"atari/{game}", **_CORA_GAME} for game in _CORA}),
        differs=f"{_ENVPOOL}; its agents are IMPALA, CLEAR and others, the config's is PPO",
        config=_CONFIG,
    ),
    "fame/space_invaders": _modes("space_invaders", 10, "SpaceInvaders"),
    "fame/freeway": _modes("freeway", 8, "Freeway"),
}
