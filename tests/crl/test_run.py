"""Real runs through the command line: what they write, that they repeat exactly, and how they end."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from processes import Process, full, unread
from saved import policy_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Trained = tuple[Path, "subprocess.CompletedProcess[str]"]

NETWORKS = ("actor", "critic", "features")
METRICS = (
    "dormant_ratio_0", "dormant_ratio", "dormant_ratio_0.1", "fau", "grama_ratio", "signal", "grad_norm",
    "srank", "effective_rank", "stable_rank", "dominant_share", "ntk_rank", "weight_norm",
)  # fmt: skip
ALWAYS = {f"plasticity/{network}/{metric}" for network in NETWORKS for metric in METRICS}
ALWAYS |= {"plasticity/actor/entropy", "plasticity/actor/saturation"}
CHURN = {"plasticity/actor/policy_churn", "plasticity/critic/value_churn", "plasticity/critic/value_churn_abs"}
UPDATES = {f"plasticity/{network}/update_norm" for network in NETWORKS}
ALWAYS |= {f"reset/{network}/units" for network in NETWORKS} | {"task/index", "task/segment"}


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def results_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def test_folder(trained: Trained) -> None:
    run, result = trained
    assert result.returncode == 0
    assert result.stderr == (
        "crl: warning: no checkpoint falls due in a visit of breakout, so that best/ will have no parameters for it; "
        "give checkpoint.every=256 or less\n"
    )
    assert [path.name for path in (run / "best").iterdir()] == ["asterix"]
    assert re.fullmatch(r"tiny__ppo__gxd__s3__\d{8}T\d{6}Z", run.name)
    events = [path.name for path in run.glob("events.out.tfevents.*")]
    assert len(events) == 1
    assert {path.name for path in run.iterdir()} - set(events) == {
        ".claims", ".config_hash", "config.yaml", "command.txt", "versions.txt", "progress.csv", "checkpoints", "best",
        "model.zip", "results.json",
    }  # fmt: skip
    assert (run / "command.txt").read_text() == "crl train tiny.yaml 'runs=my runs'\n"
    assert "threads 1\n" in (run / "versions.txt").read_text()
    checkpoint = run / "checkpoints" / "1024"
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["1024"]
    assert (checkpoint / "config.yaml").read_text() == (run / "config.yaml").read_text()


def test_resolved_config(trained: Trained) -> None:
    config = yaml.safe_load((trained[0] / "config.yaml").read_text())
    assert config["stream"] == {
        "tasks": ["breakout", "asterix"], "label": "tiny", "steps_per_task": 250, "cycles": 2,
        "order": "sequence",
        "lengths": "fixed", "boundary": "hidden", "align": "rollout", "seed": 3, "episode_limit": 2500,
    }  # fmt: skip
    assert (config["agent"]["activation"], config["agent"]["gae_lambda"]) == ("relu", 0.95)
    assert config["interventions"] == [
        {
            "name": "gxd",
            "networks": [*NETWORKS],
            "rate": 0.01,
            "budget": None,
            "reference": "zero",
            "reduction": "abs_mean",
            "signal": "loss",
            "period": 5,
            "maturity": 5,
            "score_every": 1,
        }
    ]


def test_screen(trained: Trained) -> None:
    run, result = trained
    lines = result.stdout.splitlines()
    rounding = "segments are rounded up to multiples of 64 steps: 1,024 steps in all instead of 1,000"
    assert lines[0].startswith(rounding)
    assert result.stdout.count("rounded") == 1
    assert lines[1] == f"run folder: {run.relative_to(run.parents[1])}"
    pattern = (
        r"visit (\d) of 4: (\w+), return [\d.-]+, done at ([\d,]+) steps after 0:\d\d:\d\d, [\d,]+ steps/s, (.*) left"
    )
    told = [match.groups() for line in lines if (match := re.fullmatch(pattern, line))]
    assert [words[:3] for words in told] == [
        ("1", "breakout", "256"), ("2", "asterix", "512"), ("3", "breakout", "768"), ("4", "asterix", "1,024"),
    ]  # fmt: skip
    assert told[-1][3] == "0:00:00"
    assert lines[-3] == f"figure: crl plot {shlex.quote(str(run.relative_to(run.parents[1])))}"
    assert lines[-1] == "then open http://localhost:6006/#custom_scalars&_smoothingWeight=0"
    program, logdir, runs = shlex.split(lines[-2].removeprefix("curves: "))
    assert (Path(program).name, logdir, runs) == ("tensorboard", "--logdir", "my runs")
    resets = results_of(run)["resets"]
    assert f"units reset: actor {resets['actor']}, critic {resets['critic']}, features {resets['features']}" in lines


def test_results(trained: Trained) -> None:
    run, _ = trained
    results = results_of(run)
    assert (results["status"], results["steps"], results["gradient_steps"]) == ("done", 1024, 16 * 2 * 2)
    assert isinstance(results["train_seconds"], float)
    assert 0 < results["train_seconds"] < results["seconds"]
    # Its own process has loaded torch: more than 100 MB, and less than this machine has.
    assert 1e8 < results["peak_memory"]["process"] < psutil.virtual_memory().total
    assert re.fullmatch(r"[0-9a-f]{16}", results["config_hash"])
    assert [(v["task"], v["visit"], v["start"], v["steps"]) for v in results["visits"]] == [
        ("breakout", 1, 0, 256), ("asterix", 1, 256, 256), ("breakout", 2, 512, 256), ("asterix", 2, 768, 256),
    ]  # fmt: skip
    assert all((v["mean_return"] is None) == (v["episodes"] == 0) for v in results["visits"])
    assert sum(v["episodes"] for v in results["visits"]) > 0
    assert all(results["resets"][network] > 0 for network in NETWORKS)
    for network in NETWORKS:
        logged = sum(int(row[f"reset/{network}/units"]) for row in rows_of(run))
        assert 0 < logged <= results["resets"][network]  # SB3 logs before its last update


def test_every_row_has_every_tag(trained: Trained) -> None:
    rows = rows_of(trained[0])
    assert [int(row["time/total_timesteps"]) for row in rows] == list(range(64, 1025, 64))
    for row in rows:
        assert all(row[tag] != "" for tag in ALWAYS)
        assert 0 <= float(row["plasticity/actor/dormant_ratio"]) <= 1
        assert float(row["plasticity/features/effective_rank"]) >= 1
    for number, row in enumerate(rows):  # changes since the row before; a segment of 4 rows begins with a new probe
        assert all((row[tag] == "") == (number == 0) for tag in UPDATES)
        assert all((row[tag] == "") == (number % 4 == 0) for tag in CHURN)
    measured = {tag for tag in rows[1] if tag.startswith("plasticity/")}
    assert measured == {tag for tag in ALWAYS | CHURN | UPDATES if tag.startswith("plasticity/")}
    assert [row["task/index"] for row in rows] == (["0"] * 4 + ["1"] * 4) * 2
    assert [row["task/segment"] for row in rows] == [str(n) for n in range(4) for _ in range(4)]
    for row in rows:
        task, other = ("breakout", "asterix") if row["task/index"] == "0" else ("asterix", "breakout")
        assert row[f"Return/{other}"] == ""
        assert (row[f"Return/{task}"] == "") == (row[f"episode_length/{task}"] == "")
    assert sum(row["Return/breakout"] != "" for row in rows) > 4
    assert "rollout/ep_rew_mean" in rows[0]
    assert "train/loss" in rows[0]


def test_tensorboard(trained: Trained) -> None:
    events = EventAccumulator(str(trained[0]), size_guidance={"scalars": 0})
    events.Reload()
    rows = rows_of(trained[0])
    for tag in ALWAYS:
        scalars = events.Scalars(tag)
        assert [event.step for event in scalars] == list(range(64, 1025, 64)), tag
        assert [event.value for event in scalars] == pytest.approx([float(row[tag]) for row in rows], rel=1e-6), tag
    layout = layout_pb2.Layout()
    layout.ParseFromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {f"{c.title}/{chart.title}": list(chart.multiline.tag) for c in layout.category for chart in c.chart}
    assert [c.title for c in layout.category if not c.closed] == [
        "return", "return by visit", "units reset so far", "plasticity: units",
    ]  # fmt: skip
    assert charts["return/breakout"] == ["Return/breakout$"]
    assert charts["units reset so far/actor"] == ["reset/actor/total$"]
    assert {"plasticity: units/dormant ratio: critic", "cost of the resets/realised"} <= charts.keys()
    written = events.Tags()["scalars"]
    assert not any(title.startswith("plasticity: trainability/") for title in charts)  # not of a run this short
    patterns = [pattern for chart in charts.values() for pattern in chart]
    shown = [[tag for tag in written if re.match(pattern, tag)] for pattern in patterns]
    assert all(len(tags) == 1 for tags in shown)  # a chart shows one curve of each run
    measures = {tag for tag in ALWAYS | CHURN | UPDATES if tag.startswith("plasticity/")}
    assert {tag for tags in shown for tag in tags} >= measures


def test_curves_are_broken_where_a_task_comes_again(trained: Trained) -> None:
    run, _ = trained
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    for number, task in enumerate(("breakout", "asterix")):
        points = [(event.step, event.value) for event in events.Scalars(f"Return/{task}")]
        rows = [
            (int(r["time/total_timesteps"]), float(r[f"Return/{task}"])) for r in rows_of(run) if r[f"Return/{task}"]
        ]
        (gap,) = (step for step, value in points if math.isnan(value))
        assert gap == 512 + 256 * number  # the beginning of its second visit; the CSV file has nothing there
        drawn = {step: value for step, value in points if not math.isnan(value)}
        assert drawn == pytest.approx(dict(rows), rel=1e-6)


def test_returns_over_the_number_of_the_visit(trained: Trained) -> None:
    run, _ = trained
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    found = {
        (tag.removeprefix("Return_by_visit/"), event.step): event.value
        for tag in events.Tags()["scalars"] if tag.startswith("Return_by_visit/") for event in events.Scalars(tag)
    }  # fmt: skip
    known = [v for v in results_of(run)["visits"] if v["episodes"]]
    visits = {(v["task"], v["visit"]): v["mean_return"] for v in known}
    of_all = {("all_tasks", v["segment"] + 1): v["mean_return"] for v in known}
    assert found == pytest.approx(visits | of_all, rel=1e-6)
    assert len(visits) >= 2
    assert not any("Return_by_visit" in tag for tag in rows_of(run)[0])


def test_its_own_config_repeats_a_run_exactly(trained: Trained, crl: Command) -> None:
    run, _ = trained
    result = crl("train", str(run / "config.yaml"), "runs=again", cwd=run.parents[1])
    assert result.returncode == 0
    (second,) = (run.parents[1] / "again").iterdir()
    assert results_of(second)["config_hash"] == results_of(run)["config_hash"]
    assert results_of(second)["visits"] == results_of(run)["visits"]
    one, two = (policy_of(folder / "checkpoints" / "1024") for folder in (run, second))
    assert one.keys() == two.keys()
    assert len(one) > 12
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_model_holds_what_the_checkpoint_holds(trained: Trained) -> None:
    from agents import PPO

    model = PPO.load(trained[0] / "model.zip", device="cpu")
    tensors = policy_of(trained[0] / "checkpoints" / "1024")
    state = model.policy.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in state)


def test_plain_run_aligned_to_steps(tiny: Path, crl: Command) -> None:
    overrides = ["interventions=[]", "stream={align: step, steps_per_task: 150, cycles: 1}", "seed=4", "runs=r"]
    result = crl("train", "tiny.yaml", *overrides, cwd=tiny)
    assert result.returncode == 0
    assert result.stdout.startswith("segments are rounded up to multiples of 4 steps: 304 steps in all instead of 300")
    (run,) = (tiny / "r").iterdir()
    assert run.name.startswith("tiny__ppo__plain__s4__")
    results = results_of(run)
    assert results["steps"] == 304  # the last rollout goes to 320, and its last steps do not count
    assert results["gradient_steps"] == 5 * 4
    assert results["resets"] == dict.fromkeys(NETWORKS, 0)
    assert (run / "checkpoints" / "320").is_dir()
    rows = rows_of(run)
    assert [row["task/index"] for row in rows] == ["0", "0", "1", "1", "1"]
    for row in rows:
        assert all(row.get(tag, "") != "" for tag in ALWAYS)
        assert all(row[f"reset/{network}/units"] == "0" for network in NETWORKS)


BROKEN = """
import gymnasium
import numpy as np

