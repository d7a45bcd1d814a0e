"""A fuzzer: whatever the folder of a run holds, it is refused in one sentence, or it fits."""

from __future__ import annotations

import copy
import json
import random
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forged import forge_hash, forge_manifest
from small_run import trained_run
from typer.testing import CliRunner

from crl import logs, resuming, storage
from crl import run as runs
from crl.audit import measuring
from crl.cli import app
from crl.config import ConfigError, RunConfig, load
from crl.learnt import LEARNT, newest_checkpoint
from crl.opening import opened
from crl.storage import DamagedError
from crl.storage.decoding import SHARED, SPARE

TINY = """
stream: {tasks: [cartpole, {id: cartpole, gravity: 5.0, shifts: [pixel_permutation]}], steps_per_task: 40}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [4], vf: [4]}}
normalize: {obs: true}
interventions: [{name: gxd, networks: [actor], period: 1, maturity: 0, score_every: 1}]
checkpoint: {every: 40, keep: 2}
seed: 3
device: cpu
threads: 1
"""


def fuzz(examples: int) -> Callable[[Callable[..., None]], Any]:
    """As many examples, always the same ones."""
    return pytest.mark.parametrize("seed", range(examples))


@pytest.fixture
def draw(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has not ended, which all tests share."""
    found = trained_run(tmp_path_factory.mktemp("trained"), TINY)
    (found / "results.json").unlink()
    shutil.rmtree(newest_of(found))  # there shall be something left to train
    return found


@pytest.fixture(scope="module")
def work(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it, in which every example changes something."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("work") / "run"))


@pytest.fixture(scope="module")
def config(trained: Path) -> RunConfig:
    return load(trained / "config.yaml")


def renew(work: Path, trained: Path) -> None:
    shutil.rmtree(work)
    shutil.copytree(trained, work)


def is_sentence(text: object) -> bool:
    return str(text).isprintable() and 0 < len(str(text)) < 2000


def check_sentence(error: Exception) -> None:
    assert is_sentence(error), error


def newest_of(folder: Path) -> Path:
    return max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))


# ---------------------------------------------------------------------- what is changed

NASTY: list[Any] = [
    *[None, True, False, 0, 1, -1, 7, 2**31, 2**62, 2**63, 2**64, 10**400, -(2**63), 0.0, -0.5, 1e308],
    *[float("nan"), float("inf"), "", "x", "0", "../../x", "/etc/passwd", "a\0b", "\ud800", "\x1b[2J\n", "é" * 300],
    *["|O", "<f4", "<f8", "|S0", "<U1000000000", "[('a', '|O')]", "(" * 300, "a5", "load", "float32", "qint8", "nan"],
    *[[], {}, [[]], [0], [2**62, 4], [2**32, 2**32], [-1], {"$array": None}, {"$float": "1e999"}],
    *[{"$int": "0x" + "f" * 99}, {"$scalar": ["<f4", "00"]}, {"$items": [[[], 1]]}, {"$items": [[0, 1]]}, {"": 0}],
    *[{"$array": {"block": None, "offset": 0, "dtype": "<f4", "shape": [1 << 40], "strides": None}}],
    *[{"$array": {"block": 0, "offset": 0, "dtype": "|u1", "shape": [1 << 40], "strides": [0]}}],
]


def place_in(tree: Any, draw: random.Random) -> tuple[Any, Any]:
    """An item of nested lists and dicts, long ones no more often than others: what holds it, and where."""
    while True:
        key = draw.choice(list(tree) if isinstance(tree, dict) else range(len(tree)))
        if not isinstance(tree[key], dict | list) or not tree[key] or draw.random() < 0.15:
            return tree, key
        tree = tree[key]


def changed_tree(tree: Any, draw: random.Random) -> Any:
    """A copy of JSON with items removed, replaced, exchanged, put deep or, where they are numbers, moved."""
    tree = copy.deepcopy(tree)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if not isinstance(tree, dict | list) or not tree:
            return draw.choice(NASTY)
        holder, key = place_in(tree, draw)
        match draw.randrange(5):
            case 0:
                del holder[key]
            case 1:
                other, place = place_in(tree, draw)
                holder[key] = copy.deepcopy(other[place])
            case 2 if type(holder[key]) is int:
                holder[key] += draw.choice((-1, 1, 8, -8, 1 << 20, 1 << 40))
            case 3 if draw.random() < 0.3:
                for _ in range(draw.choice((1, 60, 700))):
                    holder[key] = [holder[key]]
            case _:
                holder[key] = draw.choice(NASTY)
    return tree


def changed_bytes(content: bytes, draw: random.Random) -> bytes:
    """Bytes with some cut out, doubled or put in."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        start = draw.randrange(len(content) + 1)
        end = min(len(content), start + draw.choice((0, 1, 4, 40, 4000)))
        middle = draw.choice((b"", content[start:end] * 2, bytes([draw.randrange(256)]), b"[" * 3000, b"\0", b'"'))
        content = content[:start] + middle + content[end:]
    return content


def dumped(tree: Any) -> bytes:
    try:
        return json.dumps(tree).encode()
    except RecursionError:
        return b"[" * 5000


# ---------------------------------------------------------------------- checkpoints


def refusals(folder: Path, config: RunConfig) -> list[str]:
    """What is said of all that `resume` and `audit` look at before anything is built."""
    said: list[str] = []
    try:
        found, passed_over = resuming.newest(folder, config)
        said += passed_over
        saved = resuming.saved_by(found, config)
        said += [*resuming.differences(saved, torch.device("cpu"), 1), *resuming.lost(folder, found, saved)]
        storage.read(newest_checkpoint(folder), LEARNT)
    except (ConfigError, DamagedError) as error:
        said.append(str(error))
    return said


@fuzz(60)
def test_manifests(work: Path, trained: Path, config: RunConfig, draw: random.Random) -> None:
    renew(work, trained)
    path = newest_of(work) / "manifest.json"
    content = path.read_bytes()
    if draw.random() < 0.3:
        path.write_bytes(changed_bytes(content, draw))
    else:
        entries = json.loads(content)
        del entries["checksum"]
        entries = changed_tree(entries, draw)
        if isinstance(entries, dict):
            entries["checksum"] = zlib.crc32(dumped({key: entries[key] for key in entries if key != "format"}))
        path.write_bytes(dumped(entries))
    assert all(map(is_sentence, refusals(work, config)))
    path.write_bytes(content)


def change_part(checkpoint: Path, draw: random.Random) -> str:
    """Change the structure or the tensors of a part, with checksums that say so."""
    part = draw.choice(storage.Manifest.load(checkpoint).parts)
    if draw.random() < 0.2:
        path = checkpoint / f"{part}.safetensors"
        path.write_bytes(changed_bytes(path.read_bytes(), draw))
    else:
        path = checkpoint / f"{part}.json"
        content = path.read_bytes()
        if draw.random() < 0.2:
            path.write_bytes(changed_bytes(content, draw))
        else:
            structure = json.loads(content)
            key = "blocks" if draw.random() < 0.2 else "state"
            path.write_bytes(dumped({**structure, key: changed_tree(structure[key], draw)}))
    forge_manifest(checkpoint)
    return part


def arrays(state: Any) -> Iterator[Any]:
    if isinstance(state, np.ndarray | torch.Tensor):
        yield state
    for value in state.values() if isinstance(state, dict) else state if isinstance(state, list) else ():
        yield from arrays(value)


@fuzz(60)
def test_parts_take_no_more_than_their_files(work: Path, trained: Path, config: RunConfig, draw: random.Random) -> None:
    renew(work, trained)  # the example before may have failed
    checkpoint = newest_of(work)
    part = change_part(checkpoint, draw)
    assert all(map(is_sentence, refusals(work, config)))
    try:
        state = storage.read(checkpoint, [part])
    except DamagedError as error:
        check_sentence(error)
    else:
        held = sum(array.nbytes for array in arrays(state))
        assert held <= SHARED * 8 * (checkpoint / f"{part}.safetensors").stat().st_size + SPARE


class Fits(BaseException):  # no failure of the run, which would be caught
    """All has been put back, and training would go on."""


@fuzz(25)
def test_what_is_put_back(work: Path, trained: Path, draw: random.Random) -> None:
    renew(work, trained)  # the example before may have failed

    def fits(*_: object) -> None:
        raise Fits

    change_part(newest_of(work), draw)
    with pytest.MonkeyPatch.context() as patch, opened(work) as config:
        patch.setattr(logs, "truncate", fits)
        try:
            code = runs.resume_opened(work, config, ["crl"])
        except ConfigError as error:
            check_sentence(error)
        except Fits:
            pass
        else:
            pytest.fail(f"it ended with {code}")


# ---------------------------------------------------------------------- other files


@fuzz(25)
def test_configs(work: Path, trained: Path, draw: random.Random) -> None:
    renew(work, trained)  # the example before may have failed
    path = work / "config.yaml"
    path.write_bytes(changed_bytes(path.read_bytes(), draw))
    try:
        forge_hash(work)
        with opened(work) as config:
            assert isinstance(config, RunConfig)
    except ConfigError as error:
        check_sentence(error)


@fuzz(30)
def test_logs_and_results(work: Path, trained: Path, draw: random.Random) -> None:
    renew(work, trained)  # the example before may have failed
    names = (".config_hash", "progress.csv", "results.json", next(trained.glob("events*")).name)
    path = work / draw.choice(names)
    path.write_bytes(changed_bytes(path.read_bytes() if path.exists() else b'{"status": "done"}', draw))
    try:
        with opened(work) as config:
            resuming.refuse_finished(work)
            assert all(map(is_sentence, refusals(work, config)))
    except ConfigError as error:
        check_sentence(error)


@pytest.mark.parametrize("verb", ["audit", "resume"])
@pytest.mark.parametrize("seed", range(3))
def test_verbs(seed: int, verb: str, work: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "draw", lambda *_: None)  # a figure reads nothing, and takes a second
    renew(work, trained)
    change_part(newest_of(work), random.Random(seed))
    result = CliRunner().invoke(app, [verb, str(work)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert result.exit_code in (0, 2), result.stderr
    if result.exit_code == 2:
        refusal = result.stderr.splitlines()[-1]
        assert refusal.startswith("crl: ")
        assert is_sentence(refusal)
