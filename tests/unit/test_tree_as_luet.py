"""luet.md §2, sentence by sentence, where no other test says it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from treebuilder.errors import Place, SpecError
from treebuilder.events import Recorder, Warned
from treebuilder.model.package import Package, PackageId, PackageRef
from treebuilder.tree import MemoryIndex, Tree, load_tree, read_finalizer
from treebuilder.tree import snapshot as snapshots

Files = dict[str, str]
Write = Callable[..., Path]
CATEGORY, VERSION = "did you mean category?", "did you mean version?"
NAMED = 'name: "x"\ncategory: "c"\nversion: "1"\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(files: Files, root: str = "tree") -> Path:
        (tmp_path / root).mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / root / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / root / name).write_text(textwrap.dedent(text))
        return tmp_path / root

    return make


def load(*roots: Path, dockerfiles: bool = False) -> tuple[Tree, list[Warned]]:
    events = Recorder()
    tree = load_tree(roots, events=events, dockerfiles=dockerfiles)
    tree.compiler()
    return tree, [event for event in events.events if isinstance(event, Warned)]


def steps(tree: Tree) -> dict[str, list[str]]:
    return {p.package.id.name: [step.command for step in p.recipe.steps] for p in tree.packages}


# §2.1 ------------------------------------------------------------------------------------------------------------
def test_a_folder_may_hold_a_definition_and_a_collection(write: Write) -> None:
    root = write({
        "any/where/definition.yaml": NAMED + "from: definition\n",
        "any/where/collection.yaml": """\
            packages:
            - {name: x, category: c, version: "1", from: collection, num: 7}
            - {name: w, from: item}
            """,
        "any/where/build.yaml": "steps:\n- echo {{ .Values.name }} {{ .Values.from }} {{ .Values.num }}\n",
    })  # fmt: skip
    tree, warned = load(root)
    # the collection's data is used for templating all packages of the folder
    assert steps(tree) == {"x": ["echo x collection 7"], "w": ["echo w item <no value>"]}
    assert ["defined twice" in w.message for w in warned] == [True]


def test_a_definition_beside_a_collection_without_it_keeps_its_own_data(write: Write) -> None:
    root = write({
        "a/definition.yaml": NAMED, "a/collection.yaml": "packages: [{name: w}]\n",
        "a/build.yaml": "steps: ['echo {{ .Values.name }}']\n",
    })  # fmt: skip
    assert steps(load(root)[0]) == {"x": ["echo x"], "w": ["echo w"]}


def test_a_package_may_stand_at_the_root_and_in_hidden_folders(write: Write) -> None:
    root = write({"definition.yaml": NAMED, ".hidden/deep/definition.yaml": "name: h\n"})
    assert sorted(id.name for id in load(root)[0].ids) == ["h", "x"]


def test_runtime_and_compiler_views(write: Write) -> None:
    root = write({
        "a/definition.yaml": NAMED + "requires: [{name: run}]\nconflicts: [{name: foe}]\nprovides: [{name: p}]\n",
        "a/build.yaml": "requires: [{name: make}]\nsubpackages: [{name: sub, category: c, version: '1'}]\n",
        "b/definition.yaml": NAMED.replace("x", "w") + "requires: [{name: run}]\n",
    })  # fmt: skip
    tree, _ = load(root)
    runtime, compiler = tree.runtime(), tree.compiler()
    assert runtime.names() == ("c/sub", "c/w", "c/x")
    assert compiler.names() == ("c/w", "c/x")
    (x,) = compiler.versions("c/x")
    assert (x.requires, x.conflicts, x.provides) == ((PackageRef("", "make"),), (), (PackageRef("", "p"),))
    assert runtime.versions("c/x")[0].requires == (PackageRef("", "run"),)
    assert compiler.versions("c/w")[0].requires == (PackageRef("", "run"),)  # no build.yaml: the definition's are kept


def test_of_several_trees_the_first_wins_and_the_others_add(write: Write) -> None:
    one = write({"a/definition.yaml": NAMED + "license: one\n"}, "one")
    two = write({"z/definition.yaml": NAMED + "license: two\n", "y/definition.yaml": "name: w\n"}, "two")
    tree, warned = load(one, two)
    assert [(p.package.id.name, p.package.license) for p in tree.packages] == [("x", "one"), ("w", "")]
    assert warned == []
    assert [p.package.license for p in load(two, one)[0].packages] == ["", "two"]


def test_any_file_with_dockerfile_in_its_name_is_a_package_of_the_folder(write: Write) -> None:
    root = write({"curl/my.Dockerfile.in": "FROM scratch\n", "b/definition.yaml": NAMED, "b/Dockerfile": "FROM x\n"})
    tree, _ = load(root, dockerfiles=True)
    assert set(tree.ids) == {PackageId("", "curl", ""), PackageId("c", "x", "1"), PackageId("", "b", "")}
    assert {id.fingerprint for id in tree.ids} >= {"curl--"}
    assert [id.name for id in load(root)[0].ids] == ["x"]


def test_of_a_package_that_stands_twice_the_first_counts(write: Write) -> None:
    """luet's HEAD takes the first without a word; nothing else of the tree is worse for it."""
    root = write({
        "a/definition.yaml": NAMED + "license: first\n", "b/definition.yaml": "\n" + NAMED + "license: second\n",
        "c/collection.yaml": "packages:\n- name: v\n- name: v\n",
    })  # fmt: skip
    for recipes in (True, False):
        events = Recorder()
        tree = load_tree([root], events=events, recipes=recipes)
        assert [id.name for id in tree.ids] == ["x", "v"]
        assert tree.runtime().versions("c/x")[0].license == "first"
        warned = [event for event in events.events if isinstance(event, Warned)]
        assert [w.where for w in warned] == [
            Place(f"{root}/b/definition.yaml", 2),
            Place(f"{root}/c/collection.yaml", 3),
        ]
        assert f"{root}/a/definition.yaml:1" in warned[0].message
        assert set(tree.doubled) == {"x-c-1", "v--"}


