"""How kernels are compiled."""

from envs.minatar.compiling import kernel


def test_where_nothing_can_be_kept_on_disk_kernels_are_compiled_all_the_same() -> None:
    names: dict[str, object] = {}
    exec("def double(x): return 2 * x", names)  # of no file, so that there is no place for it
    assert kernel(names["double"])(3) == 6  # type: ignore[type-var]
