"""Streams of DeepMind Control's tasks."""

from collections.abc import Mapping

from envs.catalogue.streams.named import NamedStream, repeated

_CONFIG = "dmc_ppo_cchain.yaml"
_DIFFERS = (
    "bodies are envpool's, and begun anew at every checkpoint; observations stand in dm_control's order, there in the "
    "alphabet's; the limit of an episode truncates it, there it ends it; values are clipped as in Stable-Baselines3"
)


def _aims(body: str, aims: str, cycles: int, source: str) -> NamedStream:
    """A stream of what one body is to do."""
    visits = tuple(aims.split())
    return NamedStream(
        tasks=visits,
        steps_per_task=1_000_000,
        cycles=cycles,
        description=f"tasks of DeepMind Control's {body}, one after the other",
        source=source,
        worlds=repeated(visits, {aim: {"id": f"dmc/{body}-{aim}"} for aim in visits}),
        differs=_DIFFERS,
        config=_CONFIG,
    )


_C_CHAIN = "C-CHAIN, arXiv 2506.00592"
_PLASTICINE = "Plasticine, arXiv 2504.17490"

STREAMS: Mapping[str, NamedStream] = {
    "cchain/walker": _aims("walker", "stand walk run", 1, _C_CHAIN),
    "cchain/quadruped": _aims("quadruped", "walk run walk", 1, _C_CHAIN),
    "cchain/dog": _aims("dog", "stand walk run trot", 1, _C_CHAIN),
    "plasticine/walker": _aims("walker", "stand walk run", 2, _PLASTICINE),
    "plasticine/quadruped": _aims("quadruped", "walk run", 3, _PLASTICINE),
    "plasticine/dog": _aims("dog", "stand walk run trot", 2, _PLASTICINE),
}
