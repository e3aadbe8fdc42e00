"""Files from elsewhere cannot run code: whatever each of these is made to execute, it never does."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from counts import slow
from safetensors.torch import save
from sealed_files import sealed

from iqlightning.checkpoint_files import read_checkpoint
from iqlightning.checkpoints import load_policy
from iqlightning.data.demonstrations import load_demonstrations

CANARY = "executed"


class Payload:
    """Unpickling it calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


PAYLOADS = {
    "os.mkdir": Payload(os.mkdir, CANARY),
    "os.system": Payload(os.system, f"mkdir {CANARY}"),
    "subprocess.Popen": Payload(subprocess.Popen, ["mkdir", CANARY]),
    "eval": Payload(eval, f"__import__('os').mkdir('{CANARY}')"),
    "exec": Payload(exec, f"import os; os.mkdir('{CANARY}')"),
}


class Layer(torch.nn.Module):
    """A module that was pickled whole, code and all."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        os.mkdir(CANARY)


def saved(content: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def archive(program: bytes, *entries: tuple[str, bytes]) -> bytes:
    """A checkpoint whose pickle is given byte by byte."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in (("archive/data.pkl", program), ("archive/version", b"3\n"), *entries):
            file.writestr(name, content)
    return buffer.getvalue()


def compiled_program() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), buffer)
    return buffer.getvalue()


def policy(good: dict[str, Any], **changes: Any) -> bytes:
    """A checkpoint, sealed and of plain values only, that says something of its policy that it should not."""
    return sealed(saved(good | {"iqlightning": good["iqlightning"] | changes}))


def agent(good: dict[str, Any], **changes: Any) -> bytes:
    return policy(good, agent=good["iqlightning"]["agent"] | changes)


def network(good: dict[str, Any], part: str, target: str, **arguments: Any) -> bytes:
    recipe = good["iqlightning"]["agent"]["network"]
    return agent(good, network=recipe | {part: {"class_path": target, "init_args": arguments}})


def older(good: dict[str, Any], target: str, **arguments: Any) -> bytes:
    """A checkpoint as it was before there were agents, whose encoder is something else."""
    recipe = good["iqlightning"]["agent"]
    network = recipe["network"] | {"encoder": {"class_path": target, "init_args": arguments}}
    stored = {name: value for name, value in good["iqlightning"].items() if name != "agent"}
    stored |= {"schema": 1, "network": network, "value": recipe["value"]}
    return sealed(saved(good | {"iqlightning": stored}))


