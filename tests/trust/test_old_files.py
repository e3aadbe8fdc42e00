"""Files that were written once and are kept: they are read for ever, those of other versions are refused with advice.

Version 1 is the first; the files of version 0 are the same ones under a lower number, as an older program would have
written it. Demonstrations have a second version, with actions that are numbers; the kept ones are three episodes. Run
as a program, this writes files of a version that has none yet, and never touches those there are.
"""

import hashlib
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from gymnasium import spaces
from safetensors.torch import load_file, save
from sealed_files import sealed

from iqlightning import checkpoint_files
from iqlightning.checkpoint_files import read_checkpoint, write_checkpoint
from iqlightning.checkpoints import load_policy
from iqlightning.cli.main import main
from iqlightning.data import demonstrations
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.envs.gymnasium import GymnasiumConfig
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.game.observation import observe
from iqlightning.spaces import Spaces
from iqlightning.types import Trajectories

KEPT = Path(__file__).parent / "kept"
EXPECTED = KEPT / "version_1.json"

SETTINGS = """
    model:
      class_path: IQLearn
      init_args:
        encoder: {class_path: MLP, init_args: {hidden: [8]}}
        head: DuelingHead
        divergence: {class_path: TotalVariation}
        value: {class_path: SoftValue, init_args: {temperature: 0.1}}
        gamma: 0.9
    data:
      class_path: ImitationData
      init_args:
        env: {class_path: GridWorldConfig, init_args: {height: 4, width: 4, num_walls: 2}}
        episodes: 40
        batch_size: 16
        updates_per_epoch: 100
    trainer: {accelerator: cpu, max_steps: 200, callbacks: []}
    checkpoint: {monitor: null}
"""


def observations() -> torch.Tensor:
    """Grids drawn by hand, so that they do not depend on how grids are drawn."""
    walls = torch.zeros((3, 4, 4), dtype=torch.bool)
    walls[:, 1, 2] = walls[:, 2, 0] = True
    return observe(walls, torch.tensor([0, 5, 15]), torch.tensor([15, 3, 4]))


def facts(policy: Any) -> dict[str, Any]:
    q = policy.q_values(observations())
    return {"q": q.tolist(), "v": policy.values(observations()).tolist(), "gamma": policy.gamma, "info": policy.info}


