"""CPU time of rendering distinct specfiles: `python benchmarks/template.py [COUNT]`."""

from __future__ import annotations

import sys
import time

from treebuilder.template import Templates

SHARED = (
    (
        "templates/shared.yaml",
        '{{ define "image" }}registry/{{ .Values.name }}:{{ .Values.version | replace "+" "-" }}{{ end }}\n',
    ),
)
SPEC = """\
{{ $v := .Values.version | replace "+" "-" }}
requires:
- name: "toolchain-NUMBER"
  category: "dev"
  version: ">=0"
{{ if eq .Values.arch "amd64" }}
image: {{ index .Values.labels "base" }}
{{ else }}
image: {{ template "image" . }}
{{ end }}
steps:
- curl -L https://host/{{ $v }}.tar.gz
- tar xf {{ .Values.name }}.tgz
{{ range $i, $e := .Values.flags }}
- echo {{ $e | quote }}
{{ end }}
- make -j{{ index .Values.labels "jobs" | default "3" }}
- make install
"""


def measure(count: int, shared: tuple[tuple[str, str], ...], spec: str) -> float:
    """Milliseconds of CPU for one of `count` specfiles."""
    templates = Templates(shared=shared)
    values = {"version": "1.0+2", "arch": "amd64", "labels": {"base": "alpine"}, "flags": ["a", "b"]}
    start = time.process_time()
    for number in range(count):
        text = spec.replace("NUMBER", str(number))
        templates.render_mapped(text, {**values, "name": f"package-{number}"}, file=f"{number}/build.yaml")
    return (time.process_time() - start) / count * 1000


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    without = SPEC.replace('{{ template "image" . }}', "none")
    print(f"{count} files, alone:             {measure(count, (), without):.3f} ms each")
    print(f"{count} files, with a shared one: {measure(count, SHARED, SPEC):.3f} ms each")
    print(f"{count} files without an action:  {measure(count, (), 'image: alpine-NUMBER'):.3f} ms each")


if __name__ == "__main__":
    main()