def checkpoints(good: dict[str, Any]) -> dict[str, bytes]:
    made = {f"{name} in a sealed archive": sealed(saved({"state_dict": it})) for name, it in PAYLOADS.items()}
    made |= {f"{name} as a bare pickle": pickle.dumps(payload) for name, payload in PAYLOADS.items()}
    old_format = {"_use_new_zipfile_serialization": False}
    return made | {
        "a payload among good weights": sealed(saved(good | {"callbacks": {"x": PAYLOADS["os.mkdir"]}})),
        "a payload in the old format": saved({"state_dict": PAYLOADS["os.mkdir"]}, **old_format),
        "a payload of another program": saved({"state_dict": PAYLOADS["os.system"]}),
        "a module pickled whole": sealed(saved(Layer())),
        "a compiled program": sealed(compiled_program()),
        "a global by its name": sealed(archive(b"cos\nmkdir\n(V" + CANARY.encode() + b"\ntR.")),
        "a global on the stack": sealed(
            archive(b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x08" + CANARY.encode() + b"\x85R.")
        ),
        "an instance the old way": sealed(archive(b"(V" + CANARY.encode() + b"\nios\nmkdir\n.")),
        "a path out of the archive": sealed(archive(b"\x80\x02}.", (f"../../{CANARY}", b"x"))),
        "an encoder that is a command": network(good, "encoder", "os.mkdir", path=CANARY),
        "an encoder that is a process": network(good, "encoder", "subprocess.Popen", args=["mkdir", CANARY]),
        "an encoder that is evaluated": network(good, "encoder", "builtins.eval", source=f"open('{CANARY}', 'w')"),
        "an encoder in a module of the folder": network(good, "encoder", "hostile_module.Encoder"),
        "a head that is a program of the package": network(good, "head", "iqlightning.cli.main.main", arguments=[]),
        "an environment that is a command": policy(good, env={"kind": "os.mkdir", "path": CANARY}),
        "an environment of a module": policy(good, env={"kind": "GymnasiumConfig", "id": "hostile_module:Env-v0"}),
        "an environment of a package nobody trusts": policy(good, env={"kind": "hostile_module.Env"}),
        "a value that is a command": agent(good, value={"kind": "os.mkdir", "temperature": CANARY}),
        "an agent that is a command": agent(good, kind="os.mkdir", path=CANARY),
        "spaces that are a command": agent(good, spaces={"observation": {"kind": "os.mkdir"}, "action": CANARY}),
        "an encoder of an older checkpoint that is a command": older(good, "os.mkdir", path=CANARY),
    }


def datasets() -> dict[str, bytes]:
    array = torch.zeros(1, dtype=torch.int64)
    made = {f"{name} instead of arrays": pickle.dumps(payload) for name, payload in PAYLOADS.items()}
    return made | {
        "a payload of torch": saved({"actions": PAYLOADS["os.mkdir"]}),
        "metadata that are a pickle": save({"actions": array}, {"schema_version": "1", "env": repr(pickle.dumps(1))}),
        "metadata that are a program": save(
            {"actions": array}, {"schema_version": "1", "env": f"__import__('os').mkdir('{CANARY}')"}
        ),
        "metadata that name a command": save(
            {"actions": array}, {"schema_version": "1", "env": '{"kind": "os.mkdir", "path": "executed"}'}
        ),
        "a name that is a path": save({f"../{CANARY}": array}, {"schema_version": "1"}),
    }


TAGS = [
    "!!python/object/apply:os.mkdir [executed]",
    "!!python/object/apply:os.system ['mkdir executed']",
    "!!python/object/apply:subprocess.Popen [[mkdir, executed]]",
    "!!python/object/new:os.mkdir [executed]",
    "!!python/name:os.mkdir",
    "!!python/module:hostile_module",
]
NAMES = [
    "{class_path: os.mkdir, init_args: {path: executed}}",
    "{class_path: os.system, init_args: {command: mkdir executed}}",
    "{class_path: posix.mkdir, init_args: {path: executed}}",
    "{class_path: subprocess.Popen, init_args: {args: [mkdir, executed]}}",
    "{class_path: builtins.eval, init_args: {source: \"__import__('os').mkdir('executed')\"}}",
    "{class_path: builtins.exec, init_args: {source: \"import os; os.mkdir('executed')\"}}",
    "{class_path: importlib.import_module, init_args: {name: hostile_module}}",
    "{class_path: runpy.run_path, init_args: {path_name: hostile_module.py}}",
    "{class_path: pickle.load, init_args: {file: hostile.ckpt}}",
    "{class_path: torch.load, init_args: {f: hostile.ckpt, weights_only: false}}",
    "{class_path: torch.hub.load, init_args: {repo_or_dir: ., source: local, model: hostile_module}}",
    "{class_path: hostile_module.Encoder}",
    "{class_path: lightning.pytorch.loggers.csv_logs.os.mkdir, init_args: {path: executed}}",
    "{class_path: lightning.pytorch.callbacks.LambdaCallback, init_args: {setup: os.mkdir}}",
    "{class_path: iqlightning.cli.main.main, init_args: {arguments: [collect]}}",
    "hostile_module.Encoder",
    "os.mkdir",
]
PLACES = [
    "model: %s",
    "model: {init_args: {encoder: %s}}",
    "model: {init_args: {optimizer: %s}}",
    "data: %s",
    "data: {init_args: {env: %s}}",
    "trainer: {callbacks: [%s]}",
    "trainer: {logger: %s}",
]
RESOLVERS = ["${oc.create:os.mkdir}", "${python:1}", "${eval:1}"]


def configurations() -> list[str]:
    """Every name at one place after the other; every tag at the first."""
    named = [PLACES[i % len(PLACES)] % name for i, name in enumerate([*TAGS, *NAMES])]
    return [*named, *(f"model: {{init_args: {{gamma: '{each}'}}}}" for each in RESOLVERS)]


@pytest.fixture
def guarded(workplace, monkeypatch):
    """A folder, on the path, with a module that leaves its mark when it is imported."""
    workplace.write("hostile_module.py", f"import os\nos.makedirs('{CANARY}', exist_ok=True)\nEncoder = dict")
    monkeypatch.syspath_prepend(workplace.folder)
    yield workplace
    assert not (workplace.folder / CANARY).exists()
    assert not list(workplace.folder.parent.glob(CANARY))
    assert "hostile_module" not in sys.modules


@pytest.fixture
def good(workplace) -> dict[str, Any]:
    """The content of a checkpoint that nothing is wrong with."""
    return read_checkpoint(workplace.fit("--trainer.max_steps", "1") / "checkpoints" / "last.ckpt")


def test_each_payload_would_run_if_it_were_unpickled(tmp_path, monkeypatch):
    """What the canary is worth: the same bytes, read carelessly, leave it behind."""
    for number, payload in enumerate([*PAYLOADS.values(), Layer()]):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        made = torch.load(io.BytesIO(saved(payload)), weights_only=False)
        if isinstance(made, subprocess.Popen):
            made.wait()
        assert Path(CANARY).is_dir()


def test_hostile_checkpoints_are_refused_and_run_nothing(guarded, good):
    path = guarded.folder / "hostile.ckpt"
    path.write_bytes(policy(good))
    load_policy(path)
    for name, content in checkpoints(good).items():
        path.write_bytes(content)
        culprit = "hostile_module:Env-v0" if name == "an environment of a module" else "hostile.ckpt"
        sentence = guarded.refused("evaluate", "hostile.ckpt")
        assert culprit in sentence, name
        assert "could run code" in sentence or not name.endswith("in a sealed archive")
        assert not (guarded.folder / CANARY).exists(), name


def test_a_run_continues_from_no_hostile_checkpoint(guarded, good):
    path = guarded.folder / "hostile.ckpt"
    names = ["os.mkdir in a sealed archive", "eval as a bare pickle", "a payload among good weights"]
    made = checkpoints(good)
    for name in names:
        path.write_bytes(made[name])
        for command in ("fit", "validate"):
            assert "hostile.ckpt" in guarded.refused(command, "--config", "tiny.yaml", "--ckpt_path", "hostile.ckpt")
    path.write_bytes(made[names[0]])
    plugin = "lightning.pytorch.plugins.io.TorchCheckpointIO"
    for command in ("fit", "validate"):
        arguments = ("--config", "tiny.yaml", "--ckpt_path", "hostile.ckpt", f"--trainer.plugins+={plugin}")
        assert guarded.refused(command, *arguments)


def test_hostile_datasets_are_refused_and_run_nothing(guarded):
    for content in datasets().values():
        (guarded.folder / "hostile.safetensors").write_bytes(content)
        arguments = ("fit", "--config", "tiny.yaml", "--data.path", "hostile.safetensors")
        assert "hostile.safetensors" in guarded.refused(*arguments)
        assert "hostile.safetensors" in guarded.refused(*arguments, "--data.env", "null")


EVERYWHERE = [place % name for name in (*TAGS, *NAMES) for place in PLACES]


@pytest.mark.parametrize("contents", [configurations(), *slow(EVERYWHERE)])
def test_hostile_configurations_are_refused_and_run_nothing(guarded, contents):
    torch.save(PAYLOADS["os.mkdir"], guarded.folder / "hostile.ckpt")
    for content in contents:
        guarded.write("hostile.yaml", content)
        guarded.refused("fit", "--config", "tiny.yaml", "--config", "hostile.yaml")
        assert not (guarded.folder / CANARY).exists(), content


# ---- files that are small and stand for very much


def test_archives_that_grow_are_refused_before_they_do(guarded, good):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", b"\x80\x02}." + bytes(50_000_000))
        file.writestr("archive/version", b"3\n")
    (guarded.folder / "bomb.ckpt").write_bytes(sealed(buffer.getvalue()))
    assert "is compressed" in guarded.refused("evaluate", "bomb.ckpt")
    (guarded.folder / "bomb.ckpt").write_bytes(
        network(good, "encoder", "iqlightning.nets.encoders.mlp.MLP", hidden=[1 << 40])
    )
    assert "bomb.ckpt" in guarded.refused("evaluate", "bomb.ckpt")


