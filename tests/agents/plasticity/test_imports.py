"""`agents.plasticity` is torch alone, its registry not even that."""

import subprocess
import sys


def loaded(statement: str, *modules: str) -> list[str]:
    code = f"import sys\n{statement}\nprint(*[m for m in {modules!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.split()


def test_plasticity_needs_neither_sb3_nor_gymnasium() -> None:
    statement = "import agents.plasticity as p; p.GXD, p.Intervention; import agents.plasticity.diagnostics"
    assert loaded(statement, "torch", "stable_baselines3", "gymnasium") == ["torch"]


def test_names_need_no_torch() -> None:
    statement = "from agents import AGENTS; from agents.plasticity.registry import CRITERIA, INTERVENTIONS"
    assert loaded(statement, "torch", "stable_baselines3", "gymnasium", "numpy") == []


def test_every_registered_name_resolves_to_what_bears_it() -> None:
    from agents import AGENTS, PPO
    from agents.plasticity import criteria
    from agents.plasticity.registry import CRITERIA, INTERVENTIONS

    assert AGENTS["ppo"].resolve() is PPO
    for name, entry in INTERVENTIONS.items():
        assert entry.resolve().name == name
    for name, entry in CRITERIA.items():
        assert entry.resolve() is getattr(criteria, name)