@pytest.mark.parametrize("broken", ["definition.yaml", "collection.yaml", "build.yaml"])
def test_one_broken_file_stops_the_whole_tree(write: Write, broken: str) -> None:
    root = write({"a/definition.yaml": NAMED, "b/definition.yaml": "name: b\n", f"b/{broken}": "a: [\n"})
    with pytest.raises(SpecError) as caught:
        load(root)
    assert caught.value.where is not None
    assert caught.value.where.file == f"{root}/b/{broken}"


# §2.2 ------------------------------------------------------------------------------------------------------------
def test_keys_in_any_case_duplicates_anchors_and_merges(write: Write) -> None:
    root = write({
        "a/definition.yaml": 'Name: x\nCATEGORY: "c"\nversion: "1"\nversion: "2"\nLabels: {a: b}\n',
        "b/collection.yaml": """\
            base: &base
              category: c
              version: "1"
              labels: &labels {one: "1"}
            packages:
            - <<: *base
              name: w
            - <<: [*base]
              name: v
              labels: {<<: *labels, two: "2"}
            """,
        "b/build.yaml": "steps: ['{{ .Values.category }} {{ .Values.labels.one }}']\n",
    })  # fmt: skip
    tree, _ = load(root)
    assert tree.ids[0] == PackageId("c", "x", "2")
    assert tree.packages[0].package.labels == (("a", "b"),)
    assert tree.packages[2].package.labels == (("one", "1"), ("two", "2"))
    assert {name: s for name, s in steps(tree).items() if s} == {"w": ["c 1"], "v": ["c 1"]}


def test_yaml_1_1_scalars_are_what_templates_see(write: Write) -> None:
    root = write({
        "a/definition.yaml": NAMED + "bool: yes\noct: 010\nunder: 1_000\ntime: 12:30:00\ny: key\ndeep: {y: deeper}\n",
        "a/build.yaml": "steps:\n- '{{ .Values.bool }} {{ .Values.oct }} {{ .Values.under }} {{ .Values.time }}'\n"
        "- '{{ .Values.y }} {{ index .Values.deep \"true\" }}'\n",
    })  # fmt: skip
    assert steps(load(root)[0]) == {"x": ["true 8 1000 12:30:00", "key deeper"]}


@pytest.mark.parametrize(
    "line",
    ["version: 1.0", "version: yes", "labels: {a: 1}", "uri: http://x", "hidden: 'yes'", "use_flags: [1]",
     "requires: [{version: 1}]", "requires: {name: a}", "requires: [a]", "labels: [a]", "name: [a]"],
)  # fmt: skip
def test_types_are_strict(write: Write, line: str) -> None:
    root = write({"a/definition.yaml": f"# one\n{line}\n"})
    with pytest.raises(SpecError) as caught:
        load(root)
    assert (caught.value.reason, caught.value.where) == ("wrong-type", Place(f"{root}/a/definition.yaml", 2))


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "~", "{}", "name:\ncategory: null\nversion: ~\n", "requires:\nlabels:\nuri:\nhidden:\n",
     "requires: [~]\n", "labels: {a: ~}\n", "id: 5\nstate: x\npath: /p\ntreedir: t\nbuildtimestamp: b\n"],
)  # fmt: skip
def test_nothing_is_the_zero_value(write: Write, text: str) -> None:
    root = write({"a/definition.yaml": text, "b/definition.yaml": NAMED})
    assert load(root)[0].ids[0] == PackageId("", "", "")


