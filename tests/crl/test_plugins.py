"""Code from outside: modules that a config imports, installed plugins, and what their constructors may ask for."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
import yaml
from saved import policy_of

from agents.plasticity.protocols import Intervention
from agents.plasticity.registry import CRITERIA, INTERVENTIONS, SELECTIONS, Entry, criterion
from crl.config import ConfigError, RunConfig, check_arguments, config_hash, load
from crl.config.imports import import_modules, register_plugins

if TYPE_CHECKING:
    from torch import Tensor as Hidden

Command = Callable[..., "subprocess.CompletedProcess[str]"]

PEAK = """
from agents.plasticity.registry import criterion

@criterion("peak", summary="largest activation in the batch")
def peak(a, *, power: float = 1.0, of: int = 2):
    return (a.flatten(2).amax((0, 2)) if a.dim() > 2 else a.amax(0)) ** power
"""

WORLD = """
import gymnasium
import numpy as np

class Images(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros((8, 8, 3), np.uint8), {}

    def step(self, action):
        return np.zeros((8, 8, 3), np.uint8), 1.0, True, False, {}

gymnasium.register("Images-v0", Images)
"""

PLUGIN = '''
print("the plugin was imported")

from dataclasses import dataclass

from agents.plasticity import Intervention
from agents.plasticity.selections import Threshold

def spread(a, *, scale: float = 1.0):
    return a.std([0, *range(2, a.dim())]) * scale

@dataclass(frozen=True)
class Low(Threshold):
    tau: float = 0.5

class Noop(Intervention):
    """Does nothing, `times` times."""

    name = "noop"

    def __init__(self, *, times: int = 3) -> None:
        if times < 0:
            raise ValueError(f"times is {times}; give 0 or more")
        self.times = times
'''

POINTS = """
[crl.plugins]
criteria.spread = crl_x_plugin:spread
selections.low = crl_x_plugin:Low
interventions.noop = crl_x_plugin:Noop
"""


def install(site: Path, points: str = POINTS) -> Path:
    """A folder with an installed distribution called x, to be put on Python's path."""
    info = site / "x-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    (site / "crl_x_plugin.py").write_text(PLUGIN)
    return site


def lines_of(output: str) -> dict[str, str]:
    """Name -> what is said of it."""
    return dict(re.findall(r"^  +(\S+) +(.+)$", output, re.MULTILINE))


def assert_refused(result: subprocess.CompletedProcess[str], expected: str) -> None:
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"crl: {expected}")
    assert result.stderr.count("\n") == 1


# ---------------------------------------------------------------- a run


def test_a_run_with_a_criterion_of_the_users(crl: Command, tiny: Path) -> None:
    (tiny / "my_criteria.py").write_text(PEAK)
    # The criterion in the long form, with a number that YAML reads as text.
    form = "{name: reset, criterion: {name: peak, power: 5e-1}, selection: {name: percentage, share: 0.25}, "
    form += "period: 5, maturity: 0, score_every: 1, networks: [actor]}"
    short = "stream={tasks: [breakout], steps_per_task: 128, cycles: 1}"
    result = crl("train", "tiny.yaml", short, "imports=[my_criteria]", f"interventions=[{form}]", cwd=tiny)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    (run,) = (tiny / "runs").iterdir()
    assert run.name.startswith("tiny__ppo__reset__s3__")
    assert json.loads((run / "results.json").read_text())["resets"]["actor"] > 0
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["imports"] == ["my_criteria"]
    (reset,) = written["interventions"]
    assert (reset["name"], reset["criterion"]) == ("reset", {"name": "peak", "power": 0.5, "of": 2})
    assert reset["selection"] == {"name": "percentage", "share": 0.25}
    assert reset["surgery"]["outgoing"] == "zero"
    with zipfile.ZipFile(run / "model.zip") as archive:
        (spec,) = json.loads(archive.read("data"))["intervention_specs"]
    assert spec == reset
    assert "my_criteria:" not in (run / "config.yaml").read_text() + json.dumps(spec)
    again = crl("train", str(run / "config.yaml"), "runs=again", cwd=tiny)
    assert again.returncode == 0
    (rerun,) = (tiny / "again").iterdir()
    policies = [policy_of(next((folder / "checkpoints").iterdir())) for folder in (run, rerun)]
    assert all(torch.equal(tensor, policies[1][name]) for name, tensor in policies[0].items())
    hashes = {json.loads((folder / "results.json").read_text())["config_hash"] for folder in (run, rerun)}
    assert len(hashes) == 1


