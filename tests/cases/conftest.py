"""What cases share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trees import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A tree with something that packages can be built on. A file may have a `project` of its own."""
    made = Project(tmp_path)
    made.base()
    return made
