"""Files that were written once and are kept: the present version is read for ever, others are refused with advice.

Version 1 is the first; the files of version 0 are the same ones under a lower number, as an older program would have
written it. Run as a program, this writes files of a version that has none yet, and never touches those there are.
"""

import io
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from iqlightning import checkpoint_files
from iqlightning.checkpoint_files import read_checkpoint, write_checkpoint
from iqlightning.checkpoints import load_policy
from iqlightning.cli.main import main
from iqlightning.data import demonstrations
from iqlightning.data.demonstrations import load_demonstrations
from iqlightning.errors import UserError
from iqlightning.gridworld.config import GridWorldConfig
from iqlightning.gridworld.expert import shortest_path_demonstrations
from iqlightning.gridworld.game.observation import observe

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
    assert "version_0.safetensors' has schema version 0, but this program reads version 1" in sentence
    assert "make the file again or install the program that wrote it" in sentence


def test_a_policy_of_another_version_is_refused_with_advice(tmp_path):
    stored = read_checkpoint(KEPT / "version_1.ckpt")
    stored["iqlightning"]["schema"] = 0
    buffer = io.BytesIO()
    torch.save(stored, buffer)
    path = tmp_path / "old.ckpt"
    path.write_bytes(checkpoint_files._sealed(buffer.getvalue()))
    with pytest.raises(UserError, match=r"old\.ckpt' has checkpoint version 0.*train it again or install"):
        load_policy(path)


def test_the_kept_files_are_small():
    assert all(file.stat().st_size < 20_000 for file in KEPT.iterdir())


def _write(folder: Path) -> None:
    """Makes the files with the program as it is now."""
    version = checkpoint_files.SCHEMA_VERSION
    if (KEPT / f"version_{version}.ckpt").exists():
        sys.exit(f"the files of version {version} are kept as they are")
    (folder / "kept.yaml").write_text(SETTINGS)
    places = ("--trainer.default_root_dir", str(folder), "--data.directory", str(folder))
    main(["fit", "--config", str(folder / "kept.yaml"), *places])
    content = (folder / "kept" / "version_0" / "checkpoints" / "last.ckpt").read_bytes()
    (KEPT / f"version_{version}.ckpt").write_bytes(content)
    env = GridWorldConfig(height=4, width=4, num_walls=2)
    metadata = {"env": env.to_dict(), "seed": 0, "source": "shortest-path expert", "recipe": {"episodes": 8}}
    made = shortest_path_demonstrations(env, 8, seed=0)
    demonstrations.save_demonstrations(KEPT / f"version_{version}.safetensors", made, metadata)
    dataset = {"actions": made.actions.tolist(), "starts": made.starts.tolist()}
    dataset |= {"observations": int(made.observations.sum()), "metadata": metadata}
    policy = facts(load_policy(KEPT / f"version_{version}.ckpt"))
    EXPECTED.write_text(json.dumps({"policy": policy, "dataset": dataset}, indent=1) + "\n")


def _lower() -> None:
    """The same files under version 0, each with a checksum that is right."""
    body = (KEPT / "version_1.ckpt").read_bytes()[: -checkpoint_files._SEAL_LENGTH]
    digest = checkpoint_files._digest(body, 0)
    (KEPT / "version_0.ckpt").write_bytes(body + checkpoint_files._SEAL.format(version="000", digest=digest).encode())
    path = KEPT / "version_1.safetensors"
    tensors, header = load_file(path), demonstrations.header_of(path)[0] | {"schema_version": "0"}
    header["sha256"] = demonstrations._checksum(tensors, header)
    (KEPT / "version_0.safetensors").write_bytes(demonstrations._serialize(tensors, header))


if __name__ == "__main__":
    with TemporaryDirectory() as made_in:
        _write(Path(made_in))
    _lower()
