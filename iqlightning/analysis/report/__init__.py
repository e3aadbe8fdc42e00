"""The report: one HTML file about a set of runs, with everything it shows inside it."""
