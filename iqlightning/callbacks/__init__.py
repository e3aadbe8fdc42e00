"""Lightning callbacks, thin: they call :mod:`iqlightning.evaluation` and hand the result on."""
