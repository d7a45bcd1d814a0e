"""Streams of MinAtar's games."""

from collections.abc import Mapping
from typing import Any

from envs.catalogue.streams.named import NamedStream, repeated, variants

_C_CHAIN = "C-CHAIN, arXiv 2506.00592"
_C_CHAIN_DIFFERS = (
    "observations have MinAtar's channels in the same places; an episode is truncated after 2,500 steps, there in "
    "Seaquest alone after 1,000 without a return"
)


def _in_turn(tasks: tuple[str, ...], steps: int, description: str, source: str, differs: str = "") -> NamedStream:
    config = "minatar_dqn_cchain.yaml" if differs else "minatar3_dqn_gxd.yaml"
    return NamedStream(tasks, steps, 1, description, source, differs=differs, config=config)


_PERMUTED, _PERMUTED_WORLDS = variants(
    "breakout+pixel_permutation", 5000, {"id": "breakout", "shifts": ("pixel_permutation",)}
)

# ------------------------------------------------------------------ PT-DQN and FAME

_THREE = ("breakout", "space_invaders", "freeway")
_VISITS = 7
_STEADY: Mapping[str, Mapping[str, Any]] = {game: {"id": game, "ramping": False} for game in _THREE}
"""Games that do not become more difficult, as both have them."""
_PADDED = "observations have MinAtar's 10 channels, there 7; an episode is truncated after 2,500 steps, there never"


def _drawn(seed: int) -> tuple[Mapping[str, Any], ...]:
    """Games drawn one by one, each of the three as likely as the others, whatever came before."""
    import numpy as np

    # The key keeps these draws apart from those of the order, which come from the seed itself.
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    picks = generator.integers(len(_THREE), size=_VISITS).tolist()
    return tuple({"name": _THREE[pick], **_STEADY[_THREE[pick]]} for pick in picks)


_SEQUENCES = """
    bsbssfb sbbssbb bsbffbf fbsbbbs ffssbbf fsffbsb fsbfsfb bsfbsfb bsssfbb fbfsfbf
    ssbbsbs sbssbsf fssfbbf fbfbffb bbfsffb bsbsbbs sfsssbs sffsbsf fbsfsff sfsfbbf
    fbfsbff sbbbbbb sbbbbff fbsfbsb fbsssbb bffsfbf sffbsfs bbbbsbs sssfbbb sbsfbbs
"""
"""FAME's, in the order of its code: breakout, space_invaders and freeway by their first letters."""


def _fame(sequence: str) -> NamedStream:
    letters = {game[0]: game for game in _THREE}
    visits = tuple(letters[letter] for letter in sequence)
    return NamedStream(
        visits,
        500_000,
        1,
        "seven visits of three MinAtar games that do not become more difficult, in a fixed order",
        "FAME (ICLR 2026), one of the 30 sequences of its code; the paper plays the first ten",
        repeated(visits, _STEADY),
        f"{_PADDED}; the replay buffer is cleared at every switch there: at_switch.replay=clear",
        "minatar_dqn_ptdqn.yaml",
    )


STREAMS: Mapping[str, NamedStream] = {
    "minatar3": _in_turn(
        ("space_invaders", "asterix", "seaquest"),
        500_000,
        "three MinAtar games, one after the other",
        f"{_C_CHAIN} (its order; the paper trains 2,000,000 steps a game)",
    ),
    "minatar5": _in_turn(
        ("space_invaders", "asterix", "seaquest", "breakout", "freeway"),
        500_000,
        "all five MinAtar games, one after the other",
        "minatar3 followed by the two remaining games of MinAtar, arXiv 1903.03176",
    ),
    "minatar_saf": _in_turn(
        ("space_invaders", "asterix", "freeway"),
        500_000,
        "three MinAtar games, with freeway as the last",
        f"{_C_CHAIN} (its second list; the paper trains 2,000,000 steps a game)",
    ),
    "permuted_breakout": NamedStream(
        _PERMUTED,
        8192,
        1,
        "Breakout with the positions of the board permuted anew in each task",
        "this project; permuted inputs as in Nature 632:768 (2024), there of MNIST",
        _PERMUTED_WORLDS,
        config="permuted_breakout_ppo_gxd.yaml stream.tasks=null",
    ),
    "cchain/minatar3": _in_turn(
        ("space_invaders", "asterix", "seaquest"),
        2_000_000,
        "three MinAtar games, one after the other, at full length",
        _C_CHAIN,
        _C_CHAIN_DIFFERS,
    ),
    "cchain/minatar_saf": _in_turn(
        ("space_invaders", "asterix", "freeway"),
        2_000_000,
        "three MinAtar games, with freeway as the last, at full length",
        f"{_C_CHAIN} (its second list)",
        _C_CHAIN_DIFFERS,
    ),
    "ptdqn/minatar": NamedStream(
        _THREE,
        500_000,
        1,
        "seven visits of three MinAtar games that do not become more difficult, each drawn with the stream's seed",
        "PT-DQN, arXiv 2312.11669 (NeurIPS 2023)",
        _drawn,
        f"{_PADDED}; the games are drawn from the stream's seed, there from numpy's generator",
        "minatar_dqn_ptdqn.yaml",
    ),
    **{f"fame/minatar{number}": _fame(sequence) for number, sequence in enumerate(_SEQUENCES.split())},
}