def test_a_run_with_a_plugin(crl: Command, tiny: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    form = "{name: reset, criterion: spread, selection: low, period: 5, maturity: 0}"
    given = [
        "train",
        "tiny.yaml",
        "stream.cycles=1",
        "stream.tasks=[breakout]",
        f"interventions=[{form}, {{name: noop}}]",
    ]
    result = crl(*given, cwd=tiny, paths=(site,))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert result.stdout.startswith("the plugin was imported")
    (run,) = (tiny / "runs").iterdir()
    assert run.name.startswith("tiny__ppo__reset+noop__s3__")
    reset, noop = yaml.safe_load((run / "config.yaml").read_text())["interventions"]
    assert reset["criterion"] == {"name": "spread", "scale": 1.0}
    assert reset["selection"] == {"name": "low", "tau": 0.5, "cap": 1.0, "allow_full": False}
    assert noop == {"name": "noop", "times": 3}


def test_a_run_on_an_environment_that_a_module_registers(crl: Command, tiny: Path) -> None:
    (tiny / "my_worlds.py").write_text(WORLD)
    agent = "agent={n_envs: 1, n_steps: 8, batch_size: 8, n_epochs: 1, features: impala, net_arch: null}"
    stream = "stream={tasks: [Images-v0], steps_per_task: 8, cycles: 1}"
    given = ["train", "tiny.yaml", "imports=[my_worlds]", stream, agent, "interventions=[{name: gxd}]"]
    result = crl(*given, cwd=tiny)
    assert result.returncode == 0, result.stderr
    fixed = [line for line in result.stdout.splitlines() if "cannot be reset" in line]
    assert len(fixed) == 1
    assert fixed[0].startswith("features: 9 of 16 hidden layers cannot be reset: the skip connection")


def test_a_plugin_is_refused_as_one_of_ours(crl: Command, tiny: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    wrong = "interventions=[{name: gxd}, {name: noop, times: -1}]"
    result = crl("train", "tiny.yaml", wrong, cwd=tiny, paths=(site,))
    assert result.returncode == 2
    assert result.stderr == "crl: interventions.1.times is -1; give 0 or more\n"
    assert_refused(
        crl("train", "tiny.yaml", "interventions=[{name: noob}]", cwd=tiny, paths=(site,)),
        "interventions.0.name=\"noob\" is not a known intervention; did you mean 'noop'?",
    )


# ---------------------------------------------------------------- crl list


def test_list_shows_plugins_without_importing_them(crl: Command, python: Command, tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    result = crl("list", cwd=tmp_path, paths=(site,))
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "imported" not in result.stdout
    shown = lines_of(result.stdout)
    assert [shown[name] for name in ("spread", "low", "noop")] == ["from x"] * 3
    program = (
        "import sys, crl.cli; sys.argv = ['crl', 'list']\ntry: crl.cli.main()\nfinally: print('torch' in sys.modules)"
    )
    assert python("-c", program, cwd=tmp_path, paths=(site,)).stdout.splitlines()[-1] == "False"


def test_list_shows_what_modules_register(crl: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PEAK)
    (tmp_path / "others.py").write_text(PEAK.replace('"peak"', '"summit"').replace("largest", "greatest"))
    result = crl("list", "criteria", "--imports", "mine", "--imports", "others", cwd=tmp_path)
    assert result.returncode == 0
    shown = lines_of(result.stdout)
    assert shown["peak"] == "largest activation in the batch"
    assert shown["summit"] == "greatest activation in the batch"
    assert "peak" not in lines_of(crl("list", "criteria", cwd=tmp_path).stdout)


def test_list_refuses_modules_that_are_not_there(crl: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PEAK)
    expected = f'--imports "mime" is no module that can be found in {str(tmp_path)!r} or the installed packages; did'
    assert_refused(crl("list", "--imports", "mime", cwd=tmp_path), expected)
    assert_refused(crl("list", "--imports", "./mine.py", cwd=tmp_path), '--imports "./mine.py" is not the name of a')


def test_a_module_that_another_one_hides_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text(PEAK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(
        ConfigError, match=r"^imports.0=\"json\" is <module 'json' .*which hides '.*json.py'; rename that"
    ):
        import_modules(["json"])


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ("criteria.gxd = crl_x_plugin:spread", "an installed plugin is refused: the name 'gxd' is taken by agents."),
        ("layers.crelu = crl_x_plugin:spread", "an installed plugin is refused: the entry point 'layers.crelu' of x"),
    ],
)
def test_plugins_whose_names_do_not_fit(crl: Command, tiny: Path, tmp_path: Path, points: str, expected: str) -> None:
    site = install(tmp_path / "site", f"[crl.plugins]\n{points}\n")
    for command in (["list"], ["train", "tiny.yaml"]):
        result = crl(*command, cwd=tiny, paths=(site,))
        assert_refused(result, expected)
        assert result.stderr.endswith(", or uninstall it\n")


def test_a_plugin_that_cannot_be_imported(crl: Command, tiny: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site", "[crl.plugins]\ninterventions.gone = crl_x_gone:Gone\n")
    assert lines_of(crl("list", "interventions", cwd=tiny, paths=(site,)).stdout)["gone"] == "from x"
    expected = (
        'interventions.0.name="gone" is crl_x_gone:Gone, which cannot be imported (ModuleNotFoundError: No module '
        "named 'crl_x_gone'); correct it or leave it out"
    )
    assert_refused(crl("train", "tiny.yaml", "interventions.0.name=gone", cwd=tiny, paths=(site,)), expected)


# ---------------------------------------------------------------- imports


@pytest.fixture(autouse=True)
def _registries_as_they_were() -> Iterator[None]:
    registries = (CRITERIA, SELECTIONS, INTERVENTIONS)
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder that is not on Python's path, as for the command `crl`; modules from there are forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


def checked(folder: Path, *overrides: str) -> RunConfig:
    """A small config in that folder."""
    path = folder / "c.yaml"
    path.write_text("stream: {name: minatar3}\nagent: {name: ppo}\n")
    return check_arguments(load(path, overrides))


def refused(folder: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        checked(folder, *overrides)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_modules_are_imported_before_names_are_checked(home: Path) -> None:
    (home / "my_package").mkdir()
    (home / "my_package" / "__init__.py").write_text("")
    (home / "my_package" / "inner.py").write_text(PEAK)
    (home / "my_methods.py").write_text(
        "import agents.plasticity.registry as r\n"
        "r.add(r.INTERVENTIONS, 'mine', r.Entry('agents.plasticity.resets:ReDo', 'mine'))\n"
    )
    given = ["interventions=[{name: mine}, {name: reset, criterion: peak, selection: {name: percentage, share: 1}}]"]
    assert refused(home, *given) == (
        'interventions.0.name="mine" is not a known intervention; choose from ' + ", ".join(INTERVENTIONS)
    )
    config = checked(home, *given, "imports=[my_package.inner, my_methods]")
    assert config.imports == ("my_package.inner", "my_methods")
    assert [i.name for i in config.interventions] == ["mine", "reset"]
    assert config.interventions[1].arguments()["criterion"] == {"name": "peak", "power": 1.0, "of": 2}
    unknown = refused(home, "interventions=[{name: mien}]", "imports=[my_package.inner, my_methods]")
    assert unknown == "interventions.0.name=\"mien\" is not a known intervention; did you mean 'mine'?"


def test_imports_decide_the_numbers(home: Path) -> None:
    for name in ("first", "second"):
        (home / f"{name}.py").write_text("")
    given = ["", "first", "second", "first, second"]
    assert len({config_hash(checked(home, f"imports=[{names}]")) for names in given}) == len(given)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("my_modul", "", "or the installed packages; did you mean 'my_module'?"),
        ("elsewhere", "", 'imports.0="elsewhere" is no module that can be found in '),
        ("my_module.sub", "", 'imports.0="my_module.sub" is no module that can be found in '),
        ("my_module", "a = 1\n1 / 0", "(ZeroDivisionError in my_module.py, line 2: division by zero); correct it or"),
        ("my_module", "import gone_away", "(ModuleNotFoundError in my_module.py, line 1: No module named 'gone_away')"),
        ("my_module", "raise SystemExit(3)", "cannot be imported (SystemExit in my_module.py, line 1: 3)"),
        ("my_module", "def f(:", "cannot be imported (SyntaxError: invalid syntax (my_module.py, line 1)); correct it"),
        (
            "my_module",
            PEAK.replace('"peak"', '"gxd"'),
            'imports.0="my_module" cannot be imported (ValueError in my_module.py, line 4: the name \'gxd\' is taken '
            "by agents.plasticity.criteria:gxd; give my_module:peak another one); correct it or leave it out",
        ),
    ],
)  # fmt: skip
def test_modules_that_cannot_be_imported(home: Path, name: str, content: str, expected: str) -> None:
    (home / "my_module.py").write_text(content)
    assert expected in refused(home, f"imports=[{name}]")


def test_plugins_can_be_registered_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(home / "site")))
    for _ in range(2):
        register_plugins()
    assert (CRITERIA["spread"].summary, INTERVENTIONS["noop"].target) == ("from x", "crl_x_plugin:Noop")


