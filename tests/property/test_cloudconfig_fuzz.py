"""Whatever a cloud-config file holds: errors and warnings, never a traceback, never a file outside the root."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.property.fuzzing import examples
from treebuilder.cloudconfig.config import dotted_document
from treebuilder.cloudconfig.stages import Runner
from treebuilder.errors import TreebuildError

pytestmark = pytest.mark.fuzz
# Nothing here runs a program or reaches the running system.
KEYS = (
    "name", "after", "only_os", "only_os_version", "only_arch", "only_service_manager", "node", "if_files", "dns",
    "ensure_entities", "delete_entities", "directories", "files", "hostname", "sysctl", "users", "authorized_keys",
    "modules", "timesyncd", "environment", "environment_file", "layout",
)  # fmt: skip
INNER = (
    "path", "content", "permissions", "encoding", "entity", "kind", "username", "password", "uid", "gid", "group_name",
    "users", "root", "passwd", "groups", "homedir", "uid", "ssh_authorized_keys", "nameservers", "search", "any", "all",
    "name", "ownerstring", "last_changed", "primary_group",
)  # fmt: skip
TEXT = st.one_of(
    st.sampled_from(["", "/etc/x", "/../x", "/l/../../x", "b64", "gz+b64", "user", "shadow", "group", "root", "a:b",
                     "(", "/etc", "/", "0644", "kind: user\nusername: u", "{", "{{ .Values", "\0", "/proc/../y"]),
    st.text(max_size=12),
)  # fmt: skip
SCALAR = st.one_of(TEXT, st.integers(), st.floats(), st.booleans(), st.none())
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(INNER), inner, max_size=4)),
    max_leaves=10,
)
ITEM = st.dictionaries(st.sampled_from(INNER), SCALAR, max_size=5)
SHAPED = st.one_of(VALUE, st.lists(ITEM, max_size=2), st.dictionaries(st.sampled_from(("root", "u")), ITEM),
                   st.lists(st.fixed_dictionaries({"entity": ITEM}), max_size=2), ITEM)  # fmt: skip
STEP = st.dictionaries(st.sampled_from(KEYS), SHAPED, max_size=5)


@examples(150)
@given(st.one_of(VALUE, st.lists(st.one_of(STEP, VALUE), max_size=4)), st.text(max_size=40))
def test_never_a_traceback(steps: object, noise: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = folder / "a/root"
        (root / "etc").mkdir(parents=True)
        (root / "l").symlink_to("../..")
        runner = Runner(root)
        runner.read([yaml.safe_dump({"stages": {"default": steps}}), noise + ":\n", f"stages:\n {noise}"])
        runner.run("default")
        assert all(err.message for err in runner.errors)
        assert os.listdir(folder) == ["a"]
        assert os.listdir(folder / "a") == ["root"]


@examples(100)
@given(
    st.lists(
        st.from_regex(r"stages\.[a-z](\[[0-9]{1,3}\])?(\.[a-z](\[[0-9]\])?){0,3}=[\[{'\"a-z]{0,4}", fullmatch=True)
    )
)
def test_dot_notation_is_a_document_or_an_error(words: list[str]) -> None:
    try:
        assert dotted_document(words, "x").kind == "map"
    except TreebuildError:
        return
