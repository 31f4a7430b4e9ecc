"""The line to fix in a DAG file, found by reading it, where the traceback shows no line of the checkout. Pure.

A wrong line is worse than none: whatever is ambiguous gives no line.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass


def find_line(source: bytes, *, name: str, exception: str, message: str) -> int | None:
    """Find the line to fix by reading a DAG file, for errors whose traceback shows no line of the checkout.

    None unless exactly one line comes into question. The messages are Airflow's and Python's own
    (tests/captures/airflow-2.10.4/cli/dags/list_import_errors__*.json). `name` is the file's own, without its folder,
    `exception` is a bare class name, "" where unknown.
    """
    head = message.split("\n", 1)[0][:_LONGEST_HEAD]
    if _NULL_BYTES.search(head):
        return _only({number for number, line in enumerate(source.splitlines(), start=1) if b"\0" in line})
    syntax = _SYNTAX.search(head)
    if syntax and syntax["name"] == name:
        return int(syntax["line"])
    finders = [(match, find) for pattern, find in _FINDERS if (match := pattern.search(f"{exception}: {head}"))]
    module = parse_module(source) if finders else None
    if module is None:
        return None
    match, find = finders[0]
    return _only(find(module, match))


def list_dags(source: bytes) -> list[Dag]:
    """List the DAGs that a file defines; none of a file that cannot be read."""
    module = parse_module(source)
    return _list_dags(module) if module else []


def find_exit(source: bytes) -> int | None:
    """Find the line by which a DAG file ends Python when it is imported; None unless just one line outside of functions may."""
    module = parse_module(source)
    nodes = module.nodes if module else ()
    inner = {below for node in nodes if isinstance(node, _SCOPES) for below in ast.walk(node)}
    ends = [node for node in nodes if isinstance(node, ast.Call) and name_of(node) in _EXITS]
    raised = [node.exc for node in nodes if isinstance(node, ast.Raise) and node.exc and name_of(node.exc) == "SystemExit"]
    return _only({node.lineno for node in (*ends, *raised) if node not in inner})


_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_EXITS = frozenset({"exit", "_exit", "quit", "abort", "SystemExit"})

_LONGEST_HEAD = 1000  # characters of a message that are compared with the known ones

_FOR_PEOPLE = ("doc_md", "doc", "doc_rst", "doc_json", "doc_yaml", "description")

_NULL_BYTES = re.compile(r"source code (?:string )?cannot contain null bytes")
_SYNTAX = re.compile(r" \((?P<name>[^()/]+\.py), line (?P<line>\d{1,9})\)$")


@dataclass(frozen=True, kw_only=True)
class Dag:
    """A DAG's definition: a call of DAG, or a function under @dag. `pattern` matches the ids that an f-string can produce."""

    dag_id: str | None
    pattern: str | None = None
    line: int
    arguments: dict[str, ast.expr]


@dataclass(frozen=True, kw_only=True)
class Module:
    """A file as Python parses it."""

    statements: list[ast.stmt]  # at its top level
    nodes: tuple[ast.AST, ...]
    constants: dict[str, str]  # NAME = "text", where the name is assigned once
    optional: frozenset[ast.AST]  # what a failing import does not end: below try, or never run


def _only(lines: set[int]) -> int | None:
    return lines.pop() if len(lines) == 1 else None


