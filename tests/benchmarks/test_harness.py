"""The harness of ``python -m benchmarks``: turns, medians, load, records and tables, with sides that do nothing."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stub_sides

from benchmarks.__main__ import README, RESULTS, chosen, keep
from benchmarks.harness import load, process, records, table
from benchmarks.harness.declared import MEGABYTES, ROOT, STEPS, Group, Missing, Row, Side, Spent, Unit
from benchmarks.harness.measuring import How, in_turn, measure
from benchmarks.harness.process import SideError
from benchmarks.harness.table import BEGIN, END
from benchmarks.speed import groups
from crl.usage import UsageError

HOW = How(sys.executable)


@pytest.fixture(autouse=True)
def of_these_stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of sides find this test's."""
    monkeypatch.setenv("PYTHONPATH", str(Path(stub_sides.__file__).parent))


def others_take(monkeypatch: pytest.MonkeyPatch, cores: float) -> None:
    """Of all time that passes, other processes take so much of so many cores."""
    seconds = iter(range(10**6))
    monkeypatch.setattr(process, "busy_seconds", lambda: (cores * (now := next(seconds)), float(now)))


def row(diary: Path, unit: Unit = STEPS, **more: Any) -> Row:
    """Ours takes a quarter of a second for a step, where the peer takes one; and 3 MB where that takes 2."""
    sides = {
        "peer": Side(stub_sides.counting, {"name": "peer", "seconds": 1.0, "megabytes": 2.0}),
        "ours": Side(stub_sides.counting, {"name": "ours", "seconds": 0.25, "megabytes": 3.0}, at_least=1.5),
    }
    return Row("stub/row", "nothing", sides, unit, {"diary": str(diary)}, **more)


def test_sides_take_turns_and_nobody_always_follows_the_same_one() -> None:
    assert in_turn(["a", "b"], 3) == ["a", "b", "b", "a", "a", "b"]


def test_a_row_is_measured_by_turns_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others_take(monkeypatch, 0.0)
    told: list[str] = []
    found = measure(row(tmp_path / "diary", threads=3), HOW, told.append)
    diary = [line.split() for line in (tmp_path / "diary").read_text().splitlines()]
    assert [who for who, *_ in diary] == ["peer", "ours", *in_turn(["peer", "ours"], 5)]  # each has warmed up
    assert len({pid for _, pid, *_ in diary}) == 2
    assert {(threads, policy) for *_, threads, policy in diary} == {("3", "PASSIVE")}
    assert found.sides["peer"].values == (1.0,) * 5
    assert found.sides["ours"].values == (4.0,) * 5
    assert found.sides["ours"].by_processor == (8.0,) * 5
    assert found.sides["ours"].ratio == records.Spread(median=4.0, least=4.0, most=4.0)
    assert found.sides["peer"].ratio is None
    assert found.sides["ours"].notes == {"worked": 4.0}  # the second to the sixth
    assert not found.sides["ours"].misses
    assert (found.loaded, found.others, found.ranked_by, found.threads) == (False, 0.0, "clock", 3)
    assert told[0] == "round 1 of 5: peer 1 steps/s"
    assert len(told) == 10


def test_a_fresh_repetition_has_a_process_of_its_own_and_none_warms_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_take(monkeypatch, 2.0)  # which memory does not mind
    found = measure(row(tmp_path / "diary", MEGABYTES, fresh=True), HOW._replace(quick=True))
    pids = [line.split()[1] for line in (tmp_path / "diary").read_text().splitlines()]
    assert len(pids) == len(set(pids)) == 4
    assert found.sides["ours"].ratio == records.Spread(median=1.5, least=1.5, most=1.5)
    assert (found.loaded, found.ranked_by) == (True, "memory")


def test_under_load_times_are_kept_and_ranked_by_processor_time_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load.psutil, "cpu_count", lambda: 10)
    others_take(monkeypatch, 0.25 + 0.5)  # each repetition takes some of the seconds that pass for itself
    busy, quick = row(tmp_path / "diary"), HOW._replace(quick=True)
    found = measure(busy, quick)
    assert found.loaded
    assert found.ranked_by is None
    assert found.sides["ours"].ratio is None
    assert found.sides["ours"].values == (4.0, 4.0)
    assert list(table.lines(found))[-1].startswith("  not ranked: other processes kept 0.7")
    found = measure(busy, quick._replace(by_processor=True))
    assert found.ranked_by == "processor"
    ratio = found.sides["ours"].ratio
    assert ratio is not None
    assert ratio.median == 4.0
    assert load.is_loaded(0.51)
    assert not load.is_loaded(0.49)


