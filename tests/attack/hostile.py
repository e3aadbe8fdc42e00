"""Generators of hostile inputs: each takes what is valid, changes something by a seed, and never says what is right."""

import copy
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from counts import slow_count
from safetensors.torch import save
from sealed_files import sealed

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.data import demonstrations

__all__ = ["FAMILIES", "Attack", "attacks", "put"]

#: How many attacks of each family there are: 300 in all if all are asked for.
EACH = slow_count(25, 8)

_DEEP = json.loads("[" * 400 + "]" * 400)
_WORDS = (
    "",
    "x" * 3000,
    "../../etc/passwd",
    "~",
    "[/red]\x1b[31m\x07",
    "<script>alert(1)</script>",
    "\u202e",
    "$\\x$",
    "a\0b",
)
_NUMBERS = (-1, 0, 1 << 31, 1 << 63, -(1 << 70), 1e308, float("inf"), float("nan"), True)
_PLAIN = (None, [], {}, [[]], {"a": {}}, [1, "x", None], _DEEP, *_WORDS, *_NUMBERS)

_BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(12)]
)


class Attack(NamedTuple):
    """A command in a folder with files.

    Attributes:
        arguments: of the program.
        files: path to content; a text that begins with ``->`` is a link to what follows.
        writes: what may be there afterwards, if it succeeds: names at the top of the folder.
    """

    arguments: tuple[str, ...]
    files: Mapping[str, bytes | str]
    writes: tuple[str, ...] = ()


class Good(NamedTuple):
    """What hostile inputs are made from: the files of a small run."""

    run: Path
    dataset: Path


def put(attack: Attack, folder: Path) -> None:
    """Writes the files of an attack."""
    for name, content in attack.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("->"):
            path.symlink_to(content[2:])
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def attacks(family: str, good: Good) -> Iterator[Attack]:
    """The attacks of a family, always the same ones."""
    for seed in range(EACH):
        yield FAMILIES[family](good, random.Random(f"{family} {seed}"))


