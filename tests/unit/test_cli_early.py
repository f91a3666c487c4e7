"""What the program loads of `pathlib` and `argparse`, and that both do all they should."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
_UNUSED = ("gettext", "urllib.parse", "ipaddress")


def python(code: str) -> str:
    """What a fresh interpreter says to it on stdout."""
    env = {**os.environ, "PYTHONPATH": str(TOP)}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout


def test_they_are_loaded_without_what_is_hardly_used() -> None:
    asked = f"print(*(name for name in {_UNUSED!r} if name in sys.modules))"
    assert "gettext" in python(f"import sys, argparse; {asked}").split()  # it is argparse that loads it
    if sys.version_info < (3, 13):
        assert "urllib.parse" in python(f"import sys, pathlib; {asked}").split()
    assert python(f"import sys, treebuilder.cli; assert 'argparse' in sys.modules; {asked}").split() == []


@pytest.mark.parametrize("first", ["", "import gettext, urllib.parse, pathlib, argparse; ", "import urllib; "])
def test_who_asks_for_the_others_gets_them(first: str) -> None:
    code = (
        "import treebuilder.cli, pathlib, urllib.parse, gettext, urllib.request; from urllib import parse; "
        "print(pathlib.Path('/a b').as_uri(), urllib.parse.urlsplit('http://[::1]:5/x').port, parse is urllib.parse, "
        "gettext.gettext('x'), urllib.__file__.endswith('__init__.py'), gettext.__name__)"
    )
    assert python(f"{first}{code}").split() == ["file:///a%20b", "5", "True", "x", "True", "gettext"]


def test_errors_of_flags_have_their_words() -> None:
    code = (
        "import treebuilder.cli, argparse; parser = argparse.ArgumentParser(exit_on_error=False)\n"
        "parser.add_argument('--two', nargs=2)\n"
        "try: parser.parse_args(['--two', '1'])\n"
        "except argparse.ArgumentError as err: print(err)"
    )
    assert python(code) == "argument --two: expected 2 arguments\n"
