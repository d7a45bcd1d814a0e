"""What the README and its pages in `docs` show is what happens."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest
import torch
import yaml
from fake_pool import install
from small_loop import Regression
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import plasticity
from benchmarks import ablations
from crl.config import load

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def block(before: str) -> str:
    """The text of the code block that follows `before`."""
    found = re.search(re.escape(before) + r"\s*```\w*\n(.*?)```", TEXT, re.DOTALL)
    assert found, before
    return found.group(1)


def test_the_python_example_trains_resets_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = block("<!-- example -->")
    assert len(list(filter(None, code.splitlines()))) == 10
    for large, small in {
        "500_000": "128", "n_envs=64": "n_envs=4",
        '"n_steps": 128': '"n_steps": 32', '"batch_size": 1024': '"batch_size": 16',
        "GXD(rate=1e-4)": "GXD(rate=0.05, period=8, maturity=8, score_every=2)",
    }.items():  # fmt: skip
        assert large in code
        code = code.replace(large, small)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    variables: dict = {}
    exec(compile(code, "README.md", "exec"), variables)
    printed = capsys.readouterr().out
    counts = variables["model"].units_reset()
    assert str(counts) in printed
    assert set(counts) == {"actor", "critic", "features"}
    assert all(count > 0 for count in counts.values())
    assert variables["model"].num_timesteps == 6 * 128
    helpers = block("<!-- helpers -->").replace("n_eval_episodes=20", "n_eval_episodes=2")
    exec(compile(helpers, "README.md", "exec"), variables)
    assert variables["mean"] >= 0
    events = EventAccumulator(str(tmp_path / "runs" / "PPO_1")).Reload()
    assert {"task/segment", "plasticity/actor/dormant_ratio", "reset/actor/units"} <= set(events.Tags()["scalars"])
    loaded = type(variables["model"]).load(tmp_path / "runs/my_model", device="cpu")
    saved = variables["model"].policy.state_dict()
    assert all(torch.equal(saved[name], tensor) for name, tensor in loaded.policy.state_dict().items())


def test_a_run_is_trained_from_python(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import crl

    given: list[list[str]] = []
    found = SimpleNamespace(folder="runs/x", visits=[SimpleNamespace(task="breakout", mean_return=1.5)])
    monkeypatch.setattr(crl, "train", lambda path, overrides: given.append([path, *overrides]) or found, raising=False)
    exec(compile(block("<!-- run -->"), "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["runs/x [('breakout', 1.5)]"] * 3
    for seed, (path, *overrides) in enumerate(given):
        assert load(ROOT / path, overrides).seed == seed


def test_the_shown_optimizer_is_taken(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"stream: {{name: minatar3}}\n{block('<!-- optimizer -->')}", "utf-8")
    assert load(tmp_path / "config.yaml").agent.optimizer.model_dump()["sigma"] == 1e-3


def test_the_shown_arguments_are_taken(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"stream: {{name: pendulum5}}\n{block('<!-- arguments -->')}", "utf-8")
    agent = load(tmp_path / "config.yaml").agent
    assert (agent.settings["policy_kwargs"]["n_critics"], agent.activation) == (3, "silu")


def test_a_deployed_agent_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stable_baselines3 import PPO as StockPPO

    import envs
    from agents import PPO

    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "device": "cpu"}
    ours = PPO("CnnPolicy", envs.make("space_invaders", n_envs=16), **settings)
    monkeypatch.chdir(tmp_path)
    ours.learn(256).save("ours.zip")
    StockPPO.load("ours.zip", device="cpu").save("model.zip")
    code = block("<!-- deployed -->")
    assert len(code.strip().splitlines()) <= 10
    exec(
        compile(
            code.replace("200_000", "512").replace("rate=1e-4", "rate=0.1, period=4, maturity=4"), "README", "exec"
        ),
        {},
    )
    steps, counts = capsys.readouterr().out.strip().split(" ", 1)
    assert int(steps) == 256 + 1024
    assert "'features': 0" not in counts
    assert PPO.load("model.zip", device="cpu").num_timesteps == 256 + 1024


def test_the_shown_config_is_the_shipped_one() -> None:
    assert block("<!-- config -->") == (ROOT / "configs/minatar3_ppo_gxd.yaml").read_text(encoding="utf-8")


def test_the_shown_refusal_is_what_is_printed() -> None:
    command, sentence = block("<!-- refusal -->").strip().splitlines()
    words = command.removeprefix("$ crl ").split()
    run = subprocess.run([sys.executable, "-m", "crl.cli", *words], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 2
    assert run.stderr.strip() == sentence


def test_the_table_gives_the_defaults() -> None:
    from agents.plasticity.registry import INTERVENTIONS

    described = TEXT.partition("## Resets")[2].splitlines()
    for name, entry in INTERVENTIONS.items():
        if name == "reset":
            continue  # the general form, which has none for what it consists of
        cells = next(line for line in described if line.startswith(f"| `{name}` |")).split("|")
        shown = {key: yaml.safe_load(value) for key, value in re.findall(r"`(\w+)` ([\w.-]+?)(?=[,; |:]|$)", cells[3])}
        parameters = inspect.signature(entry.resolve()).parameters
        defaults = {key: parameter.default for key, parameter in parameters.items() if key != "networks"}
        assert shown.keys() == defaults.keys()
        for key, default in defaults.items():
            value = shown[key]
            assert (float(value) if isinstance(default, float) else value) == default, (name, key)


def test_the_general_form_and_the_criterion_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.plasticity.registry import CRITERIA
    from crl.config import check_arguments

    (tmp_path / "my_criteria.py").write_text(block("<!-- criterion -->"), encoding="utf-8")
    config = (ROOT / "configs/minatar3_ppo.yaml").read_text(encoding="utf-8").split("interventions:")[0]
    (tmp_path / "config.yaml").write_text(f"imports: [my_criteria]\n{config}{block('<!-- general -->')}", "utf-8")
    monkeypatch.chdir(tmp_path)
    known = dict(CRITERIA)
    try:
        for override, criterion in (([], "gxd"), (["interventions.0.criterion=peak"], "peak")):
            checked = check_arguments(load(tmp_path / "config.yaml", override))
            assert checked.interventions[0].arguments()["criterion"]["name"] == criterion
    finally:
        CRITERIA.clear()
        CRITERIA.update(known)


def test_what_is_forgotten_at_switches_can_be_used(tmp_path: Path) -> None:

    config = yaml.safe_load((ROOT / "configs/minatar3_dqn_gxd.yaml").read_text(encoding="utf-8"))
    config |= yaml.safe_load(block("<!-- at_switch -->"))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    expected = {"replay": "clear", "exploration": "restart", "random_steps": 10_000, "optimizer": "reset"}
    assert load(tmp_path / "config.yaml", []).at_switch.changes() == expected


def test_the_shown_evaluations_can_be_used(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "configs/minatar3_ppo.yaml").read_text(encoding="utf-8"))
    config |= yaml.safe_load(block("<!-- evaluation -->"))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    found = load(tmp_path / "config.yaml", [])
    assert (found.evaluation.every, found.evaluation.dense, found.evaluation.share) == (100_000, 4, 0.1)
    assert (found.evaluation.tasks, found.evaluation.limit, found.checkpoint.visits) == (10, 10_000, True)


def test_the_shown_streams_can_be_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import envs
    from crl.models.environment import make_stream

    config = yaml.safe_load((ROOT / "configs/minatar3_ppo.yaml").read_text(encoding="utf-8"))
    streams = {}
    for name in ("stream", "variants"):
        config |= yaml.safe_load(block(f"<!-- {name} -->"))
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        env = make_stream(load(tmp_path / "config.yaml", ["agent.n_envs=2", "agent.n_steps=512", "stream.align=step"]))
        observations, _ = env.reset()
        assert observations.shape == (2, 10, 10, 10)
        streams[name] = env.requested_stream
    stream = streams["stream"]
    assert stream.n_segments == 12
    assert [task.name for task in stream.tasks] == [
        "breakout", "breakout+reward_sign+frame_skip(skip=2)", "sticky", "breakout+action_permutation(seed=3)",
    ]  # fmt: skip
    assert abs((stream.total_steps or 0) / 1_050_000 - 1) < 0.01
    assert (streams["variants"].n_segments, streams["variants"].total_steps) == (5000, 5000 * 8192)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | yaml.safe_load(block("<!-- spaces -->"))), "utf-8")
    shapes = make_stream(load(tmp_path / "config.yaml", ["agent.n_envs=2", "agent.n_steps=512"]))
    assert shapes.reset()[0].shape == (2, 6 + 2)
    assert shapes.single_action_space == gymnasium.spaces.Discrete(5)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | yaml.safe_load(block("<!-- procgen -->"))), "utf-8")
    install(monkeypatch)
    procgen = make_stream(load(tmp_path / "config.yaml")).requested_stream
    assert [segment.steps for segment in map(procgen.segment, range(2))] == [1_000_000] * 2
    assert [task.arguments["world"] for task in procgen.tasks] == [
        {"start_level": 20, "num_levels": 1}, {"num_levels": 200},
    ]  # fmt: skip
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config | yaml.safe_load(block("<!-- pool -->"))), "utf-8")
    atari = make_stream(load(tmp_path / "config.yaml")).requested_stream
    assert [task.arguments["world"]["mode"] for task in atari.tasks[:1]] == [3]
    friction = yaml.safe_load(re.search(r"`(\{id: ant, .*?\})` is SlipperyAnt", TEXT, re.DOTALL)[1])  # type: ignore[index]
    assert friction | {"variants": 10} == envs.catalogue.STREAMS["slippery_ant"].entries(0)[0]


def test_the_shown_environments_can_be_made() -> None:
    variables: dict = {}
    exec(compile(block("<!-- gymnasium -->"), "README.md", "exec"), variables)
    assert variables["info"]["task"] == "space_invaders"
    assert variables["env"].render().shape == (320, 320, 3)
    assert variables["games"].num_envs == 16
    for made in ("env", "games"):
        variables[made].close()


def sides(diff: str) -> tuple[str, str]:
    """What a diff is between."""
    before, after = (re.sub(rf"(?m)^\{sign}.*\n", "", diff) for sign in "+-")
    return re.sub(r"(?m)^.", "", before), re.sub(r"(?m)^.", "", after)


def test_the_loops_before_and_after_train_alike_until_a_unit_is_reset() -> None:
    from agents.plasticity import GXD, PlasticOptimizer

    plain, ours = sides(block("<!-- loop -->"))
    there, short = sides(block("<!-- short loop -->"))
    assert there in ours
    generator = torch.Generator().manual_seed(0)
    data = [(torch.randn(16, 8, generator=generator), torch.randn(16, 1, generator=generator)) for _ in range(6)]

    def train(code: str, gxd: Callable[..., GXD]) -> dict[str, Any]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
        variables = {"torch": torch, "PlasticOptimizer": PlasticOptimizer, "GXD": gxd, "model": model, "data": data}
        exec(compile(code, "README.md", "exec"), variables)
        return variables

    programs = (plain, ours, ours.replace(there, short))
    first, *others = (train(code, GXD)["model"].state_dict() for code in programs)
    for other in others:
        assert all(torch.equal(tensor, first[key]) for key, tensor in other.items())
    long, shorter = (train(code, lambda rate: GXD(rate=0.05, period=2, maturity=2)) for code in programs[1:])
    assert long["optimizer"].units_reset() == shorter["optimizer"].units_reset() != {"net": 0}
    other = shorter["model"].state_dict()
    assert all(torch.equal(tensor, other[key]) for key, tensor in long["model"].state_dict().items())


def test_what_looks_at_a_sample_is_given_one_as_shown() -> None:
    from agents.plasticity import GXD, PlasticOptimizer, ReDo

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    inputs, targets = torch.randn(100, 8), torch.randn(100, 2)
    variables = {
        "torch": torch, "model": model, "inputs": inputs, "targets": targets, "PlasticOptimizer": PlasticOptimizer,
        "ReDo": lambda tau: ReDo(tau=0.5, period=3),
        "GXD": lambda budget: GXD(budget=budget, period=2, maturity=2, score_every=1),
    }  # fmt: skip
    exec(compile(block("<!-- sample -->"), "README.md", "exec"), variables)
    optimizer = variables["optimizer"]
    for _ in range(6):
        optimizer.zero_grad()
        with optimizer.forward():
            loss = (model(inputs) - targets).square().mean()
        loss.backward()
        optimizer.step()
    assert optimizer.units_reset()["net"] > 0
    assert optimizer.metrics()["gxd/predicted_cost"] != 0


NAMED = sorted(set(re.findall(r"crl train (configs/\w+\.yaml)", TEXT)))
REPLAYED = ["agent.n_envs=2", "agent.buffer_size=64", "agent.batch_size=4", "agent.learning_starts=8"]
SMALL = {
    "ppo": ["agent.n_envs=2", "agent.n_steps=8", "agent.batch_size=16"],
    "dqn": [*REPLAYED, "at_switch.random_steps=4"],
    "sac": REPLAYED,
    "td3": REPLAYED,
}


def test_the_shown_diagnosis_can_be_made(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    learner = Regression()
    monkeypatch.setattr(plasticity, "diagnose", partial(plasticity.diagnose, fresh=9, steps=2), raising=False)
    exec(compile(block("<!-- diagnosis -->"), "README.md", "exec"), {"model": learner})
    assert capsys.readouterr().out.startswith("{'net/trainability': ")


def test_the_ablation_that_is_shown_is_the_one_that_comes_with_crl() -> None:
    assert block("<!-- ablation -->") == (ROOT / "configs/ablations/cartpole_small.yaml").read_text(encoding="utf-8")


def test_configs_are_named() -> None:
    from envs.catalogue import STREAMS

    assert {f"configs/{path.name}" for path in (ROOT / "configs").glob("*.yaml")} - set(NAMED) <= {
        "configs/minatar3_ppo_redo.yaml", "configs/minatar3_ppo_regrama.yaml",
        *(f"configs/{stream.config}" for stream in STREAMS.values()),
    }  # fmt: skip


@pytest.mark.parametrize("path", NAMED)
def test_every_config_that_is_named_trains(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crl import run
    from crl.config import check_arguments

    agent = load(ROOT / path).agent.name
    small = ["stream.steps_per_task=16", "stream.cycles=1", "threads=1", "device=cpu", f"runs={tmp_path}"]
    small += ["evaluation.episodes=1", "evaluation.limit=20"]
    few = ["stream.tasks.0.variants=3"] if "permuted" in path else []
    install(monkeypatch)  # whether envpool is installed or not
    if "procgen" in path:
        few = ["stream.name=null", "stream.tasks=[starpilot_hard]"]
    config = check_arguments(load(ROOT / path, [*small, *SMALL[agent], *few]))
    assert run.train(config, ["crl"]) == 0
    (folder,) = tmp_path.iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert results["steps"] == config.stream.total_steps
    assert results["gradient_steps"] > 0


def test_every_place_that_is_linked_is_there() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"):
        for link, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
            target = page.parent / link if link else page
            assert target.is_file(), f"{page.name}: {link}"
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert not anchor or anchor in slugs, f"{page.name}: {link}#{anchor}"
    assert not re.search(r"^[A-Z]{5,}$", TEXT, re.MULTILINE)  # no text that is still to come


def test_tables_of_ablations_are_of_what_is_kept() -> None:
    shown = dict(re.findall(r"<!-- ablation: (\w+) -->\n(.*?)\n\n", TEXT, re.DOTALL))
    assert shown
    for name, table in shown.items():
        assert table.splitlines() == list(ablations.rows(name))
