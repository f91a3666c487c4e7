"""Keys as files: made, shown, and read for those who sign and for those who verify."""

from __future__ import annotations

import os
from pathlib import Path

from treebuilder.annotations import TYPE_CHECKING, Any
from treebuilder.errors import ConfigError, Place
from treebuilder.records import record
from treebuilder.system import clock
from treebuilder.system.files import disk_errors
from treebuilder.trust.policy import UNVERIFIED, Trust, TrustSetting

if TYPE_CHECKING:
    from treebuilder.repository.image_signing import Signature
    from treebuilder.system.process import Cancel
    from treebuilder.trust.index import Signing
    from treebuilder.trust.keys import KeyType, PrivateKey, PublicKey

SCHEMA = "treebuild.key/1"
VERIFY_SCHEMA = "treebuild.key-verify/1"
KEYS_FOLDER = "/etc/treebuild/keys.d"
_MAX_BYTES = 1 << 16
_SHOWN = 3  # reasons in one line
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST_S = 100 * 366 * 86400


# whom to believe ------------------------------------------------------------------------------------------------------
@record
class TrustRules:
    """What counts for repositories that say nothing of their own. `folders` hold public keys.

    `luet`: a network repository without keys is warned about, and not refused. `insecure`: nothing is verified.
    """

    folders: tuple[str, ...] = (KEYS_FOLDER,)
    luet: bool = False
    insecure: bool = False

    def settle(self, said: TrustSetting, type: str, base: str, where: Place) -> Trust:
        """Whose word counts for a repository of a type; names of key files are relative to `base`.

        Raises ConfigError (reason "bad-key") for a key that cannot be read.
        """
        if self.insecure:
            asked = said.keys or (type != "disk" and not said.given)
            return Trust(unsigned="insecure") if asked else UNVERIFIED
        if said.given:
            keys = tuple(_public(key, base, where) for key in said.keys)
            return Trust(keys, said.threshold, said.name) if keys else UNVERIFIED
        if type == "disk":
            return UNVERIFIED
        return Trust(self._general(), unsigned="warn" if self.luet else "refuse")

    def _general(self) -> tuple[PublicKey, ...]:
        """The keys that lie in the folders, by path. Raises ConfigError for those that everybody may change."""
        found = []
        for folder in map(Path, self.folders):
            for path in sorted([*folder.glob("*.pub"), *folder.glob("*.pem")]) if folder.is_dir() else ():
                if any(place.exists() and place.stat().st_mode & 0o002 for place in (path, folder)):
                    raise ConfigError(f"everybody may write {path} or its folder", reason="bad-key")
                found.append(_read_public(path, Place(str(path))))
        return tuple({key.id: key for key in found}.values())


def _public(key: str, base: str, where: Place) -> PublicKey:
    """A key as a configuration has it: PEM, or the name of a file with it."""
    from treebuilder.trust.keys import read_public

    if "-----BEGIN" in key:
        return read_public(key.encode("utf-8", "replace"), f"a key in {where}")
    return _read_public(Path(base, key), where)


def _read_public(path: Path, where: Place) -> PublicKey:
    from treebuilder.trust.keys import read_public

    try:
        return read_public(_bytes(path), str(path))
    except ConfigError as err:
        err.where = err.where or where
        raise


def _bytes(path: Path) -> bytes:
    """A small file. Raises ConfigError (reason "bad-key")."""
    try:
        with path.open("rb") as source:
            return source.read(_MAX_BYTES)
    except OSError as err:
        raise ConfigError(f"the key {path} cannot be read: {err.strerror}", reason="bad-key") from err


# signing --------------------------------------------------------------------------------------------------------------
def seconds_of(text: str) -> int:
    """`30d`, `12h`, `90m`, `45s`, `2w` in seconds; `never` is 0. Raises ConfigError."""
    if text == "never":
        return 0
    number, unit = text[:-1], text[-1:]
    seconds = int(number) * _UNITS[unit] if number.isascii() and number.isdigit() and unit in _UNITS else 0
    if len(number) > 9 or not 0 < seconds <= _LONGEST_S:
        raise ConfigError(f"{text!r} is no length of time", hint="30d, 12h, 90m, 45s, 2w or never")
    return seconds


def signing(files: tuple[str, ...], expires: str, threshold: int) -> Signing | None:
    """How `create-repo --sign` signs from now on; None without keys. Raises ConfigError."""
    if not files:
        return None
    from treebuilder.trust.index import Signing

    lasting = seconds_of(expires)
    made = Signing(tuple(map(private_key, files)), clock.now_epoch_s() + lasting if lasting else 0, threshold)
    made.check()
    return made


def private_key(file: str) -> PrivateKey:
    """Raises ConfigError (reason "bad-key", "encrypted-key")."""
    from treebuilder.trust.keys import read_private

    return read_private(_bytes(Path(file)), file)


