"""Go text/template with sprig, as luet uses it to render specfiles.

A text goes through `source` (files and lines), `lexer`, `parser` (our syntax tree), `compiler` (jinja2's AST) and
`runtime`; `functions/TOPIC.py` hold what templates can call. The oracle tests compare all of it with Go.

Where ours is not Go's, on purpose (docs/luet-compatibility/templates.md has all of it):
- a field of a value that is missing is missing too (`.Values.a.b`), it is no fault (luet.md §3.2);
- `keys` and `values` are in key order, where Go's order is random;
- `env`, `now` and the random functions know what the caller gave, and nothing of the machine; the network, keys and
  certificates are refused;
- output, steps, depth and the size of values are bounded.
A plain dict among the values is `map[string]interface {}`; `values.AnyMap` is what luet makes of a map inside a YAML
file.
"""

from treebuilder.template.engine import Rendered, Templates

__all__ = ["Rendered", "Templates"]
