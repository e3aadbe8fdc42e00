"""Experiments: many runs (configuration x seed), each evaluated, with one table and pictures at the end.

What an experiment is, is one file in this folder: a subclass of :class:`.experiment.Experiment` that names it and lists
its trials. ``iqlightning bench NAME`` finds it there, runs what has not been run yet (``--jobs`` at a time, a run that
was cut off goes on from its last checkpoint), plays the evaluations, and keeps every outcome in
``logs/NAME/outcomes.jsonl``. A minimal one::

    class Widths(Experiment):
        name = "widths"
        summary = "hidden units of the perceptron"

        def trials(self, options):
            for width in (64, 256):
                for seed in options.seeds:
                    yield Trial(
                        group=f"mlp_{width}",                      # the runs' folder; same group: same but for the seed
                        config=str(options.configs / "mlp_iq.yaml"),
                        seed=seed,
                        settings={"model.encoder.init_args.hidden": f"[{width}]"},
                        evaluations={"10x10": ("--episodes", "2000")},   # options of ``evaluate``
                        factors={"width": width},                  # what tables and figures are drawn by
                    )

Options of its own go into ``add_options``, pictures into ``figures``, sections of the report into ``report_sections``.
The random policy and those that an environment knows, such as an expert, are played on every evaluation by themselves.
"""
