"""How much the property tests of bad input try: a short seed set in `make test`, for minutes in `make fuzz`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def examples(few: int) -> settings:
    """So many, times TREEBUILD_FUZZ_TIMES; nothing is timed."""
    times = int(os.environ.get("TREEBUILD_FUZZ_TIMES", "1"))
    return settings(max_examples=few * times, deadline=None, suppress_health_check=list(HealthCheck))
