import json

import pytest
from continuous_checkpoints import actor_checkpoint
from small_runs import MLP_8, ONLINE


@pytest.fixture
def checkpoint(workplace):
    return workplace.fit("--trainer.max_steps", "10", "--model.encoder", "GridCNN") / "checkpoints" / "best.ckpt"


def figures(workplace, *arguments):
    assert workplace.run("evaluate", *arguments, "--json", "out.json") == 0
    # JSON has no NaN
    return json.loads((workplace.folder / "out.json").read_text(), parse_constant=pytest.fail)


def test_the_figures_and_the_table_come_from_the_checkpoint_alone(workplace, checkpoint):
    (workplace.folder / "tiny.yaml").unlink()
    found = figures(workplace, str(checkpoint), "--episodes", "50", "--seed", "7")
    assert found["episodes"] == 50
    assert found["seed"] == 7
    assert found["policy"] == "greedy"
    assert (found["level"], found["height"], found["width"], found["num_walls"]) == ("random_everything", 4, 4, 2)
    low, high = found["success_rate_ci95"]
    assert 0 <= low <= found["success_rate"] <= high <= 1
    assert {"distance_ratio", "manhattan_ratio", "spl", "mean_return"} <= found.keys()
    shown = workplace.shown()
    assert "50 unseen grids" in shown
    assert "success rate" in shown
    assert figures(workplace, str(checkpoint), "--episodes", "50", "--seed", "7") == found


def test_another_level_size_and_number_of_walls_can_be_played(workplace, checkpoint):
    options = ("--level", "random_walls", "--height", "6", "--width", "5", "--num_walls", "3", "--max_moves", "9")
    found = figures(workplace, str(checkpoint), "--episodes", "20", *options)
    assert (found["level"], found["height"], found["width"], found["num_walls"]) == ("random_walls", 6, 5, 3)
    assert found["max_moves"] == 9
    assert figures(workplace, str(checkpoint), "--episodes", "20", "--wall_density", "0.25")["num_walls"] == 4


def test_actions_can_be_drawn(workplace, checkpoint):
    found = figures(workplace, str(checkpoint), "--episodes", "20", "--sample", "--temperature", "2")
    assert found["policy"] == "sampled"
    assert found["temperature"] == 2
    assert "--sample" in workplace.refused("evaluate", str(checkpoint), "--temperature", "2")


def test_the_exact_truth_and_the_transfer_of_the_reward_are_shown_on_request(workplace, checkpoint):
    found = figures(workplace, str(checkpoint), "--episodes", "20", "--truth", "6", "--transfer", "--slip", "0.3")
    assert found["truth"]["grids"] == 6
    assert 0 <= found["truth"]["policy_agreement"] <= 1
    assert 0 <= found["truth"]["reward_epic"] <= 1
    transfer = found["transfer"]
    assert (transfer["grids"], transfer["slip"]) == (64, 0.3)
    assert set(transfer["settings"]) == {"same", "slippery", "other_walls", "other_walls_slippery"}
    for setting in transfer["settings"].values():
        assert setting["reached"] <= setting["best"] + 1e-9
    shown = workplace.shown()
    assert "EPIC distance" in shown
    assert "recovered reward alone" in shown
    plain = figures(workplace, str(checkpoint), "--episodes", "20")
    assert "truth" not in plain
    assert "transfer" not in plain


def test_failures_are_counted_and_drawn_on_request(workplace, checkpoint):
    found = figures(workplace, str(checkpoint), "--episodes", "60", "--failures", "failures.png")
    failed = 60 - round(60 * found["success_rate"])
    assert failed > 0  # ten updates
    assert sum(found["failures"]["kinds"].values()) == failed
    for ranges in found["failures"]["by"].values():
        assert sum(each["episodes"] for each in ranges) == 60
        assert sum(each["episodes"] * each["success_rate"] for each in ranges) == pytest.approx(60 - failed)
    assert (workplace.folder / "failures.png").read_bytes().startswith(b"\x89PNG")
    assert next(iter(found["failures"]["kinds"])) in workplace.shown()
    assert "greedy" in workplace.refused("evaluate", str(checkpoint), "--failures", "failures.png", "--sample")
    assert ".png" in workplace.refused("evaluate", str(checkpoint), "--failures", "failures.txt")


