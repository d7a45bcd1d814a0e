"""When Python looks for garbage in crl's own processes."""

import gc

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