def test_build_files_are_parsed_only_after_rendering(write: Write) -> None:
    root = write({
        "a/definition.yaml": NAMED + "deps: [one, two]\n",
        "a/build.yaml": '{{ $c := "c" }}\nrequires:\n{{ range .Values.deps }}\n- {category: {{ $c }}, name: {{ . }}}\n'
        "{{ end }}\nsteps:\n- |\n  if true; then\n  \techo tab\n  fi\n",
    })  # fmt: skip
    tree, _ = load(root)
    assert tree.packages[0].recipe.requires == (PackageRef("c", "one"), PackageRef("c", "two"))
    assert "\techo tab" in steps(tree)["x"][0]


# §2.3–2.5 --------------------------------------------------------------------------------------------------------
def test_unknown_keys_are_warned_of_once_in_a_file(write: Write) -> None:
    items = "".join(f"- {{name: n{i}, odd: {i}}}\n" for i in range(3))
    root = write({
        "a/collection.yaml": f"packages:\n{items}",
        "a/build.yaml": "{{ if .Values.odd }}\n{{ end }}\nstep: [a]\nStep: [b]\nname: 5\n",
        "b/definition.yaml": NAMED + "arch: any\n", "b/build.yaml": "step: []\n",
    })  # fmt: skip
    _, warned = load(root)
    assert [(w.where, w.hint) for w in warned] == [
        (Place(f"{root}/a/build.yaml", 3), "did you mean steps?"),
        (Place(f"{root}/a/build.yaml", 4), "did you mean steps?"),
        (Place(f"{root}/b/build.yaml", 1), "did you mean steps?"),
    ]


def test_unknown_keys_in_references_are_warned_of(write: Write) -> None:
    odd = 'requires:\n- {name: b, categry: c, versoin: "1"}\n- name: d\n  Hidden: true\n  wher: x\n'
    root = write({
        "a/definition.yaml": NAMED + odd, "a/build.yaml": "image: x:1\n" + odd,
        "b/definition.yaml": "name: b\n", "b/build.yaml": "image: x:1\ncopy: [{package: {nam: c}}]\nunpack: true\n"
        "subpackages:\n- name: s\n  requires: [{name: t, kategory: c}]\n",
    })  # fmt: skip
    found = {(str(w.where).removeprefix(f"{root}/"), w.message.split("'")[1], w.hint) for w in load(root)[1] if w.hint}
    start = NAMED.count("\n") + 2
    assert found == {
        *((f"a/definition.yaml:{start}", *said) for said in (("categry", CATEGORY), ("versoin", VERSION))),
        *(("a/build.yaml:3", *said) for said in (("categry", CATEGORY), ("versoin", VERSION))),
        ("b/build.yaml:2", "nam", "did you mean name?"), ("b/build.yaml:6", "kategory", CATEGORY),
    }  # fmt: skip
    assert sum("wher" in w.message for w in load(root)[1]) == 2


@pytest.mark.parametrize("order", [(True, True), (False, False), (True, False, True), (False, True)])
def test_a_collection_without_packages_is_said_each_time(
    write: Write, monkeypatch: pytest.MonkeyPatch, order: tuple[bool, ...]
) -> None:
    monkeypatch.setattr(snapshots, "_YOUNG_NS", -(10**18))  # nothing is young
    monkeypatch.setattr(snapshots, "_YOUNG_COARSE_NS", -(10**18))
    root = write({"a/collection.yaml": "x-all: {}\npackagez:\n- {name: a}\n", "b/definition.yaml": NAMED})
    index = MemoryIndex()
    for recipes in order:
        heard = Recorder()
        load_tree([root], events=heard, index=index, recipes=recipes)
        warning = Warned(
            "the key 'packagez' means nothing here", Place(f"{root}/a/collection.yaml", 2), "did you mean packages?"
        )
        assert heard.events == [warning]


