"""Parts of a run: they come back with it, and no other parts than it was begun with."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import envs
from crl import run, storage
from crl.config import ConfigError, check_arguments, load
from crl.config.parts import PARTS
from crl.csv_log import CsvLog
from crl.parts import Part, part

TINY = """
stream: {name: cchain/cartpole, steps_per_task: 80, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
checkpoint: {every: 400, keep: 2}
seed: 3
device: cpu
threads: 1
"""
"""Twenty updates; checkpoints at 400 and 800 steps."""


class Counter(Part):
    """Counts updates into a file, a column for each hundred of steps; and says when it is told what."""

    name = "counter"
    log_files = ("counts.csv",)

    def __init__(self, *, first: int = 0) -> None:
        super().__init__()
        if first < 0:
            raise ValueError(f"first is {first}; give 0 or more")
        self.count = first
        self.told: list[str] = []
        self._log: CsvLog | None = None

    def _on_training_start(self) -> None:
        self.told.append(f"started at {self.learner.num_timesteps}")
        self._log = CsvLog(self.run.folder / "counts.csv")

    def _on_training_end(self) -> None:
        self.told.append("ended")

    def record(self) -> None:
        self.logger.record("counter/count", self.count)

    def update_ended(self) -> None:
        assert self._log is not None
        self.count += 1
        self._log.append({"count": self.count, f"from {self.learner.num_timesteps // 100}00": 1})

    def state(self) -> Any:
        return {"count": self.count}

    def restore(self, state: Any) -> None:
        self.count = int(state["count"])
        self.told.append(f"restored at {self.learner.num_timesteps}")

    def close(self) -> None:
        self.told.append("closed")
        if self._log is not None:
            self._log.close()


def trained(parent: Path, *parts: Part, overrides: tuple[str, ...] = ()) -> Path:
    (parent / "tiny.yaml").write_text(TINY)
    config = check_arguments(load(parent / "tiny.yaml", [f"runs={parent / 'runs'}", *overrides]))
    assert run.train(config, ["crl"], parts) == 0
    (found,) = (parent / "runs").iterdir()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter]:
    """A run with a part that nothing has interrupted."""
    counter = Counter()
    return trained(tmp_path_factory.mktemp("whole"), counter), counter


@pytest.fixture
def killed(whole: tuple[Path, Counter], tmp_path: Path) -> Path:
    """A copy of it whose newest checkpoint is half of the way."""
    found = Path(shutil.copytree(whole[0], tmp_path / "run"))
    (found / "results.json").unlink()
    shutil.rmtree(found / "checkpoints" / "800")
    return found


def test_a_part_is_told_what_happens_logged_and_saved(whole: tuple[Path, Counter]) -> None:
    found, counter = whole
    assert counter.told == ["started at 0", "ended", "closed"]
    saved = storage.read(found / "checkpoints" / "400", ["run"])["run"]
    assert saved["parts"]["counter"] == {"count": 10}  # the last of its updates counts, too
    rows = (found / "counts.csv").read_text().splitlines()
    assert rows[0] == "count," + ",".join(f"from {hundred}00" for hundred in range(9))
    assert [row.split(",")[0] for row in rows[1:]] == [str(count) for count in range(1, 21)]
    with (found / "progress.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["counter/count"] == "0"


def test_its_state_and_its_log_come_back(killed: Path, whole: tuple[Path, Counter]) -> None:
    with (killed / "counts.csv").open("a") as file:
        file.write("half a r")
    counter = Counter()
    assert run.resume(killed, ["crl"], [counter]) == 0
    assert counter.told == ["restored at 0", "started at 400", "ended", "closed"]
    assert counter.count == 20
    assert (killed / "counts.csv").read_bytes() == (whole[0] / "counts.csv").read_bytes()
    # And from the start, where no checkpoint is left.
    shutil.rmtree(killed / "checkpoints")
    (killed / "results.json").unlink()
    assert run.resume(killed, ["crl"], [Counter()]) == 0
    assert (killed / "counts.csv").read_bytes() == (whole[0] / "counts.csv").read_bytes()


def refused(found: Path, *parts: Part) -> str:
    """The sentence that refuses to go on; nothing is changed, and a part that never began is closed."""
    before = {path: path.stat().st_mtime_ns for path in found.rglob("*") if ".claims" not in path.parts}
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        run.resume(found, ["crl"], parts)
    assert {path: path.stat().st_mtime_ns for path in found.rglob("*") if ".claims" not in path.parts} == before
    return str(caught.value).replace(str(found), "RUN")


class Other(Part):
    name = "other"


def test_other_parts_than_it_was_saved_with_are_refused(killed: Path) -> None:
    start = "the run cannot go on from 'RUN/checkpoints/400': it "
    assert refused(killed) == f'{start}holds what this run has no part for: "counter"; give it these parts'
    counter = Counter()
    assert refused(killed, counter, Other()) == (
        f'{start}lacks parts of this run: "other"; leave them out, or train anew'
    )
    assert counter.told == ["closed"]


def test_a_log_that_does_not_fit_is_refused_as_progress_csv_is(killed: Path) -> None:
    content = (killed / "counts.csv").read_bytes()
    (killed / "counts.csv").write_bytes(content.replace(b"\n5,", b"\n55,"))
    assert "'RUN/counts.csv' has no row that ends where the checkpoint saw its end, at byte" in refused(
        killed, Counter()
    )


class Outside(Part):
    name = "outside"
    log_files = ("../outside.csv",)


class Same(Part):
    name = "same"
    log_files = ("progress.csv",)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([Counter(), Counter()], 'two parts of the run have the name "counter"; give one of them another'),
        ([Same()], 'two parts of the run have the log file "progress.csv"; give one of them another'),
        ([Outside()], 'the part "outside" of the run has the log file "../outside.csv"; give the name of a CSV file'),
    ],
)
def test_parts_that_cannot_be_together(
    parts: list[Part], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Any] = []
    monkeypatch.setattr(envs.StreamVectorEnv, "close", lambda env: closed.append(env))
    with pytest.raises(ConfigError) as caught:
        trained(tmp_path, *parts)
    assert str(caught.value).startswith(sentence)
    assert not (tmp_path / "runs").exists()
    assert len(closed) == 1  # the games had been built already


# ---------------------------------------------------------------------- by a config


@pytest.fixture
def registered() -> Iterator[None]:
    part("counter", summary="counts")(Counter)
    yield
    del PARTS["counter"]


@pytest.mark.usefixtures("registered")
def test_a_config_names_parts_and_their_arguments(tmp_path: Path) -> None:
    found = trained(tmp_path, overrides=("parts=[{name: counter, first: 5}]",))
    assert (found / "counts.csv").read_text().splitlines()[-1].startswith("25,")
    (each,) = load(found / "config.yaml").parts
    assert (each.name, each.arguments()) == ("counter", {"first": 5})


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("{name: count}", "parts.0.name=\"count\" is not a known part; did you mean 'counter'?"),
        ("{name: counter, first: 1.5}", "parts.0.first=1.5 is not a whole number"),
        ("{name: counter, frist: 1}", "parts.0.frist=1 is not a known key; did you mean 'first'?"),
        ("{name: counter, first: -1}", "parts.0.first is -1; give 0 or more"),
    ],
)
def test_what_a_config_cannot_say_of_parts(given: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    with pytest.raises(ConfigError) as caught:
        check_arguments(load(tmp_path / "tiny.yaml", [f"parts=[{given}]"]))
    assert str(caught.value).startswith(sentence)


def test_a_part_that_nobody_has_registered(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "tiny.yaml", ["parts=[{name: evaluations}]"])
    assert str(caught.value) == (
        'parts.0.name="evaluations" is not a known part; give the module that registers it in imports'
    )
