"""Where a stream stands, as infos tell it and as it is saved."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from envs.infos import constant, final_observations, merge_infos
from envs.state import json_value
from envs.stream import Segment, TaskStream

PLACE = ("task", "task_index", "segment", "task_switched")
"""What every info says of where the stream stands."""
ENDING_MASKS = tuple(f"_{key}" for key in (*PLACE, "cut_by_switch"))
"""Masks of what is said of an episode that has ended."""


class Standing:
    """What is said in a segment: constant over it, so that a step adds references and builds nothing.

    Args:
        segment: that is played.
        n_envs: games played side by side.
    """

    def __init__(self, segment: Segment, n_envs: int) -> None:
        self._everyone, self._nobody = constant(True, n_envs), constant(False, n_envs)
        place = {
            "task": constant(segment.task.name, n_envs),
            "task_index": constant(segment.task_index, n_envs),
            "segment": constant(segment.index, n_envs),
            "task_switched": self._nobody,
        }
        self._of_steps = place | {f"_{key}": self._everyone for key in PLACE}
        self._of_endings = place | {"cut_by_switch": self._nobody}

    def tell(self, info: dict[str, Any]) -> None:
        """Add it to the info of a reset or of a step."""
        if "final_info" in info:
            info["final_info"].update(self._of_endings, **dict.fromkeys(ENDING_MASKS, info["_final_info"]))
        info.update(self._of_steps)

    def cut(self, space: Space[Any], observations: Any, info: dict[str, Any], cut: NDArray[np.bool_]) -> dict[str, Any]:
        """What the step that switches to the next segment says of the last episodes of this one, all of which end.

        Args:
            space: of a batch of observations.
            observations: of that step, before the switch.
            info: its info.
            cut: which games' episodes go on but for the switch, shape (n_envs,).
        """
        final_obs = final_observations(space, info.pop("final_obs", None), observations, cut)
        final_info: dict[str, Any] = {}
        merge_infos(final_info, info.pop("final_info", {}), ~cut)
        merge_infos(final_info, info, cut)  # what a game said last lies at the top as long as its episode goes on
        final_info.update(self._of_endings, task_switched=self._everyone, cut_by_switch=cut)
        final_info.update(dict.fromkeys(ENDING_MASKS, self._everyone))
        ended = {"final_obs": final_obs, "_final_obs": self._everyone}
        return {"task_switched": self._everyone} | ended | {"final_info": final_info, "_final_info": self._everyone}


def place_of(segment: Segment) -> dict[str, Any]:
    """What is saved of the segment that a stream stands in: JSON values."""
    task = segment.task
    return {"segment": segment.index, "task": task.name, "arguments": task.arguments, "fit": json_value(task.fit)}


def check_place(state: Mapping[str, Any], stream: TaskStream) -> None:
    """Refuse the state of another stream.

    Args:
        state: what `place_of` gave, and the stream's ``steps`` till then.
        stream: on which it is to be set.

    Raises:
        ValueError: it is of another one.
    """
    here = place_of(stream.segment(stream.at(state["steps"])))
    if any(here[key] != state[key] for key in ("segment", "task")):
        raise ValueError(
            f"a state of segment {state['segment']} (task {state['task']!r}) at step {state['steps']:,} cannot be set "
            f"on a stream that is then in segment {here['segment']} (task {here['task']!r}); "
            "make the stream with the arguments that it was saved with"
        )
    for key in ("arguments", "fit"):
        saved = state.get(key, [])  # what was saved before there were fits has none
        if saved != here[key]:
            raise ValueError(
                f"a state of task {state['task']!r} with {saved} cannot be set on one with {here[key]}; make the "
                "stream with the arguments that it was saved with"
            )
