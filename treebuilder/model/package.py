"""Packages as specfiles define them (luet.md §2.3–2.6), frozen and free of I/O."""

from __future__ import annotations

from treebuilder.annotations import Literal
from treebuilder.errors import Place
from treebuilder.records import field, record

NOWHERE = Place("")


@record(order=True)
class PackageId:
    """Identity of a package: any of the three may be empty."""

    category: str
    name: str
    version: str

    @property
    def pkgname(self) -> str:
        """`category/name`, how people write it."""
        return f"{self.category}/{self.name}"

    @property
    def exact(self) -> PackageRef:
        """The reference that only this version answers."""
        return PackageRef(self.category, self.name, self.version)

    @property
    def fingerprint(self) -> str:
        """luet's `name-category-version`: names of files, order of chains."""
        return f"{self.name}-{self.category}-{self.version}"

    @property
    def human(self) -> str:
        """How luet shows a package: `category/name-version` without what is empty."""
        name = self.pkgname if self.category else self.name
        return f"{name}-{self.version}" if self.version else name

    @property
    def image_tag(self) -> str:
        """The fingerprint as an image tag (`+` is not allowed there)."""
        return self.fingerprint.replace("+", "-")

    def __str__(self) -> str:
        return f"{self.category}/{self.name}-{self.version}"


@record(order=True)
class PackageRef:
    """A wish for a package: `version` is exact, a selector (`>=1.0`), or empty for any."""

    category: str
    name: str
    version: str = ""
    where: Place = field(default=NOWHERE, compare=False)

    @property
    def pkgname(self) -> str:
        return f"{self.category}/{self.name}"

    @property
    def is_selector(self) -> bool:
        return self.version == "" or any(c in self.version for c in "<>=")

    def __str__(self) -> str:
        return f"{self.pkgname} {self.version}".rstrip()


@record
class Package:
    """A definition: one item of definition.yaml or collection.yaml, or one sub-package.

    `labels` and `annotations` are sorted pairs. `where` is the specfile that says it.
    """

    id: PackageId
    requires: tuple[PackageRef, ...] = ()
    conflicts: tuple[PackageRef, ...] = ()
    provides: tuple[PackageRef, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    description: str = ""
    license: str = ""
    uri: tuple[str, ...] = ()
    hidden: bool = False
    use_flags: tuple[str, ...] = ()
    where: Place = field(default=NOWHERE, compare=False)


@record
class CopyItem:
    """`copy:` takes `source` out of a package's image or of an image reference to `destination`."""

    package: PackageRef | None
    image: str
    source: str
    destination: str
    where: Place = field(default=NOWHERE, compare=False)


@record
class SubPackage:
    """An extra artifact carved out of a package's own (luet.md §4.9)."""

    package: Package
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()


@record
class Bootstrap:
    """`bootstrap:` (ours): a base made from a distribution's packages, where luet has `image:`.

    `packages` are sorted and distinct. `variant` is the bootstrapper's word ("minbase", "essential", "extract").
    `keyring` is a path on the host or empty for the distribution's own.
    """

    distribution: str
    suite: str
    variant: str
    packages: tuple[str, ...]
    mirror: str = ""
    components: tuple[str, ...] = ("main",)
    keyring: str = ""
    architecture: str = ""
    where: Place = field(default=NOWHERE, compare=False)


@record
class Step:
    """One line of `prelude:` or `steps:`: a Dockerfile RUN of its own."""

    command: str
    where: Place = field(default=NOWHERE, compare=False)


@record
class Recipe:
    """A build.yaml, rendered and parsed: how a package is built (luet.md §2.5; ours are marked).

    `env` items are `K=V` as written; `includes`/`excludes` are RE2 patterns; `dockerfile` is a whole
    Dockerfile's text for packages of `--dockerfiles` trees. `has_build_file` is False where there is no build.yaml.
    """

    image: str = ""
    requires: tuple[PackageRef, ...] = ()
    conflicts: tuple[PackageRef, ...] = ()
    provides: tuple[PackageRef, ...] = ()
    prelude: tuple[Step, ...] = ()
    steps: tuple[Step, ...] = ()
    env: tuple[str, ...] = ()
    copy: tuple[CopyItem, ...] = ()
    retrieve: tuple[str, ...] = ()
    unpack: bool = False
    package_dir: str = ""
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    requires_final_images: bool = False
    subpackages: tuple[SubPackage, ...] = ()
    dockerfile: str = ""
    seed: str = field(default="", compare=False)  # of no effect but on luet's hashes, as the next
    luet: str = field(default="", compare=False)  # what they see and nothing else here says, as JSON
    bootstrap: Bootstrap | None = None  # ours
    layering: Literal["", "chain", "merge"] = ""  # ours; empty: the tree's
    delta: Literal["additions", "changes"] = "additions"  # ours
    network: Literal["host", "none"] = "host"  # ours
    secrets: tuple[str, ...] = ()  # ours: names of env whose values are secret
    has_build_file: bool = True
    where: Place = field(default=NOWHERE, compare=False)

    @property
    def unpacks(self) -> bool:
        """True where the package is a whole image or folder of it, not a delta."""
        return self.unpack or bool(self.package_dir)

    @property
    def is_empty(self) -> bool:
        """luet's empty package: nothing of its own to run or to pack."""
        return not (self.steps or self.prelude or self.unpacks or self.dockerfile or self.bootstrap or self.copy)

    @property
    def is_virtual(self) -> bool:
        """Empty and standing on nothing."""
        return self.is_empty and not self.image and not self.requires


@record
class Finalizer:
    """A finalize.yaml, rendered: `shell` plus one item of `install`/`uninstall` is one program.

    `whose` names the packages for which one is to run, for errors.
    """

    shell: tuple[str, ...] = ("sh", "-c")
    install: tuple[str, ...] = ()
    uninstall: tuple[str, ...] = ()
    whose: str = field(default="", compare=False)