def _changed(value: Any, rng: random.Random, pool: tuple[Any, ...] = _PLAIN, times: int = 1) -> Any:
    """A copy of nested plain data in which some places hold something else, or nothing."""
    value = copy.deepcopy(value)
    for _ in range(times):
        places = list(_places(value))
        if not places:
            break
        owner, key = rng.choice(places)
        if rng.random() < 0.2:
            del owner[key]
        else:
            owner[key] = rng.choice(pool)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, doubled, or overwritten."""
    kind, at = rng.randrange(5), rng.randrange(max(1, len(content)))
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
    if kind == 2:
        return content + content[at:]
    if kind == 3:
        return content[:at] + rng.randbytes(40) + content[at + 40 :]
    return content[:at] + b"\xff" * 8 + content[at + 8 :]


# ---- files


def _checkpoint(good: Good, rng: random.Random) -> bytes:
    """A checkpoint with a right seal around something that is not right."""
    content = read_checkpoint(good.run / "checkpoints" / "last.ckpt")
    if rng.random() < 0.15:
        return _damaged((good.run / "checkpoints" / "last.ckpt").read_bytes(), rng)
    part = rng.choice(["iqlightning", "iqlightning", "state_dict", "loops", "optimizer_states", "global_step", ""])
    pool = (*_PLAIN, b"", torch.zeros(0), torch.full((3,), float("nan")))
    if part in content:
        content = {**content, part: _changed({"it": content[part]}, rng, pool).get("it")}
    else:
        content = _changed(content, rng, pool, 3)
    file = io.BytesIO()
    torch.save(content, file)
    return sealed(file.getvalue())


def _dataset(good: Good, rng: random.Random) -> bytes:
    """A demonstrations file with a right checksum over something that is not right."""
    if rng.random() < 0.2:
        return _damaged(good.dataset.read_bytes(), rng)
    header, _ = demonstrations.header_of(good.dataset)
    _, tensors = demonstrations._map(good.dataset, demonstrations.ARRAYS)
    header.pop("sha256")
    if rng.random() < 0.5:
        name = rng.choice(list(header))
        changed = _changed({"it": json.loads(header[name])}, rng, times=2).get("it")
        header[name] = rng.choice([json.dumps(changed), "9" * 5000, "{", "[" * 5000])
    else:
        name = rng.choice(list(tensors))
        changes: list[Callable[[torch.Tensor], torch.Tensor]] = [
            lambda it: it[:0],
            lambda it: it.flip(0),
            lambda it: it.to(torch.float64) * float("nan"),
            lambda it: it.to(torch.int64) - (1 << 62),
            lambda it: it.unsqueeze(-1).expand(*it.shape, 2),
            lambda it: torch.cat([it, it]),
        ]
        tensors[name] = rng.choice(changes)(tensors[name]).contiguous()
    header["sha256"] = demonstrations._checksum(tensors, header)
    return save(tensors, header)


def _run(good: Good, rng: random.Random) -> dict[str, bytes | str]:
    """A run's folder of which one file is not right, beside one that is."""
    files: dict[str, bytes | str] = {}
    for name in ("config.yaml", "metrics.csv", "summary.json"):  # without a policy nothing is played, which takes long
        files[f"logs/good/version_0/{name}"] = files[f"logs/it/version_0/{name}"] = (good.run / name).read_bytes()
    kind = rng.randrange(8)
    config = yaml.safe_load((good.run / "config.yaml").read_text())
    if kind < 2:
        files["logs/it/version_0/config.yaml"] = yaml.safe_dump(_changed(config, rng, times=4))
    elif kind == 2:
        files["logs/it/version_0/config.yaml"] = rng.choice(
            [_BOMB, "a: &a [*a]", "[" * 3000, "x", "\0", "a: 1\n" * 99999]
        )
    elif kind < 5:
        summary = json.loads((good.run / "summary.json").read_text())
        text = json.dumps(_changed(summary, rng, times=4))
        files["logs/it/version_0/summary.json"] = rng.choice([text, text, text, "[" * 9999, "9" * 9999, "{}"])
    elif kind == 5:
        rows = (good.run / "metrics.csv").read_text().splitlines()
        step = rows[0].split(",").index("step")
        for at in range(1, len(rows)):
            cells = rows[at].split(",")
            cells[rng.choice([step, rng.randrange(len(cells))])] = rng.choice(
                ["²", "9" * 5000, "-1", "nan", '"', "1e999", "x"]
            )
            rows[at] = ",".join(cells)
        files["logs/it/version_0/metrics.csv"] = "\n".join(rows)
    elif kind == 6:
        files["logs/it/version_0/checkpoints/last.ckpt"] = _checkpoint(good, rng)
    else:
        files["logs/it/version_0/episode.gif"] = b"GIF89a" + rng.randbytes(rng.choice([0, 20, 2000]))
    return files


def _table(rng: random.Random) -> bytes:
    head = ["episode", "obs_0", "obs_1", "action", "reward", "terminated", "truncated"]
    rows = [[str(n // 5), str(n * 0.1), "1.5", str(n % 2), "1.0", str(n % 5 == 4), "False"] for n in range(20)]
    table = [head, *rows]
    for _ in range(rng.randrange(1, 4)):
        cells = rng.choice(table)
        cells[rng.randrange(len(cells))] = rng.choice(
            [*_WORDS, "9" * 400, "nan", "-1", "1e999", '"', "²", "0x1", "action"]
        )
    content = rng.choice([",", ";", "\t"]).join
    text = "\n".join(content(row) for row in table).encode()
    return _damaged(text, rng) if rng.random() < 0.2 else text


def _archive(rng: random.Random) -> bytes:
    arrays: dict[str, Any] = {
        "observations": np.zeros((21, 4), np.float32),
        "actions": np.zeros(20, np.int64),
        "rewards": np.ones(20, np.float32),
        "terminated": np.arange(20) % 5 == 4,
    }
    name = rng.choice(list(arrays))
    changes = [
        np.zeros(0),
        np.full((20, 4), np.nan),
        np.array(["x"] * 20),
        np.full(20, 1 << 62),
        np.zeros((20, 0)),
        np.zeros((2, 3, 4, 5, 6)),
        np.array([None] * 20, object),
        np.zeros(20, np.complex64),
        np.array(3.0),
        np.zeros(20, "datetime64[s]"),
    ]
    arrays[name] = rng.choice(changes)
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=True, **arrays)
    content = file.getvalue()
    if rng.random() < 0.3:
        return _damaged(content, rng)
    if rng.random() < 0.2:  # an array that says it is larger than any memory
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10 ** rng.randrange(10, 17)}, 4), }}".encode()
            archive.writestr(
                "observations.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(999)
            )
        return file.getvalue()
    return content


