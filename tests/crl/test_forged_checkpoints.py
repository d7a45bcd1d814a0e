"""What a stranger plants in a run's folder is never executed, and what does not fit is refused."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared import assert_equal
from forged import forge_manifest
from small_checkpoints import contents, rewritten

from crl import run
from crl.audit import audit, measuring
from crl.config import ConfigError, load


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


UNREAD = ("model.zip", "vecnormalize.pkl", "best/*/*", "results.json", "versions.txt")
PLANTED = {
    "unread": UNREAD,
    **{name: (f"checkpoints/*/{name}",) for name in ("*.safetensors", "*.json", "config.yaml")},
    "events": ("events.out.tfevents.*",),
}
"""What a run goes on without, as it is or from its start."""


@pytest.mark.parametrize(
    ("where", "checksums"),
    [(where, "old") for where in PLANTED] + [(where, "forged") for where in PLANTED if "check" in PLANTED[where][0]],
)
def test_a_planted_pickle_is_never_executed(
    where: str, checksums: str, checkpointed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "draw", lambda *_: None)  # a figure reads nothing, and takes a second
    found = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    if where != "unread":
        (found / "results.json").unlink()
    exploded = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(exploded))
    pickle.loads(bomb)
    assert exploded.exists()  # it works
    exploded.unlink()
    for pattern in PLANTED[where]:
        planted = list(found.glob(pattern))
        assert planted
        for path in planted:
            path.write_bytes(bomb)
    if checksums == "forged":
        for checkpoint in (found / "checkpoints").iterdir():
            forge_manifest(checkpoint)
    in_checkpoints = PLANTED[where][0].startswith("checkpoints")
    damaged = in_checkpoints and (checksums == "old" or where != "config.yaml")
    if damaged:
        with pytest.raises(ConfigError, match=r"no checkpoint that is whole|cannot be read"):
            audit(found)
    else:
        assert audit(found) == 0
    try:
        code = run.resume(found, ["crl"])
    except ConfigError:
        code = 2
    # Without a checkpoint that is whole the run starts again; events are shorter than the checkpoint saw them.
    refused = (damaged and checksums == "forged" and where == "*.safetensors") or where == "events"
    assert code == (2 if refused else 0)
    assert not exploded.exists()


BOMBS = {
    "pickle": lambda path: pickle.dumps(Bomb(path)),
    "yaml": lambda path: (
        f"seed: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{path}]]".encode()
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("name", ["config.yaml", ".config_hash", "progress.csv"])
def test_what_every_verb_reads_is_refused(kind: str, name: str, checkpointed: Path, tmp_path: Path) -> None:
    found = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    (found / "results.json").unlink()
    exploded = tmp_path / "exploded"
    (found / name).write_bytes(BOMBS[kind](exploded))
    before = contents(found)
    with pytest.raises(ConfigError, match=r"^[^\n]*$"):
        run.resume(found, ["crl"])
    assert contents(found) == before
    if name == "config.yaml":
        for act in (audit, lambda folder: load(folder / name, [])):
            with pytest.raises(ConfigError, match=r"^[^\n]*$"):
                act(found)
    assert not exploded.exists()


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another attribute": (
        lambda state: state["learner"]["counters"].update(train="x"),
        "ValueError: the saved state is of another kind of learner: train",
    ),
    "no counter": (
        lambda state: state["learner"]["counters"].pop("num_timesteps"),
        "ValueError: the saved state is of another kind of learner: num_timesteps",
    ),
    "another observation": (
        lambda state: state["learner"]["observed"].update(env=1),
        "ValueError: the saved state is of another kind of learner: env",
    ),
    "another policy": (
        lambda state: state["learner"]["modules"]["policy"].popitem(),
        "RuntimeError: Error(s) in loading",
    ),
    "no optimizer": (lambda state: state["learner"]["modules"].update({"policy.optimizer": 3}), "TypeError: "),
    "no wrappers": (lambda state: state["world"].update(wrappers=[]), "ValueError: zip() argument 2 is shorter"),
    "no monitor": (lambda state: state["world"]["wrappers"][1].pop("episode_count"), "KeyError: 'episode_count'"),
    "no generator": (lambda state: state["random"].update(torch=1), "TypeError: "),
    "no pending rows": (lambda state: state["run"]["parts"].update(logger=None), "TypeError: "),
    "no lengths": (
        lambda state: state["run"].update(logs={"progress.csv": "x"}),
        "ValueError: it saw 'x' of 'progress.csv'",
    ),
    "another config": (lambda state: state["run"].update(hash="x"), "ValueError: it is of another config"),
    "no threads": (lambda state: state["run"].update(threads="x"), "ValueError: it is of "),
    "no run": (lambda state: state.update(run={}), "KeyError: 'hash'"),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_what_does_not_fit_is_refused_and_nothing_is_lost(kind: str, checkpointed: Path, tmp_path: Path) -> None:
    found = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    (found / "results.json").unlink()
    with (found / "progress.csv").open("a") as file:
        file.write("written after the checkpoint\n")
    newest = found / "checkpoints" / "400"
    change, problem = FORGERIES[kind]
    rewritten(newest, change)
    before = contents(found)
    with pytest.raises(ConfigError) as caught:
        run.resume(found, ["crl"])
    sentence = str(caught.value)
    assert sentence.startswith(f"the run cannot go on from {str(newest)!r} ({problem}")
    assert sentence.endswith("of crl or of the environment; remove it to go on from the one before")
    assert "\n" not in sentence
    assert contents(found) == before
    if kind == "no pending rows":
        shutil.rmtree(newest)
        assert run.resume(found, ["crl"]) == 0
        assert_equal(found, checkpointed)
