"""Streams of Meta-World's tasks."""

from collections.abc import Mapping

from envs.catalogue.streams.named import NamedStream, fixed

_CW10 = (
    "hammer", "push-wall", "faucet-close", "push-back", "stick-pull", "handle-press-side", "push", "shelf-place",
    "window-close", "peg-unplug-side",
)  # fmt: skip


def _continual_world(cycles: int, description: str) -> NamedStream:
    return NamedStream(
        tasks=_CW10,
        steps_per_task=1_000_000,
        cycles=cycles,
        description=description,
        source="Continual World, arXiv 2105.10919",
        worlds=fixed({task: {"id": f"metaworld/{task}", "episode_limit": 200} for task in _CW10}),
        differs="version 3 of the tasks in envpool, with 39 observations and rewards up to 10, there version 1 with 12 "
        "and other rewards; objects and goals are drawn anew for every episode, as there; nothing tells which task it "
        "is, there a one-hot and heads of each task's own do; games are begun anew at every checkpoint",
        config="metaworld_sac_cw.yaml",
    )


STREAMS: Mapping[str, NamedStream] = {
    "cw10": _continual_world(1, "ten tasks of Meta-World's arm, one after the other"),
    "cw20": _continual_world(2, "ten tasks of Meta-World's arm, one after the other, twice"),
}
