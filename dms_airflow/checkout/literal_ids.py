"""Connections, variables and pools that a file names literally, and operators that need a triggerer. Pure.

Only what fails without them: no defaults, nothing below a `try` that handles errors, nothing that only a person reads.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dms_airflow.checkout.dag_source import Module, list_texts, name_of, parse_module, text_of
from dms_airflow.checkout.source_lines import split_lines
from dms_airflow.core.findings import Rule


class LiteralId(NamedTuple):
    """A name in a file, its line, from 1, and what is missing where the instance does not have it. A triggerer has no name."""

    rule: Rule
    name: str
    line: int


# https://airflow.apache.org/docs/apache-airflow/stable/templates-ref.html#airflow-variables-in-templates
_EXPRESSION = re.compile(r"\{\{[^{}]{1,500}\}\}|\{%[^{}%]{1,500}%\}")
_IN_TEMPLATE = re.compile(
    r"""(?<![\w.])(?:var\.(?:value|json)|(?P<conn>conn))\.(?:get\(\s*(?P<quote>['"])(?P<id>[^'"]+)(?P=quote)\s*\)|(?P<name>\w+)\b(?!\())"""
)
_DEFAULTED = re.compile(r"\|\s*(?:default|d)\b|\bis (?:not )?defined\b")


def list_literal_ids(file: str, source: bytes) -> list[LiteralId]:
    """List what a file names: a Python file, or a template of an operator."""
    if not file.endswith(".py"):
        return list(_list_in_template(source.decode("utf-8", "replace")))
    module = parse_module(source)
    if module is None:
        return []
    found = {*_list_in_arguments(module), *_list_in_texts(module, split_lines(source))}
    for node in module.nodes:
        if isinstance(node, ast.Call) and node not in module.optional:
            found.update(_list_in_call(module, node))
    return sorted(found, key=lambda one: (one.line, one.name, one.rule.id))


def find_pool(source: bytes, pool: str) -> int | None:
    """Find the first line with a pool's name, as `pool=` of a task or in `default_args`."""
    ids = list_literal_ids(".py", source)
    return min((one.line for one in ids if one.rule is Rule.MISSING_POOL and one.name == pool), default=None)


def _list_in_arguments(module: Module) -> Iterator[LiteralId]:
    """List what arguments of a call, and entries of `default_args`, name."""
    pairs: list[tuple[str | None, ast.expr]] = []
    for node in module.nodes:
        if isinstance(node, ast.keyword):
            pairs.append((node.arg, node.value))
        elif isinstance(node, ast.Dict):
            pairs += [(text_of(key, {}), value) for key, value in zip(node.keys, node.values, strict=True)]
    for name, value in pairs:
        is_conn_id = name is not None and name.endswith("conn_id") and name != "aws_conn_id"
        text = text_of(value, module.constants) if is_conn_id or name == "pool" else None
        if text and _is_id(text):
            yield LiteralId(Rule.MISSING_CONNECTION if is_conn_id else Rule.MISSING_POOL, text, value.lineno)
        elif name == "deferrable" and isinstance(value, ast.Constant) and value.value is True:
            yield LiteralId(Rule.MISSING_TRIGGERER, "", value.lineno)


def _list_in_texts(module: Module, lines: Sequence[str]) -> Iterator[LiteralId]:
    """List what templates in literal texts name. A text may span lines of the file without spanning lines itself."""
    for node in list_texts(module):
        for one in _list_in_template(str(node.value)) if "{" in str(node.value) else ():
            span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            line = next((number for number in span if one.name in lines[number - 1]), node.lineno)
            yield one._replace(line=line)


def _list_in_call(module: Module, call: ast.Call) -> Iterator[LiteralId]:
    """List what `get_connection("x")` and `Variable.get("x")` name, unless there is a default."""
    owner = name_of(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    is_variable = (owner, name_of(call.func)) == ("Variable", "get")
    options = {keyword.arg: keyword.value for keyword in call.keywords}
    named = call.args[0] if call.args else options.get("key" if is_variable else "conn_id")
    has_default = len(call.args) > 1 or options.keys() & {"default", "default_var", None}
    text = text_of(named, module.constants)
    if (is_variable or name_of(call.func) == "get_connection") and text and _is_id(text) and not has_default:
        yield LiteralId(Rule.MISSING_VARIABLE if is_variable else Rule.MISSING_CONNECTION, text, (named or call).lineno)


def _list_in_template(text: str) -> Iterator[LiteralId]:
    """List what Jinja expressions name: `{{ var.value.x }}`, `{{ var.json.get("x") }}`, `{{ conn.x.host }}`."""
    for expression in _EXPRESSION.finditer(text):
        if _DEFAULTED.search(expression[0]):
            continue
        for match in _IN_TEMPLATE.finditer(expression[0]):
            rule, name = Rule.MISSING_CONNECTION if match["conn"] else Rule.MISSING_VARIABLE, match["id"] or match["name"]
            if name != "get" and _is_id(name):
                yield LiteralId(rule, name, 1 + text.count("\n", 0, expression.start() + match.start()))


def _is_id(text: str) -> bool:
    """Whether a text is an id, and not the one that a hook takes when none is given: some hooks do without that."""
    return "{" not in text and not text.endswith("_default")
