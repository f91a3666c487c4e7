"""What a Dockerfile takes from outside, so that a plan can lock it before anything is run."""

from __future__ import annotations

from treebuilder.model import envline
from treebuilder.model.dockerfile import Dockerfile, Instruction
from treebuilder.records import record


@record
class Outside:
    """Image references and URLs as written (arguments expanded), each once, in order."""

    images: tuple[str, ...]
    urls: tuple[str, ...]


def outside(dockerfile: Dockerfile) -> Outside:
    """The images and URLs of the stages that are needed."""
    images: dict[str, None] = {}
    urls: dict[str, None] = {}
    for index in dockerfile.needed():
        stage = dockerfile.stages[index]
        if stage.image:
            images.setdefault(stage.image)
        for item in stage.instructions:
            source = item.flag("from")
            if source and dockerfile.stage_named(source, index) is None:
                images.setdefault(source)
            for url in added_urls(item):
                urls.setdefault(url)
    return Outside(tuple(images), tuple(urls))


def added_urls(item: Instruction) -> tuple[str, ...]:
    """The URLs of an ADD. Only those without variables: what is locked must be readable in the file."""
    if item.name != "ADD":
        return ()
    words = item.words if item.words is not None else tuple(envline.words(item.text))
    plain = (envline.expand(word, {}) for word in words[:-1] if "$" not in word)
    return tuple(word for word in plain if is_url(word))


def is_url(word: str) -> bool:
    return word.startswith(("http://", "https://"))