def _hdf5(rng: random.Random) -> bytes:
    return b"\x89HDF\r\n\x1a\n" + rng.randbytes(rng.choice([0, 60, 4000]))


def _minari(rng: random.Random) -> dict[str, bytes | str]:
    box = {"type": "Box", "dtype": "float32", "shape": [4], "low": [-1.0] * 4, "high": [1.0] * 4}
    metadata: Any = {
        "dataset_id": "it-v0",
        "observation_space": json.dumps(box),
        "action_space": json.dumps({"type": "Discrete", "dtype": "int64", "start": 0, "n": 2}),
        "data_format": "hdf5",
        "minari_version": "0.5.3",
        "total_episodes": 2,
        "env_spec": json.dumps({"id": "CartPole-v1", "kwargs": {}, "additional_wrappers": []}),
    }
    metadata = _changed(metadata, rng, times=2)
    text = rng.choice([json.dumps(metadata), "[" * 9999, "9" * 9999])
    return {"set/data/metadata.json": text, "set/data/main_data.hdf5": _hdf5(rng)}


# ---- families

_TINY = """
model: {class_path: BehaviorCloning, init_args: {encoder: {class_path: MLP, init_args: {hidden: [8]}}, log_every: 5}}
data:
  class_path: ImitationData
  init_args:
    env: {class_path: GridWorldConfig, init_args: {height: 4, width: 4, num_walls: 2}}
    episodes: 20
    batch_size: 8
    updates_per_epoch: 5
trainer: {accelerator: cpu, max_steps: 5, callbacks: []}
checkpoint: {monitor: null}
"""

_MODELS = ("os.system", "torch.save", "builtins.eval", "IQLearn", "numpy.load", "subprocess.Popen", "lightning.Trainer")


def _of_demonstrations(good: Good, rng: random.Random) -> Attack:
    command = rng.choice([("data", "it.safetensors"), ("data", "it.safetensors", "--json", "out.json")])
    return Attack(command, {"it.safetensors": _dataset(good, rng)}, ("out.json",))


def _of_demonstrations_in_use(good: Good, rng: random.Random) -> Attack:
    files: dict[str, bytes | str] = {"it.safetensors": _dataset(good, rng), "tiny.yaml": _TINY}
    fit = ("fit", "--config", "tiny.yaml", "--data.path", "it.safetensors", "--data.env", "null")
    made = ("collect", "--from", "it.safetensors", "--output", "out.safetensors")
    return Attack(fit if rng.random() < 0.3 else made, files, ("out.safetensors", "logs"))


def _of_checkpoints(good: Good, rng: random.Random) -> Attack:
    command = ("evaluate", "it.ckpt", "--episodes", "5", "--json", "out.json")
    return Attack(command, {"it.ckpt": _checkpoint(good, rng)}, ("out.json",))


def _of_checkpoints_in_use(good: Good, rng: random.Random) -> Attack:
    commands = [
        ("export", "it.ckpt", "--format", "torch", "--output", "out", "--observations", "5"),
        ("collect", "--policy", "it.ckpt", "--episodes", "3", "--output", "out.safetensors"),
        ("collect", "--policy", "it.ckpt", "--episodes", "3", "--output", "out.safetensors"),
        ("fit", "--config", "tiny.yaml", "--ckpt_path", "it.ckpt"),
    ]
    files: dict[str, bytes | str] = {"it.ckpt": _checkpoint(good, rng), "tiny.yaml": _TINY}
    return Attack(rng.choice(commands), files, ("out", "out.safetensors", "logs", "data"))