class Broken(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(3, np.float32), {}

    def step(self, action):
        Broken.steps += 1
        if Broken.steps > 100:
            raise RuntimeError("the world\\nhas ended")
        return np.zeros(3, np.float32), 1.0, Broken.steps % 7 == 0, False, {}

gymnasium.register("Broken-v0", Broken)
"""


def test_a_run_that_is_too_short_for_its_resets_says_so_in_one_line(tiny: Path, crl: Command) -> None:
    """2 rollouts of 4 gradient steps."""
    overrides = ["stream.cycles=1", "stream.steps_per_task=64", "interventions.0.maturity=9", "checkpoint.every=64"]
    result = crl("train", "tiny.yaml", *overrides, cwd=tiny)
    assert result.returncode == 0
    assert result.stderr.splitlines() == [
        "crl: warning: this run makes at most 8 gradient steps, too few for gxd (maturity 9), so that nothing is "
        "reset or changed there; give smaller numbers or more steps"
    ]


def test_a_failed_run_leaves_a_report(tiny: Path, crl: Command, tmp_path: Path) -> None:
    (tmp_path / "broken_world.py").write_text(BROKEN)
    result = crl(
        "train", "tiny.yaml", 'stream.tasks=["broken_world:Broken-v0"]', "agent.features=null", "agent.net_arch=null",
        "interventions=[]", "runs=r", cwd=tiny, paths=(tmp_path,),
    )  # fmt: skip
    assert result.returncode == 1
    (run,) = (tiny / "r").iterdir()
    assert result.stderr.splitlines() == [
        "crl: the run failed at step 100 with RuntimeError: the world has ended; correct the environment, then resume "
        f"the run (the report is in {run.relative_to(tiny) / 'crash-100.txt'})"
    ]
    report = (run / "crash-100.txt").read_text()
    assert report.startswith("at step 100: the world has ended\n\nTraceback")
    assert 'raise RuntimeError("the world\\nhas ended")' in report
    assert report.endswith((run / "config.yaml").read_text())
    assert not (run / "checkpoints").exists()
    assert not (run / "results.json").exists()
    resolved = yaml.safe_load((run / "config.yaml").read_text())["agent"]
    assert (resolved["features"], resolved["activation"]) == ("flatten", "tanh")
    assert resolved["net_arch"] == {"pi": [64, 64], "vf": [64, 64]}


def test_interrupted_run_is_saved(tiny: Path) -> None:
    process = Process("train", "tiny.yaml", "stream.steps_per_task=10_000_000", "runs=r", cwd=tiny)
    try:
        process.until(lambda: any(path.stat().st_size for path in tiny.glob("r/*/progress.csv")))
        process.send(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.kill()
    finishing = (
        r"\nfinishing this rollout and update \((about|longer|the first).+\), then saving; Ctrl-C again exits at once\n"
    )
    assert re.fullmatch(finishing, process.errors())
    (run,) = (tiny / "r").iterdir()
    results = results_of(run)
    assert results["status"] == "interrupted"
    assert 64 <= results["steps"] < 10_000_000
    assert [v["mean_return"] for v in results["visits"]][1:] == [None] * 3
    assert process.printed().splitlines()[-5:-3] == [
        f"run folder: {run.relative_to(tiny)}", f"to go on: crl resume {run.relative_to(tiny)}",
    ]  # fmt: skip
    assert (run / "model.zip").stat().st_size > 1000
    tensors = policy_of(run / "checkpoints" / str(results["steps"]))
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert results["gradient_steps"] == results["steps"] // 64 * 4


LOST = "crl: warning: standard output cannot be written ({}); what is printed from here on is lost\n"


@pytest.mark.parametrize(("output", "warning"), [(unread, ""), (full, LOST.format(os.strerror(errno.ENOSPC)))])
def test_a_run_goes_on_when_nobody_reads_what_it_prints(output: Callable[[], None], warning: str, tiny: Path) -> None:
    shorter = ["stream.cycles=1", "stream.steps_per_task=64", "checkpoint.every=64"]
    process = Process("train", "tiny.yaml", *shorter, "runs=r", cwd=tiny, output=output)
    assert (process.wait(), process.errors()) == (0, warning)
    (run,) = (tiny / "r").iterdir()
    assert results_of(run)["status"] == "done"
    assert (run / "model.zip").exists()
    assert not (run / ".model.zip").exists()


def test_train_seconds_reach_to_the_end_of_the_last_update(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves by one second in every update and never else."""
    from agents import PPO
    from crl import run
    from crl.config import check_arguments, load

    now = 100.0
    train = PPO.train

    def slow(model: Any) -> None:
        nonlocal now
        train(model)
        now += 1.0

    monkeypatch.setattr(PPO, "train", slow)
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    overrides = ["stream.cycles=1", "stream.steps_per_task=64", f"runs={tiny / 'r'}", "threads=1"]
    assert run.train(check_arguments(load(tiny / "tiny.yaml", overrides)), ["crl"]) == 0
    (folder,) = (tiny / "r").iterdir()
    assert results_of(folder)["train_seconds"] == 2.0


def test_ctrl_c_before_the_run_has_a_folder_ends_the_process(python: Command, tmp_path: Path) -> None:
    program = """
import os, signal
import crl.cli
def app(words, standalone_mode):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # as minatar does around an import
        pass
    print("still here", flush=True)
crl.cli.app = app
crl.cli.main()
"""
    result = python("-c", program, cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")
