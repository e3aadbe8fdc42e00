import csv
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
import yaml
from small_runs import MLP_8, ONLINE

from iqlightning.analysis.charts import DASHES, PALETTE

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
    assert workplace.run("report", "--episodes", "40", *arguments, "--output", "out.html") == 0
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
    # six grids of each configuration, each with its caption and what paper shows of it
    assert text.count("data:image/gif") == text.count('class="picture still small"') == 12
    assert len(re.findall(r"<figcaption>(?:\d+ moves|fails), shortest \d+</figcaption>", text)) == 12
    assert "The red disc is the player" in words
    assert words.count("SPL (success * shortest path / moves)") == 1
    assert "at discount 0.9" in words
    assert "occupancy divergence" not in words  # the distance of visits stands beside their maps
    assert "The study" not in words
    assert "prefers-color-scheme:dark" in text
    # who asked for less motion sees where it ended, as a reader on paper does
    assert "@media print,(prefers-reduced-motion:reduce){.still{display:block}.moving{display:none}}" in text
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
    workplace.write("cartpole.yaml", ONLINE % ("DQN", MLP_8 + ", log_every: 1", "CartPole-v1"))
    workplace.fit(
        "--trainer.callbacks+", "[{class_path: FinalSummary, init_args: {episodes: 2}}]", config="cartpole.yaml"
    )
    text, page = read(workplace, "logs", "--episodes", "20")
    words = " ".join(page.text)
    assert "CartPole-v1" in words
    assert "mean return" in words
    assert "Without pictures below" not in words
    assert "maps" not in page.ids
    # what any environment can tell of a policy, by playing it
    assert {"episodes", "videos"} <= set(page.ids)
    assert "20 unseen episodes each, played greedily" in words
    assert "return of an episode, CartPole-v1" in text
    assert "moves of an episode, CartPole-v1" in text
    assert "data:image/gif" in text or "cannot be drawn" in words or "pygame" in words
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


def copies(workplace, number, **changes):
    """As many configurations as asked, made of one run: each has another learning rate, and no checkpoint."""
    source = workplace.fit()
    for index in range(number):
        folder = workplace.folder / "many" / f"configuration_with_a_long_name_{index}" / "version_0"
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("checkpoints", "events*"))
        settings = yaml.safe_load((folder / "config.yaml").read_text())
        settings["model"]["init_args"]["gamma"] = 0.9 + index / 1000
        (folder / "config.yaml").write_text(yaml.safe_dump(settings))
        rows = [{"policy": "BehaviorCloning, greedy", "success_rate": index / number, "episodes": 20}]
        summary = {"rows": rows, "episodes": 20, "seed": 0}
        (folder / "summary.json").write_text(json.dumps(summary))


def test_twenty_configurations_stay_apart(workplace):
    copies(workplace, 20)
    text, _ = read(workplace, "many")
    key = re.findall(r'<span><i class="(b\d)( d\d)?"></i>', text)
    assert len(key) == 20
    assert len(set(key)) == 20  # no two have colour and dashes in common
    assert {colour for colour, _ in key} == {f"b{number}" for number in range(len(PALETTE))}
    (chart, *_) = re.findall(r'<svg class="chart".*?</svg>', text, re.DOTALL)
    strokes = set(re.findall(r"stroke-dasharray: ([\d. ,]+);", chart))
    assert len(strokes) >= 2
    assert f".d{len(DASHES) - 1}{{" in text
    assert text.count("<details open><summary><h2>") == len(re.findall("<h2>", text))  # sections fold


def test_axes_are_named_within_the_charts(runs):
    text, _ = read(runs, "logs")
    charts = dict(re.findall(r'<svg class="chart" role="img" aria-label="([^"]*)"[^>]*>(.*?)</svg>', text, re.DOTALL))
    assert len(charts) > 5
    for label, chart in charts.items():
        words = re.findall(r">([^<>]+)</text>", chart)
        assert label.partition(",")[0].partition(" by ")[0] in words, (label, words)