def _of_runs(good: Good, rng: random.Random) -> Attack:
    return Attack(("report", "logs", "--episodes", "5", "--output", "out.html"), _run(good, rng), ("out.html",))


def _of_recordings(good: Good, rng: random.Random) -> Attack:
    kind, gym = rng.randrange(6), ("--gym", "CartPole-v1")
    if kind < 2:
        return Attack(("data", "it.csv", *gym[: rng.choice([0, 2])]), {"it.csv": _table(rng)})
    if kind < 4:
        return Attack(("data", "it.npz", *gym), {"it.npz": _archive(rng)})
    if kind == 4:
        return Attack(("data", "it.hdf5", *gym), {"it.hdf5": _hdf5(rng)})
    return Attack(("data", "./set"), _minari(rng))


def _of_recordings_in_use(good: Good, rng: random.Random) -> Attack:
    attack = _of_recordings(good, rng)
    command = ("collect", "--from", *attack.arguments[1:], "--output", "out.safetensors")
    return Attack(command, attack.files, ("out.safetensors",))


def _of_configurations(good: Good, rng: random.Random) -> Attack:
    config: Any = yaml.safe_load(_TINY)
    kind, files = rng.randrange(6), {}
    if kind < 3:
        text = yaml.safe_dump(_changed(config, rng, times=rng.randrange(1, 4)))
    elif kind == 3:
        config["model"] = rng.choice([{"class_path": rng.choice(_MODELS)}, "other.yaml", "/dev/zero", "other.yaml"])
        files["other.yaml"] = rng.choice([_BOMB, "a: &a {b: *a}", "[" * 3000, "model: other.yaml"])
        text = yaml.safe_dump(config)
    elif kind == 4:
        text = rng.choice(
            [_BOMB, "base: it.yaml", "base: [1]", "!!python/object/apply:os.mkdir [x]", "? [a]\n: b", "a: " * 2000]
        )
    else:
        text = _damaged(_TINY.encode(), rng).decode(errors="replace")
    # where an attack takes the number of updates away, the default is a good run that takes long
    short = () if "max_steps" in text else ("--trainer.max_steps", "2")
    return Attack(("fit", "--config", "it.yaml", *short), {"it.yaml": text, **files}, ("logs", "data"))


def _of_settings(good: Good, rng: random.Random) -> Attack:
    keys = (
        "model.optimizer.lr",
        "model.optimizer",
        "model.encoder.hidden",
        "model.gamma",
        "model.max_grad_norm",
        "data.batch_size",
        "data.episodes",
        "data.updates_per_epoch",
        "data.env.height",
        "data.validation_fraction",
        "trainer.max_steps",
        "trainer.precision",
        "trainer.accelerator",
        "trainer.devices",
        "trainer.default_root_dir",
        "checkpoint.monitor",
        "seed_everything",
        "threads",
        "ckpt_path",
    )
    values = ("-1", "x", "null", "[]", "{}", "1e400", str(1 << 70), "nan", "/dev/full", "it.yaml", "", "LBFGS", "[-1]")
    files: dict[str, bytes | str] = {"it.yaml": _TINY.replace("max_steps: 5", "max_steps: 3")}
    key, value = rng.choice(keys), rng.choice(values)
    # any word is the name of a folder
    return Attack(("fit", "--config", "it.yaml", f"--{key}={value}"), files, ("logs", "data", value))