GROWING = {
    "references to references": "\n".join(
        ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
        + [f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(30)]
    ),
    "merged references": "\n".join(
        ["a0: &a0 {x: 1, y: 2}"] + [f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}]}}" for i in range(30)]
    ),
    "itself": "data: &data {init_args: *data}",
    "brackets": "data: {init_args: {env: " + "[" * 5000 + "]" * 5000 + "}}",
    "digits": "trainer: {max_steps: " + "9" * 5000 + "}",
}


@pytest.mark.parametrize("kind", GROWING)
@pytest.mark.timeout(60)
def test_configurations_that_grow_are_refused_before_they_do(guarded, kind):
    guarded.write("bomb.yaml", GROWING[kind])
    assert "'bomb.yaml'" in guarded.refused("fit", "--config", "tiny.yaml", "--config", "bomb.yaml")


def test_a_dataset_reads_no_other_file(tmp_path, monkeypatch):
    """A header that names a path is data: nothing is opened but the file itself."""
    monkeypatch.chdir(tmp_path)
    opened: list[str] = []
    path = tmp_path / "d.safetensors"
    path.write_bytes(datasets()["a name that is a path"])
    real = io.open

    def watched(file: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(str(file))
        return real(file, *arguments, **options)

    monkeypatch.setattr("builtins.open", watched)
    with pytest.raises(Exception, match=r"d\.safetensors"):
        load_demonstrations(path)
    assert all(Path(each).name == path.name for each in opened)
