"""Many processes open a new index at the same moment: nobody is told that it is locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_TURNS = 150
_PROGRAM = """
import sys
from pathlib import Path
from treebuilder.oci.index import Index

for line in sys.stdin:
    index = Index(Path(line.strip()))
    index.set_notes("kind", {sys.argv[1]: b"x"})
    print(index.put("one", "kind", "name", {"by": sys.argv[1]})["by"], flush=True)
    index.close()
"""


def test_a_new_index_is_opened_by_many(tmp_path: Path) -> None:
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(number)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for number in range(4)
    ]  # fmt: skip
    for turn in range(_TURNS):  # in step, so that each file is made by all at once
        for run in runs:
            assert run.stdin is not None
            run.stdin.write(f"{tmp_path}/{turn}.sqlite\n")
        for run in runs:
            assert run.stdin is not None
            run.stdin.flush()
        answers = {run.stdout.readline() for run in runs if run.stdout is not None}
        assert len(answers) == 1, answers
    ends = [run.communicate(timeout=60) for run in runs]
    assert [error for _, error in ends if error] == []
