"""Repositories that are signed: written, read, refused; nothing that was refused changes what is known."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.repository_parts import Workshop, workshop
from treebuilder.errors import ConfigError, IntegrityError
from treebuilder.events import Warned
from treebuilder.oci.store import Store
from treebuilder.records import replace
from treebuilder.repository import RepositorySource, SyncedRepository, Trees, create_repository, sync
from treebuilder.repository.create import Created, CreateOptions
from treebuilder.repository.disk import DiskBackend
from treebuilder.repository.pruning import prune
from treebuilder.system.process import Cancel
from treebuilder.tree import load_tree, tree_fingerprint
from treebuilder.trust.index import Signing
from treebuilder.trust.keys import PrivateKey, new_key
from treebuilder.trust.policy import Trust

NOW = 1_800_000_000
KEY, NEXT = new_key(), new_key("ed25519")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with workshop(tmp_path) as made:
        made.package("app/a", {"usr/a": b"1"})
        yield made


def publish(
    shop: Workshop, *keys: PrivateKey, expires_s: int = NOW + 60, threshold: int = 1, **options: Any
) -> Created:
    chosen = replace(CreateOptions("test", "a test", shop.build, epoch_s=5), **options)
    trees = Trees(
        tree_fingerprint([shop.tree]),
        (str(shop.tree),),
        lambda: (load_tree([str(shop.tree)], events=shop.events, recipes=False), ()),
    )
    signing = Signing(keys, expires_s, threshold) if keys else None
    return create_repository(
        chosen, trees, DiskBackend(shop.build, shop.store, Cancel()), shop.events, shop.store, signing
    )


def read(shop: Workshop, *keys: PrivateKey, now_s: int = NOW, **source: Any) -> SyncedRepository:
    trust = Trust(tuple(key.public for key in keys or (KEY,)))
    chosen = replace(RepositorySource("test", "disk", (str(shop.build),), trust=trust), **source)
    return sync(chosen, shop.store, shop.events, Cancel(), now_s=now_s)


def reason(shop: Workshop, *keys: PrivateKey, **more: Any) -> str:
    with pytest.raises(IntegrityError) as caught:
        read(shop, *keys, **more)
    return caught.value.reason


def files(shop: Workshop) -> tuple[bytes, bytes]:
    return (shop.build / "repository.yaml").read_bytes(), (shop.build / "repository.yaml.sig").read_bytes()


def restore(shop: Workshop, state: tuple[bytes, bytes]) -> None:
    (shop.build / "repository.yaml").write_bytes(state[0])
    (shop.build / "repository.yaml.sig").write_bytes(state[1])


def test_a_signed_repository_is_read(shop: Workshop) -> None:
    plain = publish(shop)
    made = publish(shop, KEY)
    assert made.index == plain.index  # who does not look at signatures reads what he always read
    assert made.index_sha256 == plain.index_sha256
    assert (made.signed, made.expires_s) == ((KEY.public.id,), NOW + 60)
    assert [str(package.id) for package in read(shop).packages()] == ["app/a-1.0"]


def test_each_fault_is_refused_with_its_reason(shop: Workshop) -> None:
    publish(shop)
    assert reason(shop) == "unsigned"
    publish(shop, NEXT)
    assert reason(shop) == "wrong-signature"
    publish(shop, KEY)
    index, signature = files(shop)
    restore(shop, (index.replace(b"a test", b"a tost"), signature))
    assert reason(shop) == "wrong-signature"
    restore(shop, (index, signature))
    assert reason(shop, now_s=NOW + 60) == "expired"
    two = Trust((KEY.public, NEXT.public), 2)
    assert reason(shop, trust=two) == "threshold"
    publish(shop, KEY, NEXT)
    assert read(shop, trust=two).index.revision == 1
    assert reason(shop, name="mine") == "wrong-signature"
    assert read(shop, name="mine", trust=Trust((KEY.public,), name="test")).index.name == "test"


def test_nobody_goes_back(shop: Workshop) -> None:
    publish(shop, KEY)
    before = files(shop)
    assert read(shop).index.revision == 1
    shop.package("app/b", {"usr/b": b"1"})
    publish(shop, KEY)
    restore_later = files(shop)
    assert read(shop).index.revision == 2
    restore(shop, before)
    assert reason(shop) == "rolled-back"
    assert reason(shop, KEY, NEXT) == "rolled-back"  # another key beside it forgets nothing
    restore(shop, restore_later)
    assert read(shop).index.revision == 2


def test_what_is_refused_is_not_remembered(shop: Workshop) -> None:
    publish(shop, KEY)
    first = files(shop)
    shop.package("app/b", {"usr/b": b"1"})
    publish(shop, KEY, expires_s=NOW - 1)
    assert reason(shop) == "expired"
    publish(shop, NEXT)
    assert reason(shop) == "wrong-signature"
    restore(shop, first)
    assert read(shop).index.revision == 1


def test_keys_change_one_after_the_other(shop: Workshop) -> None:
    for number, (signers, trusted) in enumerate(
        [((KEY,), (KEY,)), ((KEY, NEXT), (KEY,)), ((KEY, NEXT), (NEXT,)), ((NEXT,), (NEXT,))], 1
    ):
        shop.package(f"app/p{number}", {f"usr/{number}": b"1"})
        publish(shop, *signers)
        assert read(shop, *trusted).index.revision == number
    assert reason(shop, KEY) == "wrong-signature"


def test_revisions_grow_whatever_became_of_the_index(shop: Workshop) -> None:
    assert publish(shop, KEY).index.revision == 1
    assert publish(shop, KEY).changed is False
    shop.package("app/b", {"usr/b": b"1"})
    assert publish(shop, KEY).index.revision == 2
    (shop.build / "repository.yaml").unlink()
    shop.package("app/c", {"usr/c": b"1"})
    assert publish(shop, KEY).index.revision == 3
    (shop.build / "repository.yaml").write_text("nonsense")
    made = publish(shop, KEY)
    assert (made.index.revision, made.changed) == (4, True)
    with pytest.raises(ConfigError):
        publish(shop, KEY, reset_revision=True)
    with pytest.raises(ConfigError):
        publish(shop, KEY, threshold=2)


def test_snapshots_are_signed_and_stand_only_for_themselves(shop: Workshop) -> None:
    publish(shop, KEY, snapshot="s")
    assert read(shop, reference="s-repository.yaml", now_s=NOW * 2).index.revision == 1
    for end in ("", ".sig"):
        (shop.build / f"repository.yaml{end}").write_bytes((shop.build / f"s-repository.yaml{end}").read_bytes())
    assert reason(shop) == "wrong-signature"


def test_snapshots_that_go_take_their_signatures_along(shop: Workshop) -> None:
    for id in ("1", "2"):
        publish(shop, KEY, snapshot=id)
    prune(shop.build, shop.build, 1)
    assert {path.name for path in shop.build.glob("*.sig")} == {"repository.yaml.sig", "2-repository.yaml.sig"}


def test_a_signature_that_goes_stale_is_told(shop: Workshop) -> None:
    publish(shop, KEY)
    publish(shop)
    assert not [event for event in shop.events.events if isinstance(event, Warned)]
    shop.package("app/b", {"usr/b": b"1"})
    publish(shop)
    assert any("was signed" in event.message for event in shop.events.events if isinstance(event, Warned))
    assert reason(shop) == "wrong-signature"


def test_the_next_mirror_is_asked_and_no_mirror_hides_a_refusal(shop: Workshop, tmp_path: Path) -> None:
    publish(shop, KEY)
    other = tmp_path / "other"
    other.mkdir()
    (other / "repository.yaml").write_bytes(files(shop)[0])
    urls = (str(other), str(shop.build))
    found = read(shop, urls=urls)
    assert found.index.revision == 1
    assert reason(shop, urls=(str(other), str(tmp_path / "none"))) == "unsigned"
    assert reason(shop, urls=(str(tmp_path / "none"), str(other))) == "unsigned"


def test_at_every_instant_of_a_publication_there_is_a_repository(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader after each file that is written, who knows nothing, and one who has seen all before."""
    publish(shop, KEY)
    seen: list[int] = []
    commit = DiskBackend.commit

    def watched(self: DiskBackend, reference: str, index: bytes) -> None:
        commit(self, reference, index)
        seen.append(read(shop).index.revision)
        with contextlib.closing(Store(tmp_path / f"reader{len(seen)}")) as store:
            fresh = RepositorySource("test", "disk", (str(shop.build),), trust=Trust((KEY.public,)))
            seen.append(sync(fresh, store, shop.events, Cancel(), now_s=NOW).index.revision)

    monkeypatch.setattr(DiskBackend, "commit", watched)
    shop.package("app/b", {"usr/b": b"1"})
    publish(shop, KEY)
    assert seen == [1, 1, 2, 2]