def test_recorded_rewards_are_compared_with(workplace, checkpoint, monkeypatch):
    (file,) = (workplace.folder / "data").glob("*.safetensors")
    found = figures(workplace, str(checkpoint), "--episodes", "5", "--demonstrations", str(file))
    assert -1 <= found["recorded_rewards"]["transition_pearson"] <= 1
    assert found["recorded_rewards"]["episodes"] > 0
    assert "distinct transitions" in workplace.shown()
    sentence = workplace.refused("evaluate", str(checkpoint), "--demonstrations", "nowhere.safetensors")
    assert "nowhere.safetensors" in sentence
    assert workplace.run("collect", "--policy", "random", "--episodes", "3", "--output", "large.safetensors") == 0
    monkeypatch.setattr("iqlightning.cli.evaluate.evaluate", pytest.fail)  # before anything is played
    assert "do not fit" in workplace.refused("evaluate", str(checkpoint), "--demonstrations", "large.safetensors")


def test_the_recovered_reward_is_correlated_with_the_true_one_on_request(workplace, checkpoint):
    found = figures(workplace, str(checkpoint), "--episodes", "5", "--rewards", "4", "--figure", "rewards.png")
    for name in ("reward_correlation_episodes", "reward_correlation_transitions"):
        low, high = found[f"{name}_ci95"]
        assert -1 <= low <= found[name] <= high <= 1
    assert [row["episodes"] for row in found["reward_correlation_shares"]] == [4] * 5
    assert (workplace.folder / "rewards.png").read_bytes().startswith(b"\x89PNG")
    assert "75% random moves" in workplace.shown()
    assert "give --rewards" in workplace.refused("evaluate", str(checkpoint), "--figure", "rewards.png")
    assert ".png" in workplace.refused("evaluate", str(checkpoint), "--rewards", "--figure", "rewards.txt")


def test_what_cannot_be_had_is_null(workplace, checkpoint):
    size = ("--height", "4", "--width", "4", "--num_walls", "2")
    assert workplace.run("collect", "--episodes", "1", "--output", "one.safetensors", *size) == 0
    found = figures(workplace, str(checkpoint), "--episodes", "5", "--demonstrations", "one.safetensors")
    assert found["recorded_rewards"]["return_pearson"] is None


def test_a_fixed_arrangement_is_transferred_to_random_walls(workplace, checkpoint):
    found = figures(workplace, str(checkpoint), "--episodes", "5", "--level", "static", "--transfer", "4")
    assert found["transfer"]["settings"]["other_walls"]["grids"] > 0


def test_an_encoder_of_one_size_says_so(workplace):
    checkpoint = workplace.fit("--trainer.max_steps", "10") / "checkpoints" / "best.ckpt"
    sentence = workplace.refused("evaluate", str(checkpoint), "--height", "7")
    assert "MLP plays observations of shape (3, 4, 4) only, not (3, 7, 4)" in sentence


def test_other_environments_report_the_return(workplace):
    workplace.write("cartpole.yaml", ONLINE % ("DQN", MLP_8, "CartPole-v1"))
    checkpoint = workplace.fit(config="cartpole.yaml") / "checkpoints" / "best.ckpt"
    found = figures(workplace, str(checkpoint), "--episodes", "5")
    low, high = found["mean_return_ci95"]
    assert low <= found["mean_return"] <= high
    assert found["env"]["id"] == "CartPole-v1"
    assert "for GridWorld only" in workplace.refused("evaluate", str(checkpoint), "--height", "7")
    assert "GridWorld, not 'CartPole-v1'" in workplace.refused("evaluate", str(checkpoint), "--truth")