def test_ratios_are_of_rounds() -> None:
    assert records.ratio([2.0, 3.0, 10.0], [1.0, 3.0, 2.0]) == records.Spread(median=2.0, least=1.0, most=5.0)
    assert [unit.value(8.0, 2.0, 5.0) for unit in (STEPS, Unit("ms", "time", 1e3), MEGABYTES)] == [4.0, 250.0, 5.0]


@pytest.mark.parametrize(
    ("side", "error", "sentence"),
    [
        (Side(stub_sides.absent), Missing, "there is no such machine; build one"),
        (Side(stub_sides.plain, {"work": 1}, needs=("crl-peer",)), Missing, "crl-peer cannot be found"),
        (Side(stub_sides.plain, needs=("sbx-rl",), elsewhere=True), Missing, "give its python by --peers"),
        (Side(stub_sides.failing), SideError, "ZeroDivisionError: of nothing"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_sentence(
    side: Side, error: type[Exception], sentence: str, tmp_path: Path
) -> None:
    ours = Side(stub_sides.plain, {"work": 1})
    with pytest.raises(error, match=sentence):
        measure(Row("stub/row", "nothing", {"peer": side, "ours": ours}), HOW)


def test_a_peer_of_another_environment_that_is_not_there() -> None:
    sides = {"peer": Side(stub_sides.plain, elsewhere=True), "ours": Side(stub_sides.plain, {"work": 1})}
    with pytest.raises(Missing, match=r"'/no/python' cannot be run"):
        measure(Row("stub/row", "nothing", sides), HOW._replace(peers="/no/python"))


def test_sides_that_have_not_done_the_same_are_no_comparison(tmp_path: Path) -> None:
    sides = {
        name: Side(stub_sides.counting, {"name": name, "seconds": 1.0, "learnt": name}) for name in ("peer", "ours")
    }
    stub = Row("stub/row", "nothing", sides, settings={"diary": str(tmp_path / "diary")})
    with pytest.raises(SideError, match="have not learnt the same"):
        measure(stub, HOW._replace(quick=True))


def test_a_row_needs_two_sides_and_five_repetitions() -> None:
    with pytest.raises(ValueError, match="not 2 and 5"):
        Row("stub/row", "nothing", {"ours": Side(stub_sides.plain)})


def record(**more: Any) -> records.Record:
    """What was measured of a row, twice as fast as its peer."""

    def side(values: tuple[float, ...], ratio: float | None, **bounds: Any) -> records.Measured:
        spread = None if ratio is None else records.Spread(median=ratio, least=ratio - 0.25, most=ratio + 0.25)
        given = {"at_least": None, "at_most": None, **bounds}
        return records.Measured(
            values=values, by_processor=values, ratio=spread, peak_mb=99.6, notes={}, versions={"numpy": "2"}, **given
        )

    ratio = more.pop("ratio", 2.0)
    given = {
        "benchmark": "stub/row", "date": "2026-01-02T03:04:05Z", "unit": "steps/s", "commit": "abc", "threads": 2,
        "settings": {"steps": 8}, "load": (0.0, 0.0, 0.0), "others": 0.0, "loaded": False, "ranked_by": "clock",
        "machine": records.Machine(processor="a processor", cores=2, memory_gb=8.0, system="a system"),
        "sides": {"peer": side((1.0, 2000.0, 3.0), None), "ours": side((2.0, 4.0, 6.0), ratio, at_least=2.5)},
    }  # fmt: skip
    return records.Record(**{**given, **more})


def test_the_table_shows_the_newest_measurement_that_was_ranked(tmp_path: Path) -> None:
    older, newer = record(), record(date="2026-02-02T00:00:00Z")
    busy = record(date="2026-03-03T00:00:00Z", loaded=True, others=1.0, ranked_by=None, ratio=None)
    assert records.shown(["stub/row"], tmp_path) == {}
    records.append(busy, tmp_path)
    assert records.shown(["stub/row"], tmp_path) == {"stub/row": busy}
    for each in (older, newer, busy):
        assert records.append(each, tmp_path) == tmp_path / "stub.jsonl"
    assert records.shown(["stub/row", "others/row"], tmp_path) == {"stub/row": newer}
    assert len((tmp_path / "stub.jsonl").read_text().splitlines()) == 4
    with (tmp_path / "stub.jsonl").open("a") as file:
        file.write(json.dumps({"benchmark": "stub/row"}) + "\n")
    with pytest.raises(records.RecordError, match=r"line 5 of .* is no record of a benchmark"):
        records.shown(["stub/row"], tmp_path)


def test_the_page_has_a_line_for_each_side_and_where_it_was_measured(tmp_path: Path) -> None:
    again, other = (Row(name, "more of it", row(tmp_path).sides) for name in ("stub/again", "other/row"))
    needy = Side(stub_sides.plain, needs=("sbx-rl",), elsewhere=True)
    needing = Row("stub/peer", "the rest", {"sbx": needy, "ours": Side(stub_sides.plain, at_most=1.1)}, threads=None)
    declared = [Group("stub", "Is it?", [row(tmp_path), again, needing]), Group("other", "And this?", [other])]
    found = table.page(declared, {"stub/row": record(), "stub/again": record(loaded=True, ratio=None, ranked_by=None)})
    assert found.splitlines() == [
        "### Is it? `stub`",
        "",
        "| work | threads | first side | side | ratio | required | peak MB | on |",
        "|---|---|---|---|---|---|---|---|",
        "| nothing | 2 | peer: 3 (1 to 2,000) steps/s | ours: 4 (2 to 6) steps/s | **2.000 (1.750 to 2.250)**, missed "
        "| at least 2.5 | 100, 100 | 1 |",
        "| more of it | 2 | peer: 3 (1 to 2,000) steps/s | ours: 4 (2 to 6) steps/s | loaded | at least 2.5 | "
        "100, 100 | 1 |",
        "| the rest | all | sbx | ours | needs sbx-rl | at most 1.1 |  |  |",
        "",
        "1. 2026-01-02, 2 cores of a processor, 8 GB, a system: numpy 2, commit abc",
        "",
        "Yet to be measured: `other`.",
    ]
    page = f"# Before\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    assert table.rewritten(page, "new") == f"# Before\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    with pytest.raises(table.PageError, match="has no lines"):
        table.rewritten("# Before", "new")


def test_what_was_measured_is_kept_and_the_page_written_anew(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\n{END}\nafter\n", encoding="utf-8")
    keep(record(), [Group("stub", "Is it?", [row(tmp_path)])], tmp_path / "results", readme)
    assert "| nothing | 2 |" in readme.read_text(encoding="utf-8")
    assert readme.read_text(encoding="utf-8").endswith(f"{END}\nafter\n")
    assert records.shown(["stub/row"], tmp_path / "results") == {"stub/row": record()}


# ------------------------------------------------------------------ what is declared


DECLARED = [row for group in groups() for row in group.rows]


def test_benchmarks_have_names_of_their_own_which_select_them() -> None:
    names = [row.name for row in DECLARED]
    assert len(set(names)) == len(names)
    assert {name.partition("/")[0] for name in names} == {group.name for group in groups()}
    assert [group.name for group in chosen(groups(), [])] == [group.name for group in groups()]
    (ppo, replay) = chosen(groups(), ["replay", "ppo/cnn"])
    assert [each.name for each in ppo.rows] == ["ppo/cnn"]
    assert [each.name for each in replay.rows][:2] == ["replay/memory", "replay/draw"]
    with pytest.raises(UsageError, match=r"no benchmark 'ppo/cn'; did you mean 'ppo/cnn'\?"):
        chosen(groups(), ["ppo/cn"])


def test_sides_are_functions_that_take_their_settings_as_json() -> None:
    for declared, side in [(row, side) for row in DECLARED for side in row.sides.values()]:
        given = {**declared.settings, **side.settings}
        assert declared.quick.keys() <= inspect.signature(side.make).parameters.keys(), declared.name
        inspect.signature(side.make).bind(**given)
        assert json.loads(json.dumps(given)) == given
        found: Callable[..., Any] = getattr(sys.modules[side.make.__module__], side.make.__qualname__)
        assert found is side.make


def test_the_environment_of_peers_needs_nothing_of_ours() -> None:
    modules = {side.make.__module__ for row in DECLARED for side in row.sides.values() if side.elsewhere}
    assert modules == {"benchmarks.speed.ppo", "benchmarks.speed.off_policy"}
    imports = f"import benchmarks.harness.child, {', '.join(sorted(modules))}"
    subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(ROOT)!r}); {imports}"], check=True
    )


def test_tables_are_of_what_is_kept() -> None:
    page, found = README.read_text(encoding="utf-8"), records.shown([row.name for row in DECLARED], RESULTS)
    assert page == table.rewritten(page, table.page(groups(), found))


def test_what_a_side_does_not_tell_is_timed_around_it() -> None:
    found = measure(Row("stub/row", "nothing", dict.fromkeys("ab", Side(stub_sides.plain, {"work": 2}))), HOW)
    assert all(value > 0 for side in found.sides.values() for value in side.values)
    assert all(side.peak_mb > 1 for side in found.sides.values())
    assert Spent(1).seconds is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell what processes have held that have ended")
def test_memory_is_also_that_of_processes_that_a_side_has_started() -> None:
    sides = {"other": Side(stub_sides.by_another, {"megabytes": 300}), "itself": Side(stub_sides.plain, {"work": 2})}
    found = measure(Row("stub/row", "nothing", sides), HOW).sides
    assert 300 <= found["other"].peak_mb < 400
    assert found["itself"].peak_mb < 100
