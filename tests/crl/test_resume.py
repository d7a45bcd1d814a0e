"""``crl resume`` after kills, interruptions and damage: the run ends as the one that was never stopped."""

from __future__ import annotations

import random
import re
import shlex
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from compared import assert_equal, checkpoints_of, results_of
from processes import SUPPORT, Process, closed, crl

from crl import run_folder

WORLD = SUPPORT / "walk_world.py"

CONFIGS = {
    "ppo": """
stream:
  tasks:
    - id: cartpole
      gravity: {uniform: [8, 12]}
      shifts:
        - pixel_permutation
        - {name: observation_noise, std: 0.1}
        - {name: sticky_actions, probability: {uniform: [0, 0.5]}}
      drift:
        length: {kind: random_walk, start: 0.5, std: 0.05, low: 0.2, high: 1.0, every: 10}
        observation_noise.std: {kind: sinusoidal, mean: 0.1, amplitude: 0.1, period: 70}
      variants: 2
    - id: cartpole
      shifts: [pixel_permutation, {name: observation_noise, std: {uniform: [0, 0.2]}}]
      variants: 6
      steps: 70
  steps_per_task: 90
  order: shuffle
  lengths: poisson
  align: step
  boundary: revealed
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 2, net_arch: {pi: [8], vf: [8]}, activation: crelu,
  norm: rms, dropout: 0.1, injectable: true}
normalize: {obs: true, reward: true}
at_switch: {optimizer: reset}
interventions:
  - {name: plasticity_injection}
  - {name: gxd, networks: [actor, critic], rate: 1e-2, period: 5, maturity: 5, score_every: 1}
checkpoint: {every: 80, keep: 4}
""",
    "ppo of two shapes": """
stream:
  tasks:
    - {id: mountain_car, drift: {force: {kind: random_walk, start: 1e-3, std: 1e-4, low: 5e-4, high: 2e-3, every: 10}}}
    - {id: acrobot, shifts: [{name: observation_noise, std: {uniform: [0, 0.2]}}], variants: 2}
  steps_per_task: 60
  cycles: 2
  boundary: observed
  spaces: {observations: pad, actions: union}
agent: {name: ppo, n_envs: 2, n_steps: 10, batch_size: 10, n_epochs: 2, net_arch: {pi: [8], vf: [8]}}
normalize: {obs: true}
at_switch: {optimizer: reset}
interventions: [full_reset, {name: gxd, rate: 1e-2, period: 5, maturity: 5, score_every: 1}]
evaluation: {every: 60, episodes: 2, limit: 5, dense: 0, share: 1}
checkpoint: {every: 40, keep: 8}
""",
    "dqn": """
stream: {name: cchain/cartpole, steps_per_task: 60, cycles: 1, boundary: revealed}
agent: {name: dqn, n_envs: 2, buffer_size: 40, learning_starts: 20, train_freq: 2, batch_size: 8, net_arch: [8],
  target_update_interval: 64, double_q: true, epsilon_per_env: true, network: simba, dropout: 0.1,
  injectable: true, replay: prioritized, n_steps: 3}
at_switch: {replay: clear, exploration: restart, random_steps: 20}
interventions:
  - {name: plasticity_injection, step: 30}
  - {name: fire, period: 40, linear: restore}
  - {name: redo, networks: [critic], period: 20, tau: 0.5, samples: 32}
  - {name: gxd, networks: [critic], rate: 1e-2, period: 10, maturity: 5, score_every: 1}
checkpoint: {every: 60, keep: 3}
""",
    "sac": """
stream: {name: pendulum5, steps_per_task: 70}
agent: {name: sac, buffer_size: 100, learning_starts: 40, train_freq: 10, gradient_steps: 3, batch_size: 8,
  net_arch: {pi: [8, 8], qf: [8]}, norm: layer, activation: fourier, optimizer: upgd, use_sde: true, sde_sample_freq: 2,
  action_noise: {name: ornstein_uhlenbeck, sigma: 0.1}}
normalize: {obs: true, reward: true}
interventions:
  - {name: regrama, networks: [actor, critic], period: 20, maturity: 20, tau: 0.5, score_every: 2}
checkpoint: {every: 40, keep: 3}
""",
    "td3": """
stream: {name: pendulum5, steps_per_task: 80, boundary: revealed}
agent: {name: td3, n_envs: 2, buffer_size: 50, learning_starts: 20, train_freq: 4, gradient_steps: 3, batch_size: 8,
  action_noise: {name: ornstein_uhlenbeck, sigma: 0.2}, net_arch: [8], activation: aid,
  optimizer: muon}
normalize: {obs: true}
at_switch: {replay: clear, exploration: restart, random_steps: 20, optimizer: reset}
interventions:
  - {name: redo, networks: [actor, critic], period: 20, tau: 0.5, samples: 32}
  - {name: gxd, networks: [actor, critic], rate: 1e-2, period: 10, maturity: 5, score_every: 2}
checkpoint: {every: 40, keep: 3}
""",
    "rebuilt ppo": """
imports: [walk_world]
stream: {tasks: [Walk-v0, {id: Walk-v0, noise: 0.6}], steps_per_task: 240}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 2, net_arch: {pi: [8], vf: [8]},
  optimizer: trac}
normalize: {obs: true, reward: true}
checkpoint: {every: 60, keep: 3}
""",
    "rebuilt dqn": """
imports: [walk_world]
stream: {tasks: [Walk-v0, {id: Walk-v0, noise: 0.6}], steps_per_task: 240}
agent: {name: dqn, n_envs: 2, buffer_size: 300, learning_starts: 60, train_freq: 2, batch_size: 8, net_arch: [8],
  optimize_memory_usage: true, replay_buffer_kwargs: {handle_timeout_termination: false},
  replay: {name: prioritized, beta: 0.5}}
checkpoint: {every: 60, keep: 3}
""",
}
"""All of them end within a second or so, and write about eight checkpoints."""
KILLS = 2  # of the run, and of one that went on
COMMON = "seed: 3\ndevice: cpu\nthreads: 1\n"


