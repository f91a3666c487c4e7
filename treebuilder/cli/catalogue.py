"""Names of all verbs and what they do in a line: enough for `--help` without importing any of them."""

from __future__ import annotations

VERBS: dict[str, tuple[str, str]] = {
    # verb: (module below treebuilder.cli.verbs, help)
    "build": ("build", "build packages of a tree"),
    "create-repo": ("create_repo", "compose a repository from built packages"),
    "install": ("install", "install packages into a root"),
    "iso": ("iso", "make a bootable ISO"),
    "boot": ("boot", "boot an image in a virtual machine and watch it"),
    "lock": ("lock", "resolve everything a build takes from outside"),
    "tree": ("tree", "look at a tree: pkglist, validate, images, graph"),
    "explain": ("explain", "why a package is built again, why this version"),
    "cache": ("cache", "look at and clean the build cache: list, gc, verify"),
    "doctor": ("doctor", "which programs are missing, and what brings them"),
    "completion": ("completion", "print a completion script for bash, zsh or fish"),
    "version": ("version", "print the version"),
}

ALIASES = {"make-iso": "iso", "makeiso": "iso", "geniso": "iso"}
PROGRAMS = {"luet-makeiso": "iso"}  # names of links to us that stand for one verb

EXAMPLES = """examples:
  treebuild build --tree packages system/sampleOS
  treebuild create-repo --tree packages --packages build --output build --name sampleOS
  treebuild iso iso.yaml --local build
  treebuild boot sampleOS-0.5.0.iso --http 8090/fortuneteller
"""
