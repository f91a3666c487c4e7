"""Names of all verbs and what they do in a line: enough for `--help` without importing any of them."""

from __future__ import annotations

VERBS: dict[str, tuple[str, str]] = {
    # verb: (module below treebuilder.cli.verbs, help)
    "build": ("build", "build packages of a tree"),
    "create-repo": ("create_repo", "compose a repository from built packages"),
    "install": ("install", "install packages into a root"),
    "uninstall": ("uninstall", "remove packages from a root"),
    "upgrade": ("upgrade", "upgrade what is installed"),
    "replace": ("replace", "exchange installed packages for others"),
    "reinstall": ("reinstall", "install packages again as they are"),
    "reclaim": ("reclaim", "record packages whose files are there"),
    "oscheck": ("oscheck", "check that installed files are there"),
    "autoremove": ("autoremove", "remove what nothing needs"),
    "hold": ("hold", "keep packages at their version"),
    "unhold": ("unhold", "let held packages be upgraded"),
    "search": ("search", "search packages"),
    "database": ("database", "look at and change the system database"),
    "key": ("key", "make, show and use the keys that sign: new, show, verify"),
    "pack": ("pack", "pack a folder as a package"),
    "serve-repo": ("serve_repo", "serve a repository over HTTP"),
    "channel": ("channel", "say which snapshot a fleet runs: publish, promote, rollout, halt, show, watch"),
    "device": (
        "device",
        "look after a device: status, check, upgrade, stage, apply, rollback, reset, confirm, install",
    ),
    "cos": ("cos", "the commands of cOS images: upgrade, reset, deploy, rebrand, installer, feature, suc"),
    "repo": ("repo", "configured repositories: list, get, add, update; for publishers: copy, gc"),
    "util": ("util", "images unpacked, packed and asked for"),
    "box": ("box", "run a command in a root"),
    "cleanup": ("cleanup", "delete fetched packages"),
    "config": ("config", "print the configuration as it counts"),
    "iso": ("iso", "make a bootable ISO"),
    "boot": ("boot", "boot an image in a virtual machine and watch it"),
    "lock": ("lock", "resolve everything a build takes from outside"),
    "tree": ("tree", "look at a tree: pkglist, validate, images, graph, lint; raise versions: bump"),
    "explain": ("explain", "why a package is built again, why this version"),
    "cache": ("cache", "look at and clean the build cache: list, gc, verify"),
    "registry": ("registry", "a folder as an OCI registry: serve, gc"),
    "doctor": ("doctor", "which programs are missing, and what brings them"),
    "completion": ("completion", "print a completion script for bash, zsh or fish"),
    "version": ("version", "print the version"),
}

ALIASES = {"make-iso": "iso", "makeiso": "iso", "geniso": "iso"}
PROGRAMS = {"luet-makeiso": "iso", "luet": "luet", "suc-upgrade": "cos suc"} | {
    f"cos-{name}": f"cos {name}" for name in ("upgrade", "reset", "deploy", "rebrand", "installer", "feature")
}  # names of links to us that stand for one verb

EXAMPLES = """examples:
  treebuild build --tree packages system/sampleOS
  treebuild create-repo --tree packages --packages build --output build --name sampleOS
  treebuild iso iso.yaml --local build
  treebuild boot sampleOS-0.5.0.iso --http 8090/fortuneteller
"""