def test_an_actor_is_played_without_noise_or_drawn(workplace):
    checkpoint = actor_checkpoint(workplace.folder / "actor.ckpt")
    greedy = figures(workplace, checkpoint, "--episodes", "2", "--seed", "3", "--rewards", "2")
    assert -1 <= greedy["reward_correlation_transitions"] <= 1
    assert figures(workplace, checkpoint, "--episodes", "2", "--seed", "3", "--rewards", "2") == greedy
    drawn = figures(workplace, checkpoint, "--episodes", "2", "--seed", "3", "--sample")
    assert (greedy["policy"], drawn["policy"]) == ("greedy", "sampled")
    assert "sampled, seed 3" in workplace.shown()
    assert "temperature" not in drawn
    assert greedy["returns"] != drawn["returns"]
    for found in (greedy, drawn):
        assert found["env"]["id"] == "Pendulum-v1"
        assert len(found["returns"]) == 2
        assert {"mean_return", "std_return", "mean_return_ci95", "mean_length"} <= found.keys()
    assert figures(workplace, checkpoint, "--episodes", "2", "--seed", "3", "--sample") == drawn
    sentence = workplace.refused("evaluate", checkpoint, "--episodes", "2", "--sample", "--temperature", "2")
    assert "an actor has none" in sentence
    assert "GridWorld, not 'Pendulum-v1'" in workplace.refused("evaluate", checkpoint, "--truth")


def test_an_actors_reward_beside_recorded_ones_repeats(workplace):
    checkpoint = actor_checkpoint(workplace.folder / "actor.ckpt")
    collect = ("collect", "--policy", checkpoint, "--episodes", "3", "--sample", "--output", "played.safetensors")
    assert workplace.run(*collect) == 0, workplace.shown()
    arguments = (checkpoint, "--episodes", "1", "--demonstrations", "played.safetensors")
    found = figures(workplace, *arguments)
    assert found["recorded_rewards"]["transitions"] == 600
    assert figures(workplace, *arguments) == found
    assert "no list of Q-values" in workplace.refused(*collect[:-1], "other.safetensors", "--temperature", "2")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ("nowhere.ckpt", ["there is no checkpoint 'nowhere.ckpt'"]),
        ("tiny.yaml", ["is not a checkpoint of iqlightning"]),
        ("", ["needs CKPT"]),
        ("x.ckpt y.ckpt", ["unexpected argument 'y.ckpt'"]),
        ("x.ckpt --epsodes 3", ["--epsodes", "did you mean --episodes?"]),
        ("x.ckpt --episodes 0", ["--episodes", "from 1, not '0'"]),
        ("x.ckpt --seed -1", ["--seed"]),
        ("x.ckpt --temperature cold", ["--temperature", "number above 0"]),
        ("x.ckpt --json", ["--json needs a value"]),
        ("{checkpoint} --rewards 1", ["--rewards 1", "at least 2 episodes"]),
        ("x.ckpt --device toaster", ["there is no device 'toaster'", "cpu"]),
    ],
)
def test_a_mistake_is_one_sentence(workplace, checkpoint, arguments, parts):
    sentence = workplace.refused("evaluate", *arguments.format(checkpoint=checkpoint).split())
    for part in parts:
        assert part in sentence


def test_impossible_grids_are_refused(workplace, checkpoint):
    assert "99 walls" in workplace.refused("evaluate", str(checkpoint), "--num_walls", "99")
    assert "at most 1,024 cells" in workplace.refused(
        "evaluate", str(checkpoint), "--truth", "--height", "40", "--width", "40"
    )
    assert "--slip: must be a number from 0" in workplace.refused("evaluate", str(checkpoint), "--slip", "1")
    assert "--transfer" in workplace.refused("evaluate", str(checkpoint), "--slip", "0.1")
    assert "between 2 and 64" in workplace.refused("evaluate", str(checkpoint), "--height", "1", "--width", "1")
