"""When Python looks for garbage in crl's own processes."""

import gc
import sys
from types import ModuleType

import pytest

from crl import collector


@pytest.mark.parametrize("enabled", [True, False])
def test_while_modules_are_loaded_nothing_is_collected(enabled: bool) -> None:
    was, frozen = gc.isenabled(), gc.get_freeze_count()
    (gc.enable if enabled else gc.disable)()
    try:
        with collector.loading():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() >= frozen
        with pytest.raises(ImportError), collector.loading():
            raise ImportError
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_what_an_earlier_run_has_left_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = gc.get_freeze_count()
    with collector.loading():
        pass  # all of it was loaded then
    assert gc.get_freeze_count() == frozen
    with collector.loading():
        monkeypatch.setitem(sys.modules, "loaded_now", ModuleType("loaded_now"))
    assert gc.get_freeze_count() > frozen
    gc.unfreeze()