# ---------------------------------------------------------------- constructors


class Odd(Intervention):
    """Takes arguments of every kind that a config can give."""

    name = "odd"

    def __init__(
        self,
        *,
        level: float | Literal["auto"] = "auto",
        steps: int | None = None,
        sizes: Sequence[int] = (1, 2),
        shares: Mapping[str, float] | None = None,
        mode: Literal["fast", "slow"] = "fast",
        flag: bool = False,
    ) -> None:
        if level == 0:
            raise ValueError("level is 0; give more")
        if mode == "slow" and flag:
            raise ValueError("a slow one takes no flag; leave one out")
        self.level, self.steps, self.shares, self.mode, self.flag = level, steps or 7, shares, mode, flag
        self.sizes = tuple(sizes)


@pytest.fixture
def odd(home: Path) -> Path:
    INTERVENTIONS["odd"] = Entry(Odd, "odd")
    return home


def test_arguments_of_every_kind(odd: Path) -> None:
    def arguments(*given: str) -> dict[str, Any]:
        return checked(odd, "interventions=[{name: odd}]", *given).interventions[0].arguments()

    defaults = {"level": "auto", "steps": 7, "sizes": [1, 2], "shares": None, "mode": "fast", "flag": False}
    assert arguments() == defaults
    given = ["level=1e-2", "steps=3", "sizes=[4]", "shares={a: 1e-3}", "mode=slow"]
    filled = arguments(*(f"interventions.0.{each}" for each in given))
    assert filled == {"level": 0.01, "steps": 3, "sizes": [4], "shares": {"a": 0.001}, "mode": "slow", "flag": False}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("levl: 1", "interventions.0.levl=1 is not a known key; did you mean 'level'?"),
        ("level: high", 'interventions.0.level="high" is not a number; give one such as 0.001'),
        ("level: 0", "interventions.0.level is 0; give more"),
        ("steps: 1.5", "interventions.0.steps=1.5 is not a whole number; give one"),
        ("sizes: 4", "interventions.0.sizes=4 is not a list; write it in square brackets, such as [a, b]"),
        ("sizes: [4, x]", 'interventions.0.sizes.1="x" is not a whole number'),
        ("shares: [1]", "interventions.0.shares=[1] is not a mapping; write it in braces, such as {key: value}"),
        ("shares: {a: x}", 'interventions.0.shares.a="x" is not a number; give one such as 0.001'),
        ("mode: quick", "interventions.0.mode=\"quick\" is not known; give 'fast' or 'slow'"),
        ("flag: 1", "interventions.0.flag=1 is neither true nor false; give one of the two"),
        ("flag: true, mode: slow", "interventions.0: a slow one takes no flag; leave one out"),
    ],
)
def test_arguments_that_are_refused(odd: Path, given: str, expected: str) -> None:
    assert refused(odd, f"interventions=[{{name: odd, {given}}}]").startswith(expected)