def _of_outputs(good: Good, rng: random.Random) -> Attack:
    """Places to write to at which there is something, or that cannot be."""
    places = (
        "/dev/full",
        "precious",
        "link",
        "folder",
        "precious/x",
        "folder/new/out",
        "x" * 300,
        "",
        "a\tb",
        "dangling",
    )
    place, files = rng.choice(places), {"precious": "somebody's", "folder/kept": "somebody's", "link": "->precious"}
    files |= {"dangling": "->out"}
    checkpoint = (good.run / "checkpoints" / "last.ckpt").read_bytes()
    commands = [
        ("evaluate", "it.ckpt", "--episodes", "2", "--json", place),
        ("evaluate", "it.ckpt", "--episodes", "2", "--failures", f"{place}.png"),
        ("data", "it.safetensors", "--json", place),
        ("collect", "--from", "it.safetensors", "--output", place),
        ("export", "it.ckpt", "--format", "torch", "--observations", "2", "--output", place),
        ("report", "logs", "--episodes", "2", "--output", place),
    ]
    chosen = rng.choice(commands)
    contents: dict[str, bytes | str] = {**files}
    for name in chosen:
        contents |= {"it.ckpt": checkpoint} if name == "it.ckpt" else {}
        contents |= {"it.safetensors": good.dataset.read_bytes()} if name == "it.safetensors" else {}
        contents |= _run(good, rng) if name == "logs" else {}
    named = place.split("/")[0]
    writes = ("out", f"{place}.png", *([named] if named not in ("precious", "link", "") else []))
    return Attack(chosen, contents, writes)


def _of_command_lines(good: Good, rng: random.Random) -> Attack:
    """Words that are none of a command's, and values that none of its options takes."""
    options = ("--episodes", "--seed", "--height", "--num_walls", "--temperature", "--device", "--gym", "--gym_kwargs")
    options += ("--from", "--policy", "--sample", "--min_return", "--level", "--output", "--json", "--port", "--names")
    values = (
        "-1",
        "x",
        "",
        str(1 << 70),
        "nan",
        "[]",
        '{"a": ' * 900,
        "os:system",
        "../x",
        "/dev/zero",
        "é",
        "--",
        "-",
        "~x",
    )
    command = rng.choice(
        ["collect", "data", "evaluate", "export", "report", "bench", "validate", "predict", "play", "x"]
    )
    words = [rng.choice([*options, *values]) for _ in range(rng.randrange(1, 5))]
    # a page that is served well would be served for ever
    rest = ["--device", "nowhere"] if command == "play" else []
    return Attack((command, *words, *rest, "--episodes", "2") if command == "collect" else (command, *words, *rest), {})


def _of_bytes(good: Good, rng: random.Random) -> Attack:
    """Files of any kind in the place of any other, or of nothing in particular."""
    contents = [
        rng.randbytes(rng.choice([0, 1, 9, 5000])),
        zlib.compress(bytes(99999)),
        b"PK\x03\x04" + rng.randbytes(99),
    ]
    contents += [_TINY.encode(), good.dataset.read_bytes(), (good.run / "checkpoints" / "last.ckpt").read_bytes()]
    suffix = rng.choice(["ckpt", "safetensors", "npz", "csv", "hdf5", "zip", "pkl", "yaml", "parquet"])
    name = f"it.{suffix}"
    commands = [
        ("data", name),
        ("evaluate", name, "--episodes", "2"),
        ("collect", "--from", name, "--output", "out.safetensors"),
        ("collect", "--policy", name, "--episodes", "2", "--output", "out.safetensors"),
        ("report", name),
        ("fit", "--config", name),
        ("play", name, "--no-open", "--device", "nowhere"),
    ]
    return Attack(
        rng.choice(commands), {name: rng.choice(contents)}, ("out.safetensors", "logs", "data", "report.html")
    )


FAMILIES: dict[str, Callable[[Good, random.Random], Attack]] = {
    "demonstrations": _of_demonstrations,
    "demonstrations in use": _of_demonstrations_in_use,
    "checkpoints": _of_checkpoints,
    "checkpoints in use": _of_checkpoints_in_use,
    "runs": _of_runs,
    "recordings": _of_recordings,
    "recordings in use": _of_recordings_in_use,
    "configurations": _of_configurations,
    "settings": _of_settings,
    "outputs": _of_outputs,
    "command lines": _of_command_lines,
    "bytes": _of_bytes,
}