def test_figures_are_written_for_a_paper_and_again_but_not_over_others(runs):
    read(runs, "logs", "--figures", "figures")
    folder = runs.folder / "figures"
    index = json.loads((folder / "figures.json").read_text())
    assert index["generator"] == "iqlightning:report"
    for stem in index["figures"]:
        assert (folder / f"{stem}.pdf").read_bytes().startswith(b"%PDF")
        assert b"<svg" in (folder / f"{stem}.svg").read_bytes()
        assert (folder / f"{stem}.csv").is_file()
    (loss,) = folder.glob("*-loss.csv")
    rows = list(csv.DictReader(loss.open()))
    assert {row["configuration"] for row in rows} == {"tiny", "cnn"}
    assert {row["seeds"] for row in rows if row["configuration"] == "tiny"} == {"2"}
    for row in rows:
        if row["configuration"] == "tiny":
            assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])
        else:
            assert (row["seeds"], row["low"], row["high"]) == ("1", "", "")
    (what,) = (shown for stem, shown in index["figures"].items() if stem.endswith("-results"))
    assert "Wilson's over the episodes" in what
    (results,) = folder.glob("*-results.csv")
    shown = list(csv.DictReader(results.open()))
    assert {"configuration", "policy", "figure", "seeds", "mean", "low", "high"} == set(shown[0])
    assert "BehaviorCloning, greedy" in {row["policy"] for row in shown}
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    read(runs, "logs", "--figures", "figures")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (runs.folder / "other").mkdir()
    (runs.folder / "other" / "mine.txt").write_text("mine")
    assert "'other' holds other files" in runs.refused("report", "logs", "--figures", "other")


def test_damaged_and_foreign_folders_are_named_and_left_out(runs):
    logs = runs.folder / "logs"
    damaged, foreign, empty = (logs / "tiny" / f"version_{number}" for number in (7, 8, 9))
    shutil.copytree(logs / "tiny" / "version_0", damaged)
    (damaged / "config.yaml").write_text("model: [")
    foreign.mkdir()
    (foreign / "metrics.csv").write_text("step\n1\n")
    (foreign / "hparams.yaml").write_text("a: 1\n")
    empty.mkdir()
    (runs.folder / "elsewhere").mkdir()
    assert runs.run("report", "logs", "elsewhere", "--output", "out.html", "--episodes", "40") == 0
    said = runs.shown()
    assert "cannot read the settings of the run 'logs/tiny/version_7'" in said
    assert "'logs/tiny/version_8' is no run: it lacks config.yaml" in said
    assert "'logs/tiny/version_9' is no run: it lacks config.yaml and metrics.csv" in said
    assert "'elsewhere' holds no run" in said
    assert said.count("it is left out") == 4
    assert "3 runs of 2 configurations" in (runs.folder / "out.html").read_text()


def test_a_checkpoint_of_another_environment_than_it_says_stops_no_others(runs, monkeypatch):
    from iqlightning.gridworld.report import sections

    examined = sections.examine

    def examine(policy, env, episodes, seed):
        if type(policy.agent.encoder).__name__ == "GridCNN":
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return examined(policy, env, episodes, seed)

    monkeypatch.setattr(sections, "examine", examine)
    _, page = read(runs, "logs")
    assert "maps" in page.ids
    assert "cnn (mat1 and mat2 shapes cannot be multiplied)" in " ".join(page.text)


def test_what_is_printed_keeps_its_colours_and_its_tables_whole(runs):
    text, _ = read(runs, "logs")
    (printed,) = re.findall(r"@media print\{(.*?)\}\}", text, re.DOTALL)
    assert "print-color-adjust:exact" in printed
    assert ".scroll{overflow:visible" in printed
    assert "@media screen and (prefers-color-scheme:dark)" in text  # paper is white
    assert "<thead>" in text  # repeated on each page


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