def run_in(folder: Path) -> Path:
    (run,) = (folder / "runs").iterdir()
    return run


def configured(folder: Path, kind: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(CONFIGS[kind] + COMMON)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Kind -> the folder of a run that was never stopped, which all tests share."""
    found: dict[str, Path] = {}

    def run(kind: str) -> Path:
        if kind not in found:
            folder = configured(tmp_path_factory.mktemp("uninterrupted"), kind)
            process = crl("train", "config.yaml", cwd=folder)
            assert (process.wait(), process.errors()) == (0, "")
            found[kind] = run_in(folder)
            assert (sum(results_of(found[kind])["resets"].values()) > 0) == ("interventions" in CONFIGS[kind])
        return found[kind]

    return run


def begun(folder: Path, kind: str) -> tuple[Process, Path]:
    """A process that trains and has written its config."""
    process = Process("train", "config.yaml", cwd=configured(folder, kind))
    process.until(lambda: list(folder.glob("runs/*/config.yaml")))
    return process, run_in(folder)


def resumed(run: Path, cwd: Path) -> Process:
    process = crl("resume", str(run), cwd=cwd, name="resume")
    assert process.wait() == 0, process.errors()
    return process


def refused(run: Path, cwd: Path) -> str:
    """The sentence that refuses to resume."""
    before = (
        {path: path.stat().st_mtime_ns for path in run.rglob("*") if ".claims" not in path.parts}
        if run.exists()
        else {}
    )
    process = crl("resume", str(run), cwd=cwd, name="refused")
    assert (process.wait(), process.printed()) == (2, "")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    (line,) = process.errors().splitlines()
    return line.removeprefix("crl: ").replace(str(run), "RUN")


# ---------------------------------------------------------------------- kills


@pytest.mark.parametrize("kind", CONFIGS)
def test_kills_at_random_moments_leave_no_trace(kind: str, tmp_path: Path, uninterrupted: Any) -> None:
    expected = uninterrupted(kind)
    total = results_of(expected)["steps"]
    draw = random.Random()
    process, run = begun(tmp_path, kind)
    kills = []
    for number in range(KILLS):
        # Within the next few checkpoints, be it while one is written, or before there is one.
        steps = (checkpoints_of(run) or [0])[-1] + draw.uniform(0, 0.6 * total / KILLS)
        process.until(lambda steps=steps: (checkpoints_of(run) or [0])[-1] >= steps)  # type: ignore[misc]
        time.sleep(draw.uniform(0, 0.05))
        assert not process.ended(), (number, process.errors())
        process.kill()
        kills.append(checkpoints_of(run))
        process = Process("resume", str(run), cwd=tmp_path, name=f"resume {number}")
    assert process.wait() == 0, process.errors()
    told = [f"crl: imports.0 of the run's config runs '{WORLD}'"] if "imports" in CONFIGS[kind] else []
    assert process.errors().splitlines() == told
    assert_equal(run, expected)
    assert len((run / "command.txt").read_text().splitlines()) <= 1 + KILLS


def test_a_kill_before_the_first_checkpoint_starts_again(tmp_path: Path, uninterrupted: Any) -> None:
    process, run = begun(tmp_path, "rebuilt ppo")
    process.until(lambda: (run / "progress.csv").exists())
    process.kill()
    assert checkpoints_of(run) == []
    assert "starting again: there is no checkpoint yet" in resumed(run, tmp_path).printed().splitlines()
    assert_equal(run, uninterrupted("rebuilt ppo"))


def unended(expected: Path, folder: Path, lost: int = 0) -> Path:
    """A copy of a run that was killed after its last checkpoint, or so many checkpoints before it."""
    run = Path(shutil.copytree(expected, folder))
    for name in ("results.json", "model.zip", "vecnormalize.pkl"):
        (run / name).unlink(missing_ok=True)
    steps = checkpoints_of(run)
    for step in steps[len(steps) - lost :]:
        shutil.rmtree(run / "checkpoints" / str(step))
    return run


@pytest.mark.parametrize("kind", ["ppo", "sac"])  # with and without a rollout that is the learner's own
def test_a_kill_after_the_last_checkpoint(kind: str, tmp_path: Path, uninterrupted: Any) -> None:
    expected = uninterrupted(kind)
    run = unended(expected, tmp_path / "run")
    resumed(run, tmp_path)
    assert_equal(run, expected)
    assert (run / "model.zip").exists()


def test_a_kill_while_the_only_checkpoint_was_replaced(tmp_path: Path, uninterrupted: Any) -> None:
    """At its end a run replaces a checkpoint of the same step: in between it has no name."""
    expected = uninterrupted("ppo")
    run = unended(expected, tmp_path / "run")
    *older, last = checkpoints_of(run)
    for step in older:
        shutil.rmtree(run / "checkpoints" / str(step))
    best = next((run / "best").iterdir())
    for path in (run / "checkpoints" / str(last), best):
        path.rename(path.with_name(f".{path.name}.old.tmp"))
        path.with_name(f".{path.name}.tmp").mkdir()
        (path.with_name(f".{path.name}.tmp") / "learner.json").write_text("{")
    assert checkpoints_of(run) == []
    process = resumed(run, tmp_path)
    assert f"going on from {run / 'checkpoints' / str(last)}" in process.printed().splitlines()
    assert_equal(run, expected)
    assert {path.name for path in (run / "best").iterdir() if path.name[0] != "."} == {
        path.name for path in (expected / "best").iterdir()
    }
    assert [path.name for path in (run / "checkpoints").iterdir()] == [str(last)]


def test_a_kill_while_a_checkpoint_was_written(tmp_path: Path, uninterrupted: Any) -> None:
    expected = uninterrupted("dqn")
    run = unended(expected, tmp_path / "run")
    *_, before, last = checkpoints_of(run)
    unfinished = (run / "checkpoints" / str(last)).rename(run / "checkpoints" / f".{last}.tmp")
    for path in unfinished.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    process = resumed(run, tmp_path)
    assert f"going on from {run / 'checkpoints' / str(before)}" in process.printed().splitlines()
    assert not unfinished.exists()
    assert_equal(run, expected)


def test_a_folder_with_an_odd_name_that_was_moved(tmp_path: Path, uninterrupted: Any) -> None:
    moved = unended(uninterrupted("ppo"), tmp_path / ' läuf [ß] \'n "q" 走る', lost=1)
    process = crl("resume", f"./{moved.name}/", cwd=tmp_path, name="resume")
    assert (process.wait(), process.errors()) == (0, "")
    assert_equal(moved, uninterrupted("ppo"))
    assert shlex.split((moved / "command.txt").read_text().splitlines()[-1]) == ["crl", "resume", moved.name]


def test_a_run_that_nobody_reads_goes_on(tmp_path: Path, uninterrupted: Any) -> None:
    run = unended(uninterrupted("ppo"), tmp_path / "run", lost=1)
    process = Process("resume", str(run), cwd=tmp_path, output=closed)
    assert (process.wait(), process.errors()) == (0, "")
    assert_equal(run, uninterrupted("ppo"))


def test_of_two_at_once_one_goes_on(tmp_path: Path, uninterrupted: Any) -> None:
    run = unended(uninterrupted("ppo"), tmp_path / "run", lost=4)  # all of them: there is a whole run to train
    processes = [Process("resume", str(run), cwd=tmp_path, name=f"resume {number}") for number in range(2)]
    codes = [process.wait() for process in processes]
    assert sorted(codes) == [0, 2]
    loser = processes[codes.index(2)]
    assert loser.errors() == f"crl: the run in {str(run)!r} is being trained; wait until that ends, or stop it\n"
    assert_equal(run, uninterrupted("ppo"))


# ---------------------------------------------------------------------- damage


def test_damaged_checkpoints_are_passed_over(tmp_path: Path, uninterrupted: Any) -> None:
    """A flipped bit in the newest's tensors, one in the manifest before it, and half a file before that."""
    run = unended(uninterrupted("ppo"), tmp_path / "run")
    whole, *damaged = checkpoints_of(run)
    for step, name in zip(damaged, ("learner.json", "manifest.json", "learner.safetensors"), strict=True):
        path = run / "checkpoints" / str(step) / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content[:-1] if name == "learner.json" else content)
    process = resumed(run, tmp_path)
    for line, step in zip(process.errors().splitlines(), reversed(damaged), strict=True):
        assert line.startswith(f"crl: warning: checkpoint {step} is passed over: ")
    assert f"going on from {run / 'checkpoints' / str(whole)}" in process.printed().splitlines()
    assert_equal(run, uninterrupted("ppo"))


