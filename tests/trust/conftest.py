"""What most tests that inject faults begin with."""

import pytest
from forked_commands import Commands
from small_configurations import write_configurations


@pytest.fixture
def commands(tmp_path) -> Commands:
    """Commands in a folder with the small configurations."""
    write_configurations(tmp_path)
    return Commands(tmp_path)