def parse_module(source: bytes) -> Module | None:
    """Parse a file; None where it is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the author's invalid escapes are not the action's
            tree = ast.parse(source)
            nodes = tuple(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: null bytes, up to Python 3.11.3
        return None
    assigned = Counter(node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    constants: dict[str, str] = {}
    optional: set[ast.AST] = set()
    for node in nodes:
        if isinstance(node, ast.Assign):
            target, text = node.targets[0], text_of(node.value, {})
            if isinstance(target, ast.Name) and assigned[target.id] == 1 and text is not None:
                constants[target.id] = text
        elif (isinstance(node, ast.Try) and node.handlers) or (
            isinstance(node, ast.If) and name_of(node.test) == "TYPE_CHECKING"
        ):
            optional.update(below for statement in node.body for below in ast.walk(statement))
    return Module(statements=tree.body, nodes=nodes, constants=constants, optional=frozenset(optional))


def list_texts(module: Module) -> list[ast.Constant]:
    """List the literal texts of a file; docstrings and other texts that only a person reads left out."""
    unread = {node.value for node in module.nodes if isinstance(node, ast.Expr)}
    unread |= {node.value for node in module.nodes if isinstance(node, ast.keyword) and node.arg in _FOR_PEOPLE}
    constants = [node for node in module.nodes if isinstance(node, ast.Constant)]
    return [node for node in constants if isinstance(node.value, str) and node not in unread]


def name_of(node: ast.AST) -> str:
    """The last name of `a.b.c`, also where that is called."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def text_of(node: ast.AST | None, constants: Mapping[str, str]) -> str | None:
    """The text of a literal, or of a name with a literal as its value."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    return constants.get(node.id) if isinstance(node, ast.Name) else None


def _list_dags(module: Module) -> list[Dag]:
    dags: list[Dag] = []
    for node in module.nodes:
        if isinstance(node, ast.Call) and name_of(node) == "DAG":
            dags.append(_read_dag(module, node, None))
        elif isinstance(node, ast.FunctionDef):
            dags.extend(_read_dag(module, one, node.name) for one in node.decorator_list if name_of(one) == "dag")
    return dags


def _read_dag(module: Module, definition: ast.expr, default_id: str | None) -> Dag:
    """Read `DAG(…)`, `@dag(…)` or `@dag`; without an id, a DAG has the name of the decorated function."""
    if not isinstance(definition, ast.Call):
        return Dag(dag_id=default_id, line=definition.lineno, arguments={})
    arguments = {keyword.arg: keyword.value for keyword in definition.keywords if keyword.arg}
    if definition.args:
        arguments["dag_id"] = definition.args[0]
    if "dag_id" in arguments:
        dag_id = text_of(arguments["dag_id"], module.constants)
        pattern = _pattern_of(arguments["dag_id"])
        return Dag(dag_id=dag_id, pattern=pattern, line=definition.lineno, arguments=arguments)
    dag_id = default_id if len(arguments) == len(definition.keywords) else None  # **arguments may contain an id
    return Dag(dag_id=dag_id, line=definition.lineno, arguments=arguments)


def _pattern_of(node: ast.expr) -> str | None:
    """Give what an f-string can become, if at least a part of it is fixed."""
    if not isinstance(node, ast.JoinedStr) or not any(isinstance(part, ast.Constant) for part in node.values):
        return None
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in node.values)


def _find_dag(module: Module, match: re.Match[str]) -> set[int]:
    dags = _list_dags(module)
    exact = {dag.line for dag in dags if dag.dag_id == match["id"]}
    return exact or {dag.line for dag in dags if dag.pattern and re.fullmatch(dag.pattern, match["id"])}


def _find_dag_with_params(module: Module, _match: re.Match[str]) -> set[int]:
    return {dag.line for dag in _list_dags(module) if "params" in dag.arguments}


def _find_schedule(module: Module, match: re.Match[str]) -> set[int]:
    """The line of the schedule that Airflow refuses: the text it quotes, else that of the only DAG that may be meant."""
    if quoted := re.search(r"\[(?P<text>.+)\] is not acceptable", match.string):
        constants = [node for node in module.nodes if isinstance(node, ast.Constant)]
        if lines := {node.lineno for node in constants if text_of(node, {}) == quoted["text"]}:
            return lines
    dags = _list_dags(module)
    schedules = [dag.arguments.get("schedule", dag.arguments.get("schedule_interval")) for dag in dags]
    return {schedule.lineno for schedule in schedules if schedule} if len(dags) == 1 else set()


def _list_lines_with(module: Module, text: str, *keywords: str) -> list[int]:
    """List the lines of calls with one of the keywords and exactly this text."""
    return [
        call.lineno
        for call in module.nodes
        if isinstance(call, ast.Call)
        and any(keyword.arg in keywords and text_of(keyword.value, module.constants) == text for keyword in call.keywords)
    ]


def _find_key(module: Module, match: re.Match[str]) -> set[int]:
    return _find_dag(module, match) | {*_list_lines_with(module, match["id"], "task_id", "group_id")}


def _find_second_task(module: Module, match: re.Match[str]) -> set[int]:
    """The second task with an id, or the only one, if a loop creates it twice. Groups change the ids of their tasks."""
    if any(name_of(node) in {"TaskGroup", "task_group"} for node in module.nodes):
        return set()
    lines = sorted(_list_lines_with(module, match["id"], "task_id"))
    return {lines[-1]} if len(lines) in {1, 2} else set()


def _find_getter(module: Module, match: re.Match[str]) -> set[int]:
    """The call that reads a missing connection or variable."""
    return {
        call.lineno
        for call in module.nodes
        if isinstance(call, ast.Call) and name_of(call) in ("get_connection", "get_hook", "get")
        for value in (*call.args, *(keyword.value for keyword in call.keywords))
        if text_of(value, module.constants) == match["id"]
    }


def list_imports(node: ast.AST, path: str = "") -> list[list[str]]:
    """List the dotted names that a node imports, as their parts; the last part may be a name of the module before it.

    Relative names go from the `path` of the node's file.
    """
    if isinstance(node, ast.Import):
        return [alias.name.split(".") for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        above = path.split("/")[: -node.level] if node.level else []
        names = [*above, *(node.module.split(".") if node.module else ())]
        return [[*names, alias.name] for alias in node.names]
    if isinstance(node, ast.Call) and node.args and name_of(node) in ("import_module", "__import__"):
        return [(text_of(node.args[0], {}) or "").split(".")]
    return []


def _find_import(module: Module, match: re.Match[str]) -> set[int]:
    """The import of a missing module, or of a module below it."""
    missing = match["module"].split(".")

    def needs_it(node: ast.AST) -> bool:
        modules = list_imports(node)
        if isinstance(node, ast.ImportFrom):
            modules = [] if node.level else [names[:-1] for names in modules]
        return any(names[: len(missing)] == missing for names in modules)

    return {node.lineno for node in _list_importing(module) if node not in module.optional and needs_it(node)}


def _find_imported_name(module: Module, match: re.Match[str]) -> set[int]:
    wanted = [*match["module"].split("."), match["name"]]
    nodes = [node for node in _list_importing(module) if wanted in list_imports(node)]
    return {node.lineno for node in nodes if node not in module.optional}


def _list_importing(module: Module) -> list[ast.Import | ast.ImportFrom | ast.Call]:
    return [node for node in module.nodes if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)]


# What `exception: message` looks like, and what finds its line.
_FINDERS: tuple[tuple[re.Pattern[str], Callable[[Module, re.Match[str]], set[int]]], ...] = tuple(
    (re.compile(pattern), find)
    for pattern, find in (
        (r"^\w*: No module named '(?P<module>[^']+)'", _find_import),
        (r"^\w*: cannot import name '(?P<name>[^']+)' from [\w ]*'(?P<module>[^']+)'", _find_imported_name),
        (r"^\w*: Cycle detected in (?:DAG|Dag): (?P<id>.+)\. Faulty task: ", _find_dag),
        (r"^\w*: Ignoring (?:DAG|Dag) (?P<id>.+) from .+ - also found in ", _find_dag),
        (r"^\w*: Failed to serialize (?:DAG|Dag) '(?P<id>[^']+)': ", _find_dag),
        (r"^\w*: (?:DAG|Dag) is not allowed to define a Schedule, ", _find_dag_with_params),
        (r"^\w*: (?:DAG|Dag) '(?P<id>[^']+)' is not allowed to define a Schedule, ", _find_dag),  # Airflow 3
        (r"^AirflowTimetableInvalid: ", _find_schedule),
        (r"^\w*: The key '(?P<id>.+)' has to be made of ", _find_key),
        (r"^\w*: Task id '(?P<id>.+)' has already been added to the (?:DAG|Dag)", _find_second_task),
        (r"^\w*: The conn_id `(?P<id>.+)` isn't defined", _find_getter),
        (r"^\w*: '?Variable (?P<id>.+?) does not exist\.?'?$", _find_getter),
        (r"^\w*: VARIABLE_NOT_FOUND: \{'message': 'Variable (?P<id>.+?) not found'", _find_getter),  # Airflow 3
    )
)
