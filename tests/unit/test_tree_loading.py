"""Trees of specfiles: what is found, how values, templates and overlays meet, and what is refused where."""
# ruff: noqa: E501 - a case stands on one line

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from treebuilder.errors import Place, SpecError
from treebuilder.events import Recorder, Warned
from treebuilder.model.package import PackageId, PackageRef
from treebuilder.tree import MemoryIndex, Tree, TreePackage, load_tree, tree_fingerprint
from treebuilder.tree.files import read_text

Write = Callable[[dict[str, str]], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files (path to text, dedented) below a folder `tree` and returns it."""

    def make(files: dict[str, str]) -> Path:
        root = tmp_path / "tree"
        root.mkdir(exist_ok=True)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(textwrap.dedent(text))
        return root

    return make


def load(*roots: Path, **options: Any) -> Tree:
    return load_tree(roots, events=options.pop("events", Recorder()), **options)


def names(tree: Tree) -> list[str]:
    return [str(found.package.id) for found in tree.packages]


def one(tree: Tree) -> TreePackage:
    assert len(tree.packages) == 1
    return tree.packages[0]


def steps(found: TreePackage) -> list[str]:
    return [step.command for step in found.recipe.steps]


def refused(*roots: Path, **options: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load(*roots, **options)
    return caught.value


def definition(name: str, version: str = "1.0", more: str = "") -> str:
    return f'name: {name}\ncategory: app\nversion: "{version}"\n{more}'


# what is found ------------------------------------------------------------------------------------------------------


def test_folders_mean_nothing_and_the_walk_is_lexical(write: Write) -> None:
    root = write(
        {
            "b/definition.yaml": definition("two"),
            "a/deep/er/definition.yaml": definition("one"),
            "definition.yaml": definition("top"),
            "b/inner/collection.yaml": "packages:\n- {name: c2, category: app, version: '1'}\n- {name: c1, category: app}\n",
            "c/build.yaml": "steps: [not a package, no definition]\n",
        }
    )
    assert names(load(root)) == ["app/top-1.0", "app/one-1.0", "app/two-1.0", "app/c2-1", "app/c1-"]


def test_definition_fields_and_places(write: Write) -> None:
    root = write(
        {
            "x/definition.yaml": """\
            Name: x
            category: app
            version: "1.0+2"
            requires: [{category: base, name: b, version: ">=1"}]
            conflicts:
            - {category: app, name: z}
            provides: [{category: app, name: old-x, version: ">=0"}]
            labels: {"autobump.arch": "amd64", a: "{{ not rendered }}"}
            annotations: {config_protect: /etc}
            description: text
            license: MIT
            uri: [http://x]
            hidden: yes
            use_flags: [a]
            anything: else
            """,
        }
    )
    recorder = Recorder()
    package = one(load(root, events=recorder)).package
    assert package.id == PackageId("app", "x", "1.0+2")
    assert package.requires == (PackageRef("base", "b", ">=1"),)
    assert package.requires[0].where == Place(f"{root}/x/definition.yaml", 4)
    assert package.conflicts[0].where == Place(f"{root}/x/definition.yaml", 6)
    assert package.provides == (PackageRef("app", "old-x", ">=0"),)
    assert package.labels == (("a", "{{ not rendered }}"), ("autobump.arch", "amd64"))
    assert package.annotations == (("config_protect", "/etc"),)
    assert (package.description, package.license, package.uri) == ("text", "MIT", ("http://x",))
    assert package.hidden
    assert package.use_flags == ("a",)
    assert package.where == Place(f"{root}/x/definition.yaml", 1)
    assert recorder.events == []


def test_a_package_without_build_file(write: Write) -> None:
    found = one(load(write({"x/definition.yaml": definition("x")})))
    assert not found.recipe.has_build_file
    assert found.recipe.is_virtual
    assert found.finalize == ""


def test_collections_share_one_recipe_and_folder(write: Write) -> None:
    root = write(
        {
            "c/collection.yaml": """\
            packages:
            - &base
              name: img
              category: rec
              version: "1"
              size: 2000000
              requires:
              - &dep {category: sys, name: cos, version: ">=0"}
            - !!merge <<: *base
              name: squash
            - {name: none, category: rec, requires: [*dep]}
            """,
            "c/build.yaml": """\
            {{ if eq .Values.name "img" }}
            image: scratch
            {{- end }}
            {{ if or (eq .Values.name "squash") (eq .Values.name "x") }}
            requires:
            - name: "golang{{- if .Values.fips -}}-fips{{- end -}}"
              category: build
            steps:
            - echo {{ .Values.size }}
            {{- end }}
            """,
        }
    )
    tree = load(root)
    assert names(tree) == ["rec/img-1", "rec/squash-1", "rec/none-"]
    image, squash, none = tree.packages
    assert image.recipe.image == "scratch"
    assert steps(squash) == ["echo 2e+06"]  # a collection's numbers are float64
    assert squash.recipe.requires == (PackageRef("build", "golang"),)
    assert squash.recipe.steps[0].where == Place(f"{root}/c/build.yaml", 9)
    assert squash.package.requires == image.package.requires == none.package.requires
    assert none.recipe.is_virtual
    assert none.recipe.has_build_file
    assert tree.context_digest(image) == tree.context_digest(squash)


def test_the_compiler_sees_the_recipes_requirements(write: Write) -> None:
    root = write(
        {
            "a/definition.yaml": definition("a", more="requires: [{name: run, category: r}]\nprovides: [{name: p, category: r}]\n"),
            "a/build.yaml": "requires: [{name: make, category: r}]\nconflicts: [{name: never, category: r}]\n",
            "b/definition.yaml": definition("b", more="requires: [{name: run, category: r}]\n"),
            "d/definition.yaml": definition("d", more="provides: [{name: p, category: r}]\n"),
            "d/build.yaml": "provides: [{name: q, category: r}]\nsubpackages:\n- {name: d-doc, category: app, version: '1.0', includes: ['^/doc']}\n",
        }
    )  # fmt: skip
    tree = load(root)
    runtime, compiler = tree.runtime(), tree.compiler()
    assert runtime.names() == ("app/a", "app/b", "app/d", "app/d-doc")
    assert compiler.names() == ("app/a", "app/b", "app/d")
    a = PackageId("app", "a", "1.0")
    runs, makes = runtime.find(a), compiler.find(a)
    assert runs is not None
    assert makes is not None
    assert runs.requires == (PackageRef("r", "run"),)
    assert makes.requires == (PackageRef("r", "make"),)
    assert makes.conflicts == (PackageRef("r", "never"),)
    assert makes.provides == runs.provides
    assert [p.id.name for p in compiler.providers("r/q")] == ["d"]
    assert [p.id.name for p in compiler.providers("r/p")] == ["a"]
    assert compiler.versions("app/b")[0].requires == (PackageRef("r", "run"),)
    assert tree.get(PackageId("app", "d", "1.0")) is not None
    assert tree.get(PackageId("app", "d-doc", "1.0")) is None


# templates and values -----------------------------------------------------------------------------------------------


def test_shared_templates_are_there_for_every_build_file(write: Write) -> None:
    root = write(
        {
            "templates/golang.yaml": '{{ define "dl" }}- curl {{ get . "host" | default "github.com" }}/{{ get . "version" }}{{ end }}\n',
            "deep/templates/sub/env.YAML": '{{define "env"}}- A=1{{end}}',
            "templates/notes.txt": '{{ define "dl" }}{{ broken',
            "x/definition.yaml": definition("x", more="labels: {package.version: '3'}\n"),
            "x/build.yaml": """\
            {{ $v := index .Values.labels "package.version" }}
            env:
            {{ template "env" . }}
            steps:
            {{ template "dl" (dict "version" $v) }}
            {{ template "dl" (dict "version" (printf "v%s" $v) "host" "h") }}
            """,
        }
    )  # fmt: skip
    found = one(load(root))
    assert steps(found) == ["curl github.com/3", "curl h/v3"]
    assert [step.where.line for step in found.recipe.steps] == [5, 6]
    assert found.recipe.env == ("A=1",)


def test_templates_of_all_trees_are_shared(tmp_path: Path, write: Write) -> None:
    root = write({"x/definition.yaml": definition("x"), "x/build.yaml": 'steps: [{{ include "t" . }}]'})
    other = tmp_path / "other"
    (other / "templates").mkdir(parents=True)
    (other / "templates/t.yaml").write_text('{{ define "t" }}echo hi{{ end }}')
    assert steps(one(load(root, other))) == ["echo hi"]
    (root / "templates").mkdir()
    (root / "templates/copy.yaml").write_text('{{ define "t" }}echo hi{{ end }}')
    assert steps(one(load(root, other))) == ["echo hi"]
    (root / "templates/copy.yaml").write_text('{{ define "t" }}echo other{{ end }}')
    assert steps(one(load(root, other))) == ["echo other"]


def test_the_environment_and_the_epoch_are_given(write: Write) -> None:
    root = write(
        {
            "x/definition.yaml": definition("x"),
            "x/build.yaml": 'steps: ["{{ env `GIVEN` }}{{ env `HOME` }} {{ now.Unix }}"]',
        }
    )
    assert steps(one(load(root, template_env={"GIVEN": "1"}, epoch_s=5))) == ["1 5"]


def test_an_index_gives_the_same_recipes(write: Write) -> None:
    root = write(
        {
            "x/definition.yaml": definition("x"),
            "x/build.yaml": "{{ if true }}\nsteps:\n- echo {{ .Values.name }}\n{{ end }}\nbogus: 1\n",
        }
    )
    index = MemoryIndex()
    plain = load(root).packages
    recorder = Recorder()
    assert load(root, index=index).packages == plain
    again = load(root, index=index, events=recorder).packages
    assert again == plain
    assert [step.where for step in again[0].recipe.steps] == [Place(f"{root}/x/build.yaml", 3)]
    assert recorder.events == [Warned("the key 'bogus' means nothing here", Place(f"{root}/x/build.yaml", 5))]
    (root / "x/definition.yaml").write_text(definition("other"))
    assert steps(one(load(root, index=index))) == ["echo other"]


# overlays, other layouts --------------------------------------------------------------------------------------------


def test_the_first_tree_wins(tmp_path: Path, write: Write) -> None:
    root = write({"x/definition.yaml": definition("x"), "x/build.yaml": "steps: [mine]"})
    other = tmp_path / "other"
    for name in ("x", "z"):
        (other / name).mkdir(parents=True)
        (other / name / "definition.yaml").write_text(definition(name))
        (other / name / "build.yaml").write_text("steps: [theirs]")
    tree = load(root, other)
    assert names(tree) == ["app/x-1.0", "app/z-1.0"]
    assert [steps(found) for found in tree.packages] == [["mine"], ["theirs"]]
    assert tree.roots == (str(root), str(other))
    assert [found.root for found in tree.packages] == [str(root), str(other)]
    assert steps(load(other, root).packages[0]) == ["theirs"]
    assert names(load(root, root)) == ["app/x-1.0"]


def test_dockerfiles(write: Write) -> None:
    root = write({"web/Dockerfile": "FROM scratch\n", "web/Dockerfile.old": "FROM x\n", "db/my-Dockerfile": "FROM y\n"})
    recorder = Recorder()
    tree = load(root, dockerfiles=True, events=recorder)
    assert [found.package.id.fingerprint for found in tree.packages] == ["db--", "web--"]
    assert tree.packages[1].recipe.dockerfile == "FROM scratch\n"
    assert tree.packages[1].recipe.where == Place(f"{root}/web/Dockerfile")
    assert [event.where for event in recorder.events if isinstance(event, Warned)] == [
        Place(f"{root}/web/Dockerfile.old")
    ]
    assert load(root).packages == ()


def test_links_in_the_walk(tmp_path: Path, write: Write) -> None:
    root = write({"x/definition.yaml": definition("x"), "shared.yaml": "steps: [shared]"})
    (root / "x/build.yaml").symlink_to("../shared.yaml")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "definition.yaml").write_text(definition("never"))
    (root / "linked").symlink_to(outside)
    (root / "again").symlink_to(root / "x")
    tree = load(root)
    assert names(tree) == ["app/x-1.0"]
    assert steps(one(tree)) == ["shared"]
    (root / "x/finalize.yaml").symlink_to(outside / "definition.yaml")
    error = refused(root)
    assert (error.reason, error.where) == ("context-escape", Place(f"{root}/x/finalize.yaml"))


def test_a_finalizer_knows_typed_fields_only(write: Write) -> None:
    root = write(
        {
            "a/definition.yaml": definition("a", more="labels: {x: '1'}\nextra: 5\n"),
            "a/finalize.yaml": "install:\n- echo {{ .Values.name }} {{ .Values.extra }} {{ index .Values.labels `x` }}\nuninstall: [bye]\n",
            "b/definition.yaml": definition("b"),
            "b/finalize.yaml": "shell: [bash, -c]\n",
            "c/definition.yaml": definition("c"),
            "d/definition.yaml": definition("d"),
            "d/finalize.yaml": "install:\n- ok\n- {{ nosuch }}\n",
        }
    )
    tree = load(root)
    a, b, c, d = (tree.packages[i] for i in range(4))
    found = tree.finalizer(a)
    assert found is not None
    assert (found.shell, found.install, found.uninstall) == (("sh", "-c"), ("echo a <no value> 1",), ("bye",))
    bash = tree.finalizer(b)
    assert bash is not None
    assert (bash.shell, bash.install) == (("bash", "-c"), ())
    assert tree.finalizer(c) is None
    with pytest.raises(SpecError) as caught:
        tree.finalizer(d)
    assert caught.value.where == Place(f"{root}/d/finalize.yaml", 3)


# refusals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "reason", "file", "line"),
    [
        ({"definition.yaml": "name: x\nversion: 1.0\n"}, "wrong-type", "definition.yaml", 2),
        ({"definition.yaml": "name: [x\n"}, "yaml", "definition.yaml", 2),
        ({"definition.yaml": "name: x\nlabels: {a: 1}\n"}, "wrong-type", "definition.yaml", 2),
        ({"definition.yaml": "name: x\nuri: http://x\n"}, "wrong-type", "definition.yaml", 2),
        ({"definition.yaml": "name: x\nrequires:\n- app/y\n"}, "wrong-type", "definition.yaml", 3),
        ({"definition.yaml": "name: x\nrequires: [{name: y, version: 1}]\n"}, "wrong-type", "definition.yaml", 2),
        ({"definition.yaml": "name: x\nhidden: 'no'\n"}, "wrong-type", "definition.yaml", 2),
        ({"definition.yaml": "category: c\nname: ../x\n"}, "name", "definition.yaml", 2),
        ({"definition.yaml": "- a\n"}, "wrong-type", "definition.yaml", 1),
        ({"collection.yaml": "packages:\n  a: b\n"}, "wrong-type", "collection.yaml", 1),
        ({"collection.yaml": "packages:\n- a\n"}, "wrong-type", "collection.yaml", 2),
    ],
)
def test_broken_definitions(write: Write, files: dict[str, str], reason: str, file: str, line: int) -> None:
    root = write({f"x/{name}": text for name, text in files.items()})
    error = refused(root)
    assert (error.reason, error.where) == (reason, Place(f"{root}/x/{file}", line))


def test_a_template_fault_names_the_line_of_the_source(write: Write) -> None:
    root = write({"x/definition.yaml": definition("x"), "x/build.yaml": "a: 1\n\nsteps:\n- {{ upper 5 }}\n"})
    error = refused(root)
    assert (error.reason, error.where) == ("template", Place(f"{root}/x/build.yaml", 4))
    root = write({"templates/t.yaml": '{{ define "t" }}\n{{ nosuch }}{{ end }}'})
    assert refused(root).where == Place(f"{root}/templates/t.yaml", 2)


def test_a_fault_in_the_rendered_text_names_the_line_of_the_source(write: Write) -> None:
    build = "{{- if true }}\n\n\n{{ end }}\nsteps:\n{{ range until 3 }}\n- echo {{ . }}\n{{ end }}\n- [wrong]\n"
    root = write({"x/definition.yaml": definition("x"), "x/build.yaml": build})
    error = refused(root)
    assert (error.reason, error.where) == ("wrong-type", Place(f"{root}/x/build.yaml", 9))
    root = write({"x/build.yaml": "{{ if true }}\n{{ end }}a: [\n"})
    assert refused(root).reason == "yaml"


def test_missing_and_unreadable_things(tmp_path: Path, write: Write) -> None:
    root = write({"x/definition.yaml": definition("x")})
    assert refused(tmp_path / "nowhere").reason == "missing-tree"
    assert refused(root / "x/definition.yaml").reason == "missing-tree"
    assert refused(root, values_files=[tmp_path / "nowhere"]).reason == "missing-values"
    values = tmp_path / "values.yaml"
    values.write_text("- a")
    assert refused(root, values_files=[values]).where == Place(str(values), 1)
    (root / "x/build.yaml").write_bytes(b"ok\n\xff\n")
    error = refused(root)
    assert (error.reason, error.where) == ("encoding", Place(f"{root}/x/build.yaml", 2))
    (root / "x/build.yaml").unlink()
    os.mkfifo(root / "x/build.yaml")
    assert refused(root).reason == "unreadable"


@pytest.mark.parametrize("size", [-1, 0, 1, 9, 10, 11, 99])
def test_a_file_that_grows_or_shrinks_is_read_whole(tmp_path: Path, size: int) -> None:
    """`size` is what it had when the tree was walked."""
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbfname: x")
    assert read_text(str(tmp_path / "f"), size) == "name: x"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SpecError, match="no plain file"):
        read_text(str(tmp_path / "pipe"), size)


# the fast path ------------------------------------------------------------------------------------------------------


def test_the_fingerprint_follows_every_stat_and_option(tmp_path: Path, write: Write) -> None:
    root = write({"x/definition.yaml": definition("x"), "x/file": "a"})
    values = tmp_path / "values.yaml"
    values.write_text("a: 1")

    def stamp(files: Sequence[Path] = (), **options: Any) -> str:
        found = tree_fingerprint([root], files, **options)
        assert load(root, values_files=files, **options).fingerprint() == found
        return found

    seen = [stamp()]
    assert stamp() == seen[0]
    seen.append(stamp([values]))
    values.write_text("a: 12")
    seen.append(stamp([values]))
    seen.extend((stamp(epoch_s=1), stamp(layering="merge"), stamp(dockerfiles=True), stamp(template_env={"A": "1"})))
    os.utime(root / "x/file", (1, 1))
    seen.append(stamp())
    (root / "x/file").chmod(0o600)
    seen.append(stamp())
    (root / "x/new").touch()
    seen.append(stamp())
    (root / "x/new").rename(root / "x/newer")
    seen.append(stamp())
    assert len(set(seen)) == len(seen)
    with pytest.raises(SpecError):
        tree_fingerprint([tmp_path / "nowhere"])


def test_the_fast_path_reads_no_specfile_library(write: Write) -> None:
    root = write({"x/definition.yaml": definition("x"), "x/build.yaml": "{{ broken"})
    code = (
        "import sys; from treebuilder.tree import tree_fingerprint;"
        f"tree_fingerprint([{str(root)!r}]);"
        "assert not {'yaml', 'jinja2', 'treebuilder.nodes', 'treebuilder.template'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_layering_is_the_recipes_or_the_trees(write: Write) -> None:
    root = write(
        {
            "a/definition.yaml": definition("a"), "a/build.yaml": "layering: merge",
            "b/definition.yaml": definition("b"), "b/build.yaml": "layering: chain",
            "c/definition.yaml": definition("c"),
        }
    )  # fmt: skip
    tree = load(root)
    assert [tree.layering_of(found) for found in tree.packages] == ["merge", "chain", "chain"]
    tree = load(root, layering="merge")
    assert [tree.layering_of(found) for found in tree.packages] == ["merge", "chain", "merge"]
