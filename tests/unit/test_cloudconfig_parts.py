"""Parts of cloud-config on their own: paths in a root, units by links, sha512-crypt, /etc/hosts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from treebuilder.cloudconfig import units
from treebuilder.cloudconfig.network import with_host
from treebuilder.cloudconfig.root import Root
from treebuilder.cloudconfig.sha512crypt import hash_password, verify
from treebuilder.errors import TreebuildError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    (made / "etc").mkdir(parents=True)
    return made


@pytest.mark.parametrize(
    ("link", "target", "asked", "found"),
    [
        ("run", "/var/run", "/run/x", "var/run/x"),
        ("etc/l", "../../../../../out", "/etc/l", "out"),
        ("etc/l", "/etc/passwd", "/etc/l", "etc/passwd"),
        ("etc/l", "sub", "/etc/l/../x", "etc/x"),
        ("etc/l", "..", "/etc/l/etc/x", "etc/x"),
    ],
)
def test_links_stay_inside(root: Path, link: str, target: str, asked: str, found: str) -> None:
    (root / link).symlink_to(target)
    assert Root(root).locate(asked) == root / found


def test_a_circle_of_links_is_an_error(root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises(TreebuildError):
        Root(root).locate("/a/x")


# units without systemctl -------------------------------------------------------------------------------------------
UNIT = "[Unit]\nAfter=x\n[Service]\nExecStart=/bin/true\n[Install]\n"


def test_enable_and_disable_by_links(root: Path) -> None:
    folder = root / "usr/lib/systemd/system"
    folder.mkdir(parents=True)
    (folder / "a.service").write_text(
        UNIT + "WantedBy=multi-user.target x.target\nRequiredBy=r.target\nAlias=b.service\n"
    )
    (folder / "g@.service").write_text(UNIT + "WantedBy=getty.target\nDefaultInstance=tty1\nAlso=a.service\n")
    (folder / "none.service").write_text("[Service]\n")
    for word in ("g@", "g@tty2", "none", "a"):
        units.enable(Root(root), word)
    system = root / "etc/systemd/system"
    links = {str(p.relative_to(system)): os.readlink(p) for p in system.rglob("*") if p.is_symlink()}
    a, g = "/usr/lib/systemd/system/a.service", "/usr/lib/systemd/system/g@.service"
    assert links == {
        "multi-user.target.wants/a.service": a, "x.target.wants/a.service": a, "r.target.requires/a.service": a,
        "b.service": a, "getty.target.wants/g@tty1.service": g, "getty.target.wants/g@tty2.service": g,
    }  # fmt: skip
    units.disable(Root(root), "a")
    assert sorted(p.name for p in system.rglob("*") if p.is_symlink()) == ["g@tty1.service", "g@tty2.service"]
    units.mask(Root(root), "a.service")
    assert os.readlink(system / "a.service") == "/dev/null"
    for word in ("a", "missing", "../x"):
        with pytest.raises(TreebuildError):
            units.enable(Root(root), word)


@pytest.mark.parametrize(
    ("password", "salt", "rounds", "expected"),
    [  # the specification's own vectors
        ("Hello world!", "saltstring", None,
         "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
        ("Hello world!", "saltstringsaltstring", 10000,
         ("$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/"
         "y3RnOaw5v.")),
        ("This is just a test", "toolongsaltstring", 5000,
         ("$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8"
         "audkUEm0")),
        ("the minimum number is still observed", "roundstoolow", 10,
         ("$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHH"
         "rsX.")),
    ],
)  # fmt: skip
def test_sha512_crypt(password: str, salt: str, rounds: int | None, expected: str) -> None:
    assert hash_password(password, salt, rounds) == expected
    assert verify(password, expected)
    assert not verify(password + "x", expected)


@pytest.mark.parametrize("hashed", ["", "!", "x", "$1$a$b", "$6$a", "$6$rounds=x$a$b", "$6$a$b$c$d"])
def test_other_hashes_never_verify(hashed: str) -> None:
    assert not verify("", hashed)


def test_hosts_without_a_line() -> None:
    assert with_host("", "box", "") == "127.0.0.1 localhost box\n"
    assert with_host("127.0.0.1 localhost box\n", "box", "box") == "127.0.0.1 localhost box\n"
