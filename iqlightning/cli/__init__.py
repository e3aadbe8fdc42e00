"""The command line: one module a command, imported only when that command runs, so that help and mistakes are quick."""
