"""Options of the commands, listed from the parsers that read them."""

import argparse
import importlib
import re
from contextlib import contextmanager

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from stpipe import _cmdline
from table_nodes import make_table

MODULES = {"calibrate": "calibrate", "cal-simulate": "simulate", "cal-demo": "demo", "atm-table": "atm_table"}
"""Module of ``cal_pipeline.cli`` that has the ``main`` of a command."""


class _ParserFound(BaseException):
    """Carry a parser out of a command; no Exception, as commands turn these into messages."""

    def __init__(self, parser):
        super().__init__()
        self.parser = parser


@contextmanager
def _parsing_replaced():
    """Let every parser raise itself instead of parsing."""
    original = argparse.ArgumentParser.parse_known_args

    def raise_parser(self, *args, **kwargs):
        raise _ParserFound(self)

    argparse.ArgumentParser.parse_known_args = raise_parser
    try:
        yield
    finally:
        argparse.ArgumentParser.parse_known_args = original


def find_parser(command):
    """Find the parser of a command, such as ``calibrate info``; many make theirs while they run."""
    name, *rest = command.split()
    if name == "strun":
        return _cmdline._build_parent_arg_parser()
    main = importlib.import_module(f"cal_pipeline.cli.{MODULES[name]}").main
    try:
        with _parsing_replaced():
            main([*rest, "--help"])
    except _ParserFound as found:
        return _choose(found.parser, rest)
    raise ValueError(f"{command}: no parser was asked")


def _choose(parser, words):
    """Follow subcommands that are parsers of their own."""
    for word in words:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction) and word in action.choices:
                parser = action.choices[word]
    return parser


def describe_options(parser):
    """Describe positional arguments and options: how they are typed, and their help."""
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        typed = ", ".join(_type_option(action, name) for name in action.option_strings) or _type_argument(action)
        rows.append((f"``{typed}``", _meaning(action)))
    return rows


def _type_option(action, name):
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return name
    value = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.metavar or action.dest.upper()
    return f"{name} {value}" + (" ..." if action.nargs in ("+", "*") else "")


def _type_argument(action):
    name = action.metavar or action.dest
    return f"{name} ..." if action.nargs in ("+", "*") else str(name)


def _meaning(action):
    text = (action.help or "").replace("%%", "%")
    text = re.sub(r"%\((\w+)\)[sd]", lambda found: str(getattr(action, found[1], "")), text)
    if action.choices and not action.option_strings:
        text += f" ({', '.join(map(str, action.choices))})"
    text = re.sub(r"([\\*`|_])", r"\\\1", text)
    return text[:1].upper() + text[1:]


class CommandOptions(Directive):
    """Describe a command and list its arguments and options."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        parser = find_parser(self.arguments[0])
        description = re.sub(r"([\\*`|_])", r"\\\1", (parser.description or "").strip())
        container = nodes.container()
        self.state.nested_parse(StringList([description], source=self.name), self.content_offset, container)
        rows = [("argument or option", "meaning"), *describe_options(parser)]
        return [*container.children, *make_table(self, rows)]


def setup(app):
    app.add_directive("command-options", CommandOptions)
    return {"parallel_read_safe": True}
