"""One case of machines that install themselves runs always; `make vm-test` (TREEBUILD_VM_ALL) runs all of them."""

from __future__ import annotations

import os

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes an hour: it is no test of this run, so it is not skipped either."""
    if os.environ.get("TREEBUILD_VM_ALL"):
        return
    long = [item for item in items if item.get_closest_marker("every_case") is not None]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]
