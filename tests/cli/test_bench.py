import json


def test_rows_are_measured_and_written(workplace):
    status = workplace.run(
        "bench", "speed", "--rows", "expert,environment", "--quick", "--scale", "0.05", "--json", "x.json"
    )
    shown = workplace.shown()
    assert status == 0, shown
    assert "plain numpy" in shown
    written = json.loads((workplace.folder / "x.json").read_text())
    assert {"machine", "torch", "clock", "repeats", "results"} <= set(written)
    rows = {result["row"]: result for result in written["results"]}
    assert set(rows) == {"expert", "environment"}
    assert rows["environment"]["median"] > 0
    assert set(rows["environment"]["rates"]) == {"environment", "plain numpy loop"}


def test_fit_is_measured_beside_a_raw_loop_with_its_parts(workplace):
    status = workplace.run("bench", "speed", "--rows", "mlp", "--quick", "--scale", "0.1", "--json", "x.json")
    assert status == 0, workplace.shown()
    written = json.loads((workplace.folder / "x.json").read_text())
    ratio, *parts = written["results"]
    assert len(ratio["values"]) == 2
    named = " ".join(part["what"] for part in parts)
    for part in ("forward and loss", "backward", "optimizer", "batch", "Lightning's loop"):
        assert part in named
    assert not list(workplace.folder.glob("logs/*"))


def test_mistakes_are_told_in_one_sentence(workplace):
    assert "did you mean 'speed'" in workplace.refused("bench", "sped")
    assert "did you mean 'mlp'" in workplace.refused("bench", "speed", "--rows", "mpl")


def test_help(workplace):
    assert workplace.run("bench", "--help") == 0
    assert "speed" in workplace.shown()
