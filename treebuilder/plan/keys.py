"""The keys of every result (architecture, "Keys").

*Recipe digest* R: everything the commands can see. *Plan key* P: R and the plan keys of what a node stands on, from
sources and lock alone. *Build key* B: R and the States of what it stands on, known once those are built; equal
States cut a rebuild off early. *Artifact key*: content and how it is packed. Each is the SHA-256 of a canonical JSON
document, and the documents are kept beside results so that `explain` can compare them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from treebuilder.annotations import Any
from treebuilder.errors import SpecError
from treebuilder.model.digest import Digest
from treebuilder.model.envline import secret_pairs
from treebuilder.model.image import State
from treebuilder.model.package import Recipe
from treebuilder.plan.graph import (
    BootstrapBase,
    BuildNode,
    BuildPlan,
    EmptyBase,
    Foreign,
    ImageBase,
    JoinBase,
    NodeBase,
    Retrieved,
)
from treebuilder.plan.lock import Lock, bootstrap_key
from treebuilder.records import field, fields, is_record, record
from treebuilder.tree import Tree

SCHEMA = 1
STEP_SEMANTICS = 1  # raised when the same recipe would be run in another way
_SHORT = 8  # digits of a digest, for readers who compare two of one file
_TELLING = 4  # letters of a value that is looked for elsewhere
PACKER = 1  # raised when the same content would be packed in another way


@record
class NodeKeys:
    """Of one node: R, P, the artifact's plan key, and how to write the document that they are digests of."""

    recipe: Digest
    plan: Digest
    artifact: Digest
    write: Callable[[], str] = field(compare=False)

    @property
    def document(self) -> str:
        """Canonical JSON: what the keys are digests of, and a line for each file of the folder beside it."""
        return self.write()


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest_of(value: object) -> Digest:
    return Digest.of(canonical(value).encode())


def host_platform() -> str:
    machine = os.uname().machine
    return f"linux/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"


def recipe_fields(recipe: Recipe) -> dict[str, Any]:
    """Every field of a recipe that makes it another one; a field added later is in the key by itself."""
    return {f.name: _plain(getattr(recipe, f.name)) for f in fields(recipe) if f.compare and f.name != "has_build_file"}


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON
    if is_record(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value) if f.compare}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def recipe_document(node: BuildNode, tree: Tree, lock: Lock, secret_key: bytes = b"") -> dict[str, Any]:
    """What R is made of. Raises SpecError (reason "secret") for a secret that stands where everybody would read it."""
    package = node.package
    id = package.package.id
    fields = recipe_fields(package.recipe)
    if package.recipe.secrets:
        fields["env"] = _without_secrets(package.recipe, fields, secret_key)
    context = str(tree.context_digest(package)) if package.context else ""
    named = {"dockerfile": [str(locked_image(lock, image)) for image in node.images]} if node.images else {}
    return {
        "schema": SCHEMA, "steps": STEP_SEMANTICS, "platform": host_platform(),
        "package": [id.category, id.name, id.version], "recipe": fields, "context": context,
        "retrieved": [_retrieved(r, lock) for r in node.retrieved if not r.node],
        # By position: a layout in the tree is named by an absolute path here, and the tree may stand anywhere.
        "images": {str(at): str(locked_image(lock, c.image)) for at, c in enumerate(node.copies) if c.image},
        "epoch": lock.epoch_s, **named,
    }  # fmt: skip


def _without_secrets(recipe: Recipe, fields: Mapping[str, Any], secret_key: bytes) -> list[str]:
    """The lines of `env` with a keyed hash in the place of each that sets a secret: nobody can try values out on it."""
    secret = dict(secret_pairs(recipe.env, recipe.secrets))
    assert secret_key or not secret, "whoever plans packages with secrets brings a key"
    shown = [
        f"{','.join(name for name, _ in secret[line])}=hmac-sha256:{_keyed(secret_key, line)}"
        if line in secret
        else line
        for line in recipe.env
    ]
    open_text = canonical({**fields, "env": [line for line in recipe.env if line not in secret]})
    for name, value in (pair for pairs in secret.values() for pair in pairs):
        if len(value) >= _TELLING and canonical(value)[1:-1] in open_text:
            raise SpecError(
                f"the value of the secret {name} stands outside of its line of env, where everybody reads it",
                where=recipe.where, hint=f"write ${name} there", reason="secret",
            )  # fmt: skip
    return shown


