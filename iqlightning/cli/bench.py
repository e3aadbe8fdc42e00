"""``bench NAME``: benchmarks, side by side."""

from collections.abc import Sequence

from iqlightning.errors import unknown

__all__ = ["EXPERIMENTS", "run"]

#: Packages whose files are experiments.
EXPERIMENTS = ("iqlightning.analysis.experiments", "iqlightning.gridworld.experiments")


def run(arguments: Sequence[str], command: str) -> None:
    """Chooses the benchmark: speed, a sweep, or one of the experiments."""
    from iqlightning.analysis.experiments.experiment import experiments

    known = experiments(*EXPERIMENTS)
    summaries = {
        "speed": "this package beside plain loops",
        **{name: experiment.summary for name, experiment in known.items()},
        "sweep": "a search over settings of a configuration (needs the extra sweep)",
    }
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, summaries)) + 2
        listed = "\n".join(f"  {name:<{width}}{summary}" for name, summary in summaries.items())
        print(f"usage: iqlightning {command} NAME [options]\n\n{listed}\n")
        print(f"iqlightning {command} NAME --help lists the options of a benchmark.")
        return
    name, *rest = arguments
    if name == "speed":
        from iqlightning.cli.bench_speed import run as run_speed

        run_speed(rest, f"{command} speed")
    elif name == "sweep":
        from iqlightning.cli.bench_sweep import run as run_sweep

        run_sweep(rest, f"{command} sweep")
    elif name in known:
        from iqlightning.cli.bench_experiment import run as run_experiment

        run_experiment(known[name], rest, f"{command} {name}")
    else:
        raise unknown("benchmark", name, summaries)