def untyped(a: torch.Tensor, *, power=2) -> torch.Tensor:  # type: ignore[no-untyped-def]
    return a.mean(0) ** power


def unreadable(a: torch.Tensor, *, other: Hidden | None = None) -> torch.Tensor:
    return a.mean(0)


def unwritable(a: torch.Tensor, *, weights: torch.Tensor | None = None) -> torch.Tensor:
    return a.mean(0)


def half_readable(a: Hidden, *, power: float = 2.0) -> Hidden:
    return a.mean(0) ** power


def blind(a: torch.Tensor, colour: torch.Tensor) -> torch.Tensor:
    return a.mean(0)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (untyped, "interventions.0.criterion: the argument 'power' of untyped has no type; annotate it, such as"),
        (unreadable, "interventions.0.criterion: the types of unreadable's arguments cannot be read (name 'Hid"),
        (unwritable, "interventions.0.criterion: unwritable has an argument that a config cannot give (Unable to"),
        (blind, "interventions.0.criterion.name is 'mine', whose parameter 'colour' is nothing that can be looked"),
    ],
)  # fmt: skip
def test_criteria_whose_options_a_config_cannot_give(home: Path, function: Any, expected: str) -> None:
    criterion("mine")(function)
    form = "{name: reset, criterion: mine, selection: {name: percentage, share: 0.5}}"
    assert refused(home, f"interventions=[{form}]").startswith(expected)


def test_types_of_a_criterions_inputs_may_be_there_for_type_checkers_alone(home: Path) -> None:
    criterion("mine")(half_readable)
    form = "{name: reset, criterion: {name: mine, power: 1e-3}, selection: {name: percentage, share: 0.5}}"
    (reset,) = checked(home, f"interventions=[{form}]").interventions
    assert reset.arguments()["criterion"] == {"name": "mine", "power": 0.001}


def test_arguments_that_config_yaml_could_not_keep(home: Path) -> None:
    class Opaque(Intervention):
        name = "opaque"

        def __init__(self, *, scale: float = 1.0) -> None:
            self.scale = torch.tensor(scale)

    INTERVENTIONS["opaque"] = Entry(Opaque, "opaque")
    message = refused(home, "interventions=[{name: opaque}]")
    assert message.startswith(
        "interventions.0: the arguments() of opaque are no plain data (Object of type Tensor is not"
    )