def _keyed(key: bytes, line: str) -> str:
    import hashlib  # few recipes have a secret
    import hmac

    return hmac.new(key, line.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()


def _retrieved(item: Retrieved, lock: Lock) -> list[str]:
    digest = item.digest or lock.urls.get(item.url)
    if digest is None:
        raise SpecError(f"{item.url} is not in the lock", hint="treebuild lock", reason="lock-incomplete")
    return [item.name, str(digest)]


def locked_image(lock: Lock, reference: str) -> Digest:
    digest = lock.images.get(reference)
    if digest is None:
        raise SpecError(f"the image {reference} is not in the lock", hint="treebuild lock", reason="lock-incomplete")
    return digest


def base_document(node: BuildNode, lock: Lock, keys: Mapping[str, NodeKeys]) -> Any:  # noqa: ANN401 - JSON
    """The base as plan keys."""
    match node.base:
        case EmptyBase():
            return ["scratch"]
        case ImageBase(reference):
            return ["image", str(locked_image(lock, reference))]
        case BootstrapBase(wish):
            return ["bootstrap", *bootstrap_document(lock, bootstrap_key(wish))]
        case NodeBase(nodes):
            return ["nodes", *(keys[n].plan.hex for n in nodes)]
        case JoinBase(members):
            return ["join", *(m.sha256.hex if isinstance(m, Foreign) else keys[m].artifact.hex for m in members)]


def bootstrap_document(lock: Lock, key: str) -> list[str]:
    locked = lock.bootstraps.get(key)
    if locked is None:
        raise SpecError(f"the bootstrap {key} is not in the lock", hint="treebuild lock", reason="lock-incomplete")
    return [key, digest_of([[f.name, f.version, f.architecture, f.sha256.hex] for f in locked.packages]).hex]


def artifact_document(recipe: Recipe) -> dict[str, object]:
    """How a package's content is made from its image."""
    return {
        "packer": PACKER, "unpack": recipe.unpack, "package_dir": recipe.package_dir, "delta": recipe.delta,
        "includes": [*recipe.includes], "excludes": [*recipe.excludes], "empty": recipe.is_empty,
    }  # fmt: skip


def plan_keys(
    plan: BuildPlan, tree: Tree, lock: Lock, known: Mapping[str, NodeKeys] | None = None, secret_key: bytes = b""
) -> dict[str, NodeKeys]:
    """Keys of every node; those in `known` are settled already. `secret_key` is for plans that have secrets.

    Raises SpecError (reason "lock-incomplete") when the lock lacks something.
    """
    keys: dict[str, NodeKeys] = {}
    for id, node in plan.nodes.items():
        if known is not None and id in known:
            keys[id] = known[id]
            continue
        recipe = recipe_document(node, tree, lock, secret_key)
        r = digest_of(recipe)
        document = {
            "recipe": recipe,
            "base": base_document(node, lock, keys),
            "copies": [keys[c.node].plan.hex for c in node.copies if c.node],
            "artifacts": [[n.name, keys[n.node].artifact.hex] for n in node.retrieved if n.node],
        }
        p = digest_of(["plan", r.hex, document["base"], document["copies"], document["artifacts"]])
        artifact = digest_of(["artifact-plan", p.hex, artifact_document(node.package.recipe)])
        # Only what is built or explained is compared, so most documents are never written.
        keys[id] = NodeKeys(r, p, artifact, lru_cache(1)(partial(_document, document, node, tree)))
    return keys


def _document(inputs: dict[str, Any], node: BuildNode, tree: Tree) -> str:
    files = tree.context_files(node.package) if node.package.context else ()
    listed = {f.path: f"{f.mode:o} {f.digest.hex[:_SHORT] if f.digest else f.target or f.type}" for f in files}
    return canonical({**inputs, "files": listed})


def build_inputs(
    recipe: Digest, base: State, copies: tuple[State, ...], retrieved: tuple[tuple[str, Digest], ...]
) -> list[object]:
    """What B is the digest of: R, and the States of what a node stands on, once those are known."""
    return ["build", recipe.hex, base.key.hex, [s.key.hex for s in copies], [[name, d.hex] for name, d in retrieved]]


def build_key(
    recipe: Digest, base: State, copies: tuple[State, ...], retrieved: tuple[tuple[str, Digest], ...]
) -> Digest:
    """B of a node."""
    return digest_of(build_inputs(recipe, base, copies, retrieved))


def artifact_key(source: Digest, recipe: Recipe) -> Digest:
    """The key of an artifact made from `source`, a layer's content or a State's key."""
    return digest_of(["artifact", source.hex, artifact_document(recipe)])


def sub_artifact_key(main: Digest, includes: tuple[str, ...], excludes: tuple[str, ...]) -> Digest:
    return digest_of(["sub-artifact", PACKER, main.hex, [*includes], [*excludes]])
