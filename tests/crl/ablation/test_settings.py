"""Which launchers there are, and what is refused before anything is read."""

from __future__ import annotations

import pytest

from crl.ablation import settings
from crl.ablation.settings import check_launcher
from crl.config import ConfigError


@pytest.mark.parametrize(
    ("launcher", "overrides", "expected"),
    [
        ("slrum", [], "--launcher=slrum is not known; did you mean 'slurm'?"),
        ("ray", [], "--launcher ray needs ray, which is not installed; run pip install -e '.[ray]'"),
        ("slurm", [], "--launcher slurm needs submitit, which is not installed; run pip install -e '.[slurm]'"),
        ("ray", ["slurm.time=3"], "'slurm.time=3' is no setting of --launcher ray; those of ray and slurm are given "),
        ("slurm", ["seeds=3"], "'seeds=3' is no setting of --launcher slurm; those of ray and slurm are given here, "),
    ],
)
def test_refusals(launcher: str, overrides: list[str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError) as caught:
        check_launcher(launcher, overrides)
    assert str(caught.value).startswith(expected)
    check_launcher("local", [])
