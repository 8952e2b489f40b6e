"""Signatures of dataclasses with their defaults as written in the source, not as the objects print."""

import ast
import dataclasses
import inspect
import textwrap


def find_defaults(cls):
    """Find the source of the defaults of a dataclass; a factory is shown as its call."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    values = {node.target.id: node.value for node in body if isinstance(node, ast.AnnAssign) and node.value}
    described = {name: _describe(value) for name, value in values.items()}
    return {name: text for name, text in described.items() if text}


def _describe(value):
    """Give the source of a default, None for a field without one."""
    if not (isinstance(value, ast.Call) and ast.unparse(value.func).endswith("field")):
        return ast.unparse(value)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in value.keywords}
    return f"{given['default_factory']}()" if "default_factory" in given else given.get("default")


def write_signature(app, what, name, cls, options, signature, return_annotation):
    """Give autodoc the signature of a dataclass; others stay what they are."""
    if what != "class" or not dataclasses.is_dataclass(cls):
        return None
    defaults = {}
    for base in reversed(cls.__mro__):
        if dataclasses.is_dataclass(base):
            defaults |= find_defaults(base)
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    return f"({', '.join(f'{field}={defaults[field]}' if field in defaults else field for field in fields)})", None


def setup(app):
    app.connect("autodoc-process-signature", write_signature)
    return {"parallel_read_safe": True}
