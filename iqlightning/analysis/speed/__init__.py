"""The speed benchmark: this package beside plain loops that are written here, in one process, taking turns."""
