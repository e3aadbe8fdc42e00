import re
from html.parser import HTMLParser

import pytest

_VOID = {"meta", "br", "wbr", "img", "source"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects what could ask for something from outside."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src", "xlink:href", "action") if values.get(name)]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src") and value]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def runs(workplace):
    summary = "[{class_path: FinalSummary, init_args: {episodes: 20, cloning: false}}]"
    for seed in ("0", "1"):
        workplace.fit("--seed_everything", seed, "--trainer.callbacks+", summary)
    workplace.write("cnn.yaml", (workplace.folder / "tiny.yaml").read_text())
    workplace.fit("--model.encoder", "GridCNN", "--trainer.max_steps", "20", config="cnn.yaml")
    return workplace


def read(workplace, *arguments):
    assert workplace.run("report", *arguments, "--output", "out.html", "--episodes", "40") == 0
    text = (workplace.folder / "out.html").read_text()
    return text, Page(text)


def test_one_page_shows_everything_and_asks_for_nothing(runs):
    text, page = read(runs, "logs")
    for anchor in ("runs", "results", "curves", "maps", "visits", "rewards", "success", "failures", "walks"):
        assert anchor in page.ids
    assert all(link.startswith(("#", "data:image/png;base64,", "data:image/gif;base64,")) for link in page.links)
    assert len(set(page.ids)) == len(page.ids)
    assert not re.search(r"https?://|@import|url\(|fetch\(", text)
    assert "default-src 'none'" in text
    words = " ".join(page.text)
    assert "3 runs of 2 configurations" in words
    assert "BehaviorCloning, greedy" in words
    assert "of the goals up to" in words or "reaches all 40 goals" in words
    assert "played for this report" in words  # the second configuration has no final table
    assert text.count("data:image/gif") == 2  # episodes of each configuration
    assert text.count("prefers-reduced-motion") == 2  # who asked for less motion sees the first picture
    assert "The study" not in words
    assert "prefers-color-scheme:dark" in text
    assert "wrote out.html" in runs.shown()


def test_a_single_run_and_a_hostile_title(runs):
    text, page = read(runs, "logs/cnn/version_0", "--title", "<script>alert(1)</script>")
    assert "<script>alert" not in text
    assert "1 run of 1 configuration" in " ".join(page.text)
    assert "One seed each" in " ".join(page.text)


def test_a_damaged_checkpoint_is_named_and_the_rest_is_shown(runs):
    checkpoint = runs.folder / "logs" / "cnn" / "version_0" / "checkpoints" / "best.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    _, page = read(runs, "logs")
    assert "is damaged" in " ".join(page.text)
    assert "maps" in page.ids


def test_other_environments_have_curves_and_a_table(workplace):
    workplace.write(
        "cartpole.yaml",
        """
        model: {class_path: DQN, init_args: {encoder: {class_path: MLP, init_args: {hidden: [8]}}, log_every: 1}}
        data:
          class_path: ReplayData
          init_args:
            env: {class_path: GymnasiumConfig, init_args: {id: CartPole-v1}}
            num_envs: 2
            warmup_steps: 20
            updates_per_epoch: 2
        trainer:
          accelerator: cpu
          max_steps: 4
          callbacks:
            - {class_path: PolicyEvaluation, init_args: {episodes: 2}}
            - {class_path: FinalSummary, init_args: {episodes: 2}}
        checkpoint: {monitor: val/mean_return, mode: max}
        """,
    )
    workplace.fit(config="cartpole.yaml")
    _, page = read(workplace, "logs")
    words = " ".join(page.text)
    assert "CartPole-v1" in words
    assert "mean return" in words
    assert "Without pictures below: cartpole (CartPole-v1 has none)" in words
    assert "maps" not in page.ids
    # what the study saw on its grids has nothing to do with it, nor has anything else about grids
    assert "The study" not in words
    assert not re.search("unseen grids|Wilson|shortest", words)


def test_what_sets_runs_apart_is_marked_and_each_objective_has_its_own_loss(runs):
    runs.write("iq.yaml", (runs.folder / "tiny.yaml").read_text().replace("BehaviorCloning", "IQLearn"))
    runs.fit(config="iq.yaml")
    text, page = read(runs, "logs")
    assert re.search(r'<td class="differs">IQLearn</td>', text)
    assert not re.search(r'<td class="differs">BehaviorCloning</td>', text)
    for algorithm in ("IQLearn", "BehaviorCloning"):
        assert f"loss, {algorithm}" in page.text


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ("", "needs RUN"),
        ("nowhere", "there is no folder 'nowhere'"),
        (".", "holds no run"),
        ("x --episodes 0", "from 1"),
    ],
)
def test_a_mistake_is_one_sentence(workplace, arguments, part):
    assert part in workplace.refused("report", *arguments.split())