def test_what_templates_write_is_warned_of_where_it_stands(write: Write) -> None:
    shared = '{{ define "w" }}\nunpac: true\nenv:\n- "="\n{{ end }}'
    root = write({
        "templates/w.yaml": shared,
        "a/definition.yaml": NAMED, "a/build.yaml": 'image: x:1\n{{ template "w" . }}\nstep: []\n',
        "b/definition.yaml": "name: b\n", "b/build.yaml": '{{ template "w" . }}\n',
    })  # fmt: skip
    for index in (None, MemoryIndex()):
        heard = Recorder()
        load_tree([root], events=heard, index=index)
        places = [str(w.where).removeprefix(f"{root}/") for w in heard.events if isinstance(w, Warned)]
        assert places == ["templates/w.yaml:2", "a/build.yaml:3", "templates/w.yaml:4", "templates/w.yaml:4"]
        said = [w.message for w in heard.events if isinstance(w, Warned)]
        assert said[2].endswith(f" (called in {root}/a/build.yaml:2)")
        assert said[3].endswith(f" (called in {root}/b/build.yaml:1)")


def test_join_and_requires_in_one_spec(write: Write) -> None:
    root = write({"a/definition.yaml": NAMED, "a/build.yaml": "join: [{name: j}]\nrequires: [{name: r}]\n"})
    recipe = load(root)[0].packages[0].recipe
    assert recipe.requires == (PackageRef("", "r"), PackageRef("", "j"))
    assert recipe.requires_final_images


def test_what_a_recipe_may_be_is_virtual_or_empty(write: Write) -> None:
    def kind(build: str) -> tuple[bool, bool]:
        recipe = load(write({"a/definition.yaml": NAMED, "a/build.yaml": build}))[0].packages[0].recipe
        return recipe.is_empty, recipe.is_virtual

    assert kind("") == kind("seed: s\nname: w\nenv: []\n") == (True, True)
    assert kind("requires: [{name: r}]\n") == kind("image: i\n") == (True, False)
    assert kind("image: i\nunpack: yes\n") == kind("image: i\npackage_dir: /p\n") == (False, False)


def test_what_nobody_can_build_does_not_hide_the_rest_of_the_tree(write: Write) -> None:
    build = "image: i\nenv: [A]\nincludes: ['(?=x)']\ncopy: [{source: /a}]\n"
    root = write({"a/definition.yaml": NAMED, "a/build.yaml": build, "b/definition.yaml": "name: b\n"})
    tree, warned = load(root)
    assert len(tree.packages) == 2
    assert [w.where for w in warned] == [Place(f"{root}/a/build.yaml", line) for line in (2, 4, 3)]


# §2.6 ------------------------------------------------------------------------------------------------------------
def test_finalizers_have_a_shell_of_their_own_and_no_further_keys(write: Write) -> None:
    package = Package(PackageId("c", "x", "1"), labels=(("a.b", "v"),))
    text = 'install:\n- echo {{ .Values.name }} {{ index .Values.labels "a.b" }} {{ .Values.arch }}\nuninstall: [bye]\n'
    found = read_finalizer(text, package, file="f")
    assert (found.shell, found.install, found.uninstall) == (("sh", "-c"), ("echo x v <no value>",), ("bye",))
    assert read_finalizer("shell: [/bin/true]\ninstall: [a]\n", package, file="f").shell == ("/bin/true",)
    told: list[str] = []
    found = read_finalizer("install: [true, yes]\n", package, file="f", tell=lambda _, said, place: told.append(said))
    assert (found.install, told) == (("true", "true"), ["an item of install: yes without quotes means true"])


def test_a_key_that_stands_twice_is_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "definition.yaml").write_text("name: x\ncategory: c\nname: z\n")
    (folder / "build.yaml").write_text("image: a\nsteps:\n- echo\nimage: b\nsubpackages:\n- name: s\n  name: t\n")
    recorder = Recorder()
    tree = load_tree([tmp_path], events=recorder)
    (package,) = tree.packages
    assert (package.package.id.name, package.recipe.image) == ("z", "b")
    said = "the key {!r} stands here twice, and only the last one counts"
    assert recorder.events == [
        Warned(said.format("name"), Place(f"{folder}/definition.yaml", 3)),
        Warned(said.format("image"), Place(f"{folder}/build.yaml", 4)),
        Warned(said.format("name"), Place(f"{folder}/build.yaml", 7)),
    ]


def test_what_luet_takes_and_nobody_means_is_warned_of(write: Write) -> None:
    root = write({"a/definition.yaml": "", "d/definition.yaml": NAMED, "d/Dockerfile": "FROM scratch\n"})
    tree, warned = load(root, dockerfiles=True)
    assert [id.pkgname for id in tree.ids] == ["/", "c/x", "/d"]
    assert [(event.message.partition(":")[0], event.where) for event in warned] == [
        ("the package has no name", Place(f"{root}/a/definition.yaml")),
        ("this is a package of its own, 'd'", Place(f"{root}/d/Dockerfile")),
    ]
