"""The named streams."""

from dataclasses import FrozenInstanceError

import pytest

from envs.catalogue import GAMES, STREAMS


def test_games_are_the_package_s() -> None:
    assert sorted(GAMES) == ["asterix", "breakout", "freeway", "seaquest", "space_invaders"]


def test_minatar_streams() -> None:
    assert STREAMS["minatar3"].tasks == ("space_invaders", "asterix", "seaquest")
    assert STREAMS["minatar5"].tasks == ("space_invaders", "asterix", "seaquest", "breakout", "freeway")
    for stream in STREAMS.values():
        assert (stream.steps_per_task, stream.cycles) == (500_000, 1)
        assert "arXiv" in stream.source


def test_catalogue_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        STREAMS["minatar3"].cycles = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        STREAMS["mine"] = STREAMS["minatar3"]  # type: ignore[index]
