"""What the infos of a stream say of where it stands."""

from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from envs.infos import constant, final_observations, merge_infos
from envs.stream import Segment

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