# ---------------------------------------------------------------------- refusals


def test_refusals(tmp_path: Path, uninterrupted: Any) -> None:
    expected = uninterrupted("ppo")
    assert refused(expected, tmp_path) == ("the run in 'RUN' is finished; train a new one with another seed or config")
    (tmp_path / "no run").mkdir()
    for name in ("no run", "nowhere"):
        assert refused(tmp_path / name, tmp_path) == (
            "'RUN' is no run: it has no config.yaml that crl train has written; give the folder of a run"
        )


def test_a_changed_config_is_refused(tmp_path: Path, uninterrupted: Any) -> None:
    run = unended(uninterrupted("ppo"), tmp_path / "run")
    config = run / "config.yaml"
    before = config.read_text()
    config.write_text(before.replace("seed: 3", "seed: 4"))
    changed = (
        "'RUN/config.yaml' has been changed since the run began, or this version of crl or a module of imports has "
        "other arguments; put the file back (every checkpoint holds a copy), go on with the versions that began the "
        "run, or train the config as a new run"
    )
    assert refused(run, tmp_path) == changed
    (run / "checkpoints").rename(run / "elsewhere")
    assert refused(run, tmp_path) == changed
    (run / "elsewhere").rename(run / "checkpoints")
    config.write_text("agent: [")
    assert "config.yaml" in refused(run, tmp_path)
    # Where and how fast it runs may change.
    config.write_text(before.replace("threads: 1", "threads: 2"))
    warning = "crl: warning: the run was trained with threads 1, and here it is 2: it goes on, but not bit-identically"
    assert resumed(run, tmp_path).errors().splitlines() == [warning]