def test_a_checkpoint_of_the_first_version_still_gives_the_same_policy():
    policy, expected = load_policy(KEPT / "version_1.ckpt"), json.loads(EXPECTED.read_text())["policy"]
    now = facts(policy)
    torch.testing.assert_close(torch.tensor(now["q"]), torch.tensor(expected["q"]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(now["v"]), torch.tensor(expected["v"]), rtol=1e-4, atol=1e-5)
    assert (now["gamma"], now["info"]) == (expected["gamma"], expected["info"])
    assert policy.env == GridWorldConfig(height=4, width=4, num_walls=2)


def test_a_run_of_the_first_version_still_goes_on(workplace):
    workplace.write("kept.yaml", SETTINGS)
    run = workplace.fit("--ckpt_path", str(KEPT / "version_1.ckpt"), "--trainer.max_steps", "230", config="kept.yaml")
    stored = read_checkpoint(run / "checkpoints" / "last.ckpt")
    assert stored["global_step"] == 230
    before = read_checkpoint(KEPT / "version_1.ckpt")["state_dict"]
    assert any(not torch.equal(value, stored["state_dict"][f"agent.{name}"]) for name, value in before.items())


def test_settings_that_came_later_are_at_their_defaults_in_an_older_run(workplace):
    workplace.write("kept.yaml", SETTINGS)
    stored = read_checkpoint(KEPT / "version_1.ckpt")
    for section, name in (("model", "absorbing_states"), ("model", "target"), ("data", "stride")):
        del stored["settings"][section]["init_args"][name]
    write_checkpoint(stored, workplace.folder / "older.ckpt")
    arguments = ("fit", "--config", "kept.yaml", "--ckpt_path", "older.ckpt", "--trainer.max_steps", "210")
    assert "data.stride 1 (now 2)" in workplace.refused(*arguments, "--data.stride", "2")
    assert "model.absorbing_states False (now True)" in workplace.refused(
        *arguments, "--model.absorbing_states", "true"
    )
    assert workplace.run(*arguments) == 0


def test_a_dataset_of_the_first_version_is_still_read(workplace):
    trajectories, metadata = load_demonstrations(KEPT / "version_1.safetensors")
    expected = json.loads(EXPECTED.read_text())["dataset"]
    assert trajectories.actions.tolist() == expected["actions"]
    assert trajectories.starts.tolist() == expected["starts"]
    assert trajectories.observations.sum().item() == expected["observations"]
    assert metadata == expected["metadata"]
    workplace.fit("--data.path", str(KEPT / "version_1.safetensors"), "--data.episodes", "null")


def driven() -> Trajectories:
    """Three episodes of Pendulum, or of what looks like them."""
    lengths = torch.tensor([5, 2, 4])
    angle = torch.arange(14) / 7
    return Trajectories(
        observations=torch.stack([angle.cos(), angle.sin(), angle], 1),
        actions=torch.linspace(-2, 2, 11)[:, None],
        rewards=-torch.arange(11.0),
        starts=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        terminated=torch.tensor([False, True, False]),
        truncated=torch.tensor([True, False, True]),
    )


DRIVEN = {"env": GymnasiumConfig("Pendulum-v1").to_dict(), "seed": 0, "source": "by hand", "recipe": {"episodes": 3}}


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_dataset_of_the_second_version_is_still_read(in_memory):
    trajectories, metadata = load_demonstrations(KEPT / "version_2.safetensors", in_memory=in_memory)
    assert metadata == DRIVEN
    for name in ("observations", "actions", "rewards", "starts", "terminated", "truncated"):
        torch.testing.assert_close(getattr(trajectories, name), getattr(driven(), name))
    header, _ = demonstrations.header_of(KEPT / "version_2.safetensors")
    assert header["schema_version"] == "2"
    described = Spaces.from_dict(json.loads(header["spaces"]))
    assert (described.observation_shape, described.action) == ((3,), spaces.Box(-2, 2, (1,)))


@pytest.mark.parametrize("command", ["fit", "validate", "evaluate", "export"])
def test_a_checkpoint_of_another_version_is_refused_with_advice(workplace, command):
    path = str(KEPT / "version_0.ckpt")
    training = command in ("fit", "validate")
    sentence = workplace.refused(command, *(["--config", "tiny.yaml", "--ckpt_path"] if training else []), path)
    assert "version_0.ckpt' has schema version 0, but this program reads version 1" in sentence
    assert "train it again or install the version of iqlightning that wrote it" in sentence
    assert not list(workplace.folder.glob("logs/*/*"))


def test_a_dataset_of_another_version_is_refused_with_advice(workplace):
    path = str(KEPT / "version_0.safetensors")
    sentence = workplace.refused("fit", "--config", "tiny.yaml", "--data.path", path)
    assert "version_0.safetensors' has schema version 0, but this program reads version 1, 2 and 3" in sentence
    assert "make the file again or install the program that wrote it" in sentence


def test_a_policy_of_another_version_is_refused_with_advice(tmp_path):
    stored = read_checkpoint(KEPT / "version_1.ckpt")
    stored["iqlightning"]["schema"] = 0
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    path = tmp_path / "old.ckpt"
    path.write_bytes(sealed(buffer.getvalue()))
    with pytest.raises(UserError, match=r"old\.ckpt' has checkpoint version 0.*train it again or install"):
        load_policy(path)


def test_the_kept_files_are_small():
    assert all(file.stat().st_size < 20_000 for file in KEPT.iterdir())


def _write_checkpoint(folder: Path) -> None:
    """Makes one with the program as it is now."""
    name = f"version_{checkpoint_files.SCHEMA_VERSION}"
    (folder / "kept.yaml").write_text(SETTINGS)
    places = ("--trainer.default_root_dir", str(folder), "--data.directory", str(folder))
    main(["fit", "--config", str(folder / "kept.yaml"), *places])
    content = (folder / "kept" / "version_0" / "checkpoints" / "last.ckpt").read_bytes()
    (KEPT / f"{name}.ckpt").write_bytes(content)
    expected = {"policy": facts(load_policy(KEPT / f"{name}.ckpt"))}
    (KEPT / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")


def _lower() -> None:
    """The same files under version 0, each with a checksum that is right."""
    body = (KEPT / "version_1.ckpt").read_bytes()[: -checkpoint_files._SEAL_LENGTH]
    digest = checkpoint_files._finished(hashlib.sha256(body), 0)
    (KEPT / "version_0.ckpt").write_bytes(body + checkpoint_files._SEAL.format(version="000", digest=digest).encode())
    path = KEPT / "version_1.safetensors"
    tensors, header = load_file(path), demonstrations.header_of(path)[0] | {"schema_version": "0"}
    header["sha256"] = demonstrations._checksum(tensors, header)
    (KEPT / "version_0.safetensors").write_bytes(save(tensors, header))


if __name__ == "__main__":
    if not (KEPT / f"version_{checkpoint_files.SCHEMA_VERSION}.ckpt").exists():
        with TemporaryDirectory() as made_in:
            _write_checkpoint(Path(made_in))
    dataset = KEPT / f"version_{demonstrations.SCHEMA_VERSION}.safetensors"
    if not dataset.exists():
        demonstrations.save_demonstrations(dataset, driven(), DRIVEN)
    if not (KEPT / "version_0.ckpt").exists():
        _lower()
