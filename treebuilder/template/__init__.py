"""Go text/template with sprig, as luet uses it to render specfiles.

A text goes through `source` (files and lines), `lexer`, `parser` (our syntax tree), `compiler` (jinja2's AST) and
`runtime`; `functions/TOPIC.py` hold what templates can call.
"""

from treebuilder.template.engine import Rendered, Templates

__all__ = ["Rendered", "Templates"]