def test_a_run_that_is_being_trained_is_refused(tmp_path: Path, uninterrupted: Any) -> None:
    run = unended(uninterrupted("ppo"), tmp_path / "run")
    with run_folder.locked(run):
        assert refused(run, tmp_path) == "the run in 'RUN' is being trained; wait until that ends, or stop it"


# ---------------------------------------------------------------------- asked to stop


def test_a_second_signal_ends_it_at_once(tmp_path: Path, uninterrupted: Any) -> None:
    process, run = begun(tmp_path, "ppo")
    process.until(lambda: len(checkpoints_of(run)) >= 2)
    *_, saved, _ = checkpoints_of(run)  # the newest may have its name already, and its writer not yet know that
    process.send(signal.SIGINT)
    process.until(lambda: "finishing" in process.errors())
    process.send(signal.SIGTERM)
    # It may have been quicker with its last checkpoint than the second signal.
    if process.wait() == 143 and not (run / "results.json").exists():
        last = process.errors().splitlines()[-1]
        assert last.startswith(f"not saved any more; crl resume goes on from {run.relative_to(tmp_path)}/checkpoints/")
        assert int(last.rpartition("/")[2]) >= saved
    resumed(run, tmp_path)
    assert_equal(run, uninterrupted("ppo"))


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, "ppo"), (signal.SIGTERM, "dqn")])
def test_a_run_that_was_asked_to_stop_goes_on(number: int, kind: str, tmp_path: Path, uninterrupted: Any) -> None:
    process, run = begun(tmp_path, kind)
    process.until(lambda: len(checkpoints_of(run)) >= 2)
    process.send(number)
    assert process.wait() == {signal.SIGINT: 130, signal.SIGTERM: 143}[signal.Signals(number)]
    assert re.fullmatch(
        r"\nfinishing this rollout and update \(.+\), then saving; Ctrl-C again exits at once\n", process.errors()
    )
    results = results_of(run)
    assert (results["status"], results["steps"]) == ("interrupted", checkpoints_of(run)[-1])
    assert (run / "model.zip").exists()
    resumed(run, tmp_path)
    assert_equal(run, uninterrupted(kind))
