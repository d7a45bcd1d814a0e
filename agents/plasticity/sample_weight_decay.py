"""Sample weight decay: replayed transitions are drawn the less often, the older they are."""

from __future__ import annotations

from agents.plasticity.protocols import Intervention, Learner
from agents.plasticity.validation import check


class SampleWeightDecay(Intervention):
    """Sample weight decay: draw new transitions more often than old ones (SWD, arXiv 2604.01913).

    A transition of the replay buffer is drawn with a probability in proportion to max(`min_weight`, 1 - age /
    `decay_steps`): new data, which counts for less and less among all that is stored, keeps its share of the gradient.
    Published for TD3, SAC and Double DQN; the numbers are those of the released code. Ages are steps of the games: what
    was stored last is as old as one step of all games. The released code, which is run with one game, counts steps of
    all games at once; for that reading give `decay_steps` times the number of games.

    All that is drawn of the buffer as training gets it is drawn so: minibatches, C-CHAIN's reference batches, and the
    samples that resets and diagnostics look at. A draw costs the same however much is stored.

    Args:
        decay_steps: age at which a weight would have fallen from 1 to 0. Fewer forget earlier.
        min_weight: the least weight, above 0; it is reached at (1 - `min_weight`) * `decay_steps`. 1 draws uniformly,
            as without this.
    """

    name = "sample_weight_decay"

    def __init__(self, *, decay_steps: int = 80_000, min_weight: float = 0.1) -> None:
        right = isinstance(decay_steps, int) and decay_steps >= 1
        check("decay_steps", decay_steps, right, "a whole number of steps of the games of at least 1")
        check("min_weight", min_weight, 0 < min_weight <= 1, "a weight above 0 and of at most 1")
        self.decay_steps, self.min_weight = decay_steps, min_weight

    def attach(self, learner: Learner) -> None:
        try:
            learner.weigh_by_age(self.decay_steps, self.min_weight)
        except NotImplementedError as error:
            raise ValueError(f"{self.name}: {error}") from error

    def claims(self) -> dict[str, list[str]]:
        return {"weigh {} by their age": ["replayed transitions"]}
