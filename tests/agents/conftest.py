"""Every kind of policy that PPO has."""

from __future__ import annotations

import pytest
from small_ppo import KINDS


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)