def public_key(file: str) -> PublicKey:
    """Raises ConfigError (reason "bad-key")."""
    return _read_public(Path(file), Place(file))


def image_keys(files: tuple[str, ...]) -> tuple[PrivateKey, ...]:
    """Keys that sign images, each once. Raises ConfigError (reason "key-type" for what is no ECDSA P-256 key, …)."""
    keys = {key.public.id: key for key in map(private_key, files)}
    if keys:
        from treebuilder.trust.cosign import signs_images

        for key in keys.values():
            signs_images(key.public)
    return tuple(keys.values())


# `key` ----------------------------------------------------------------------------------------------------------------
@record
class KeyReport:
    """A key as `key new` and `key show` print it. `public_file` is where the public part was written, if it was."""

    file: str
    key: PublicKey
    private: bool
    public_file: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA, "file": self.file, "public_file": self.public_file, "id": self.key.id,
            "type": self.key.type, "private": self.private, "public": self.key.pem.decode(),
        }  # fmt: skip


def new_key(file: str, type: KeyType) -> KeyReport:
    """Writes FILE, which only its owner can read, and FILE.pub. Nothing is replaced. Raises ConfigError, NoSpace."""
    from treebuilder.trust import keys

    made = keys.new_key(type)
    public = f"{file}.pub"
    for path in (file, public):
        if os.path.lexists(path):
            raise ConfigError(f"{path} is there already, and keys are not replaced", reason="key-exists")
    _write_new(file, made.pem(), 0o600)
    try:
        _write_new(public, made.public.pem, 0o644)
    except BaseException:
        os.unlink(file)  # both or none
        raise
    return KeyReport(file, made.public, True, public)


def _write_new(file: str, data: bytes, mode: int) -> None:
    """Raises ConfigError where the file is there by now."""
    with disk_errors(f"writing {file}", Path(file).parent):
        try:
            fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileExistsError as err:
            raise ConfigError(f"{file} is there already, and keys are not replaced", reason="key-exists") from err
        try:
            with os.fdopen(fd, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        except BaseException:
            os.unlink(file)
            raise


def show_key(file: str) -> KeyReport:
    """A private or a public key; of a private one only what is public. Raises ConfigError."""
    from treebuilder.trust.keys import read_public

    data = _bytes(Path(file))
    if b"PRIVATE KEY" in data:
        return KeyReport(file, private_key(file).public, True)
    return KeyReport(file, read_public(data, file), False)


# images in a registry -------------------------------------------------------------------------------------------------
@record
class VerifyReport:
    """What `key verify` found: the image that a reference leads to, its signatures, and who made them."""

    reference: str
    image: str
    signatures: tuple[Signature, ...]
    signers: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        found = [
            {"form": each.form, "digest": each.digest, "signers": list(each.signers), "fault": each.fault}
            for each in self.signatures
        ]
        return {
            "schema": VERIFY_SCHEMA, "reference": self.reference, "image": self.image, "signers": list(self.signers),
            "signatures": found,
        }  # fmt: skip


def verify_image(reference: str, files: tuple[str, ...], insecure: tuple[str, ...], cancel: Cancel) -> VerifyReport:
    """Whether one of the keys in `files` signed the image that a tag or digest leads to.

    One signature that is right suffices; others that are there are shown with what is wrong with them.
    Raises IntegrityError (reason "unsigned", "wrong-signature"), TransportError, SpecError, ConfigError.
    """
    from treebuilder.oci.reference import parse_reference, speaks_plain
    from treebuilder.oci.remote import Repository
    from treebuilder.repository.image_signing import find_signatures
    from treebuilder.trust.faults import UNSIGNED, WRONG, fault

    if not files:
        raise ConfigError("no key is named that is to have signed", hint="--key FILE.pub")
    keys = [show_key(file).key for file in files]
    named = parse_reference(reference)
    plain = speaks_plain(named.host, insecure)
    place = Repository(named.host, named.repository, plain, cancel)
    image, _ = place.manifest(str(named.digest or named.tag), named.digest)
    found = find_signatures(place, image, keys)
    signers = tuple(sorted({id for each in found for id in each.signers}))
    what = f"{named.host}/{named.repository}@{image}"
    if not found:
        raise fault(UNSIGNED, f"{what} is not signed", "create-repo --sign KEY and build --sign KEY sign images")
    if not signers:
        faults = list(dict.fromkeys(f"{each.form}: {each.fault}" for each in found))
        said = "; ".join(faults[:_SHOWN]) + (f" and {len(faults) - _SHOWN} others" if len(faults) > _SHOWN else "")
        raise fault(
            WRONG,
            f"{what}: none of {len(found)} signatures is right ({said})",
            "treebuild key show FILE prints the id of a key",
        )
    return VerifyReport(reference, str(image), found, signers)