def test_a_publication_that_was_killed_is_done_again(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(shop, KEY)
    commit = DiskBackend.commit

    class Killed(Exception):
        pass

    def dies(self: DiskBackend, reference: str, index: bytes) -> None:
        if not reference.endswith(".sig"):
            raise Killed
        commit(self, reference, index)

    for name in ("b", "c"):
        shop.package(f"app/{name}", {f"usr/{name}": b"1"})
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(DiskBackend, "commit", dies)
            publish(shop, KEY)
        assert read(shop).index.revision == 1
    # revisions 2 and 3 were signed, and never seen: they are not used for something else
    assert publish(shop, KEY).index.revision == 4
    assert read(shop).index.revision == 4


@pytest.mark.parametrize(
    "what",
    ["repository.yaml", "repository.yaml.sig", "tree.tar.gz", "repository.meta.yaml.tar", "a-app-1.0.package.tar.zst"],
)
def test_a_flipped_byte_of_any_file_is_refused(shop: Workshop, tmp_path: Path, what: str) -> None:
    publish(shop, KEY)
    path = shop.build / what
    data = path.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 25)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with contextlib.closing(Store(tmp_path / f"reader{at}")) as store:
            fresh = RepositorySource("test", "disk", (str(shop.build),), trust=Trust((KEY.public,)))
            with pytest.raises(IntegrityError):
                found = sync(fresh, store, shop.events, Cancel(), now_s=NOW)
                for artifact in found.artifacts.values():
                    found.fetch(artifact)
    path.write_bytes(data)
    assert read(shop).index.revision == 1
