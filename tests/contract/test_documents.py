"""The documentation says what the code does: tables, error titles, links and examples cannot drift."""

from __future__ import annotations

import ast
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from dms_airflow.alibaba_cloud.error_codes import STS_CODES, TOKEN_CODES
from dms_airflow.config import Config
from dms_airflow.core.inputs import load
from dms_airflow.core.result import Annotation, Ending, Level, Result
from dms_airflow.operations import OPERATIONS, find_operation
from tests.unit.fakes import FakeAirflow, FakeClock, FakeLog, make_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dms_airflow.alibaba_cloud.error_codes import ErrorCode
    from dms_airflow.core.errors import InputProblem

PROJECT = Path(__file__).parents[2]
ACTION: dict[str, Any] = yaml.safe_load((PROJECT / "action.yml").read_text(encoding="utf-8"))
TROUBLESHOOTING = (PROJECT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SOURCES = sorted((PROJECT / "dms_airflow").rglob("*.py"))
DOCUMENTS = sorted(file for place in ("*.md", "docs/**/*.md", "sandbox/*.md") for file in PROJECT.glob(place))
EXAMPLES = sorted((PROJECT / "examples").glob("*.yml"))


def load_script(name: str) -> ModuleType:
    """Import a script, which is in no package."""
    spec = spec_from_file_location(name, PROJECT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script("document")


# --- generated tables -----------------------------------------------------------------------------------------------------


SMALL_ACTION = {
    "inputs": {
        "region": {"description": "The\nregion `<id>`, a|b, <x>.", "required": True},
        "timeout": {"description": "How long.", "default": "10m"},
    },
    "outputs": {"status": {"description": "`a` or `b`."}},
}
SMALL_DOCUMENT = "A\n<!-- inputs -->\nold\n<!-- end inputs -->\nB\n<!-- outputs -->\n<!-- end outputs -->\nC\n"
SMALL_RESULT = """\
A
<!-- inputs -->
| input | default | meaning |
|---|---|---|
| `region` |  | Required. The region `<id>`, a\\|b, &lt;x>. |
| `timeout` | `10m` | How long. |
<!-- end inputs -->
B
<!-- outputs -->
| output | meaning |
|---|---|
| `status` | `a` or `b`. |
<!-- end outputs -->
C
"""


def test_tables_are_made_from_the_action() -> None:
    assert SCRIPT.document(SMALL_DOCUMENT, SMALL_ACTION) == SMALL_RESULT


def test_making_tables_again_changes_nothing() -> None:
    assert SCRIPT.document(SMALL_RESULT, SMALL_ACTION) == SMALL_RESULT


@pytest.mark.parametrize(
    "text",
    [
        SMALL_DOCUMENT.replace("<!-- end inputs -->", ""),
        SMALL_DOCUMENT + "<!-- outputs -->",
        SMALL_DOCUMENT.replace("<!-- inputs -->\nold\n<!-- end inputs -->", "<!-- end inputs -->\n<!-- inputs -->"),
    ],
)
def test_a_document_without_its_markers_is_refused(text: str) -> None:
    with pytest.raises(SCRIPT.MarkerError):
        SCRIPT.document(text, SMALL_ACTION)


def test_check_names_the_stale_document_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "action.yml").write_text(yaml.safe_dump(SMALL_ACTION), encoding="utf-8")
    readme = tmp_path / "README.md"
    readme.write_text(SMALL_DOCUMENT, encoding="utf-8")

    assert SCRIPT.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out == "README.md is stale; run: make docs\n"
    assert readme.read_text(encoding="utf-8") == SMALL_DOCUMENT

    assert SCRIPT.main([], tmp_path) == 0
    assert readme.read_text(encoding="utf-8") != SMALL_DOCUMENT
    assert SCRIPT.main(["--check"], tmp_path) == 0


def test_the_page_of_faults_is_current() -> None:
    page = (PROJECT / SCRIPT.FAULTS_PAGE).read_text(encoding="utf-8")

    assert page == SCRIPT.describe_faults(), "run: make docs"


def test_each_error_of_the_page_of_faults_is_explained() -> None:
    page = (PROJECT / SCRIPT.FAULTS_PAGE).read_text(encoding="utf-8").partition("## ")[2]

    titles = set(re.findall(r"\*\*(.+?)\*\*", page)) - {"Task failed"}
    assert titles == {
        "No id-token",
        "Role not assumed",
        "No credentials",
        "Host not reached",
        "Unusable answer",
        "Login failed",
        "Answer lost",
        "Time ran out",
        "Airflow refused the request",
    }
    assert all(f"\n## {title}\n" in TROUBLESHOOTING for title in titles)


def test_the_inputs_of_action_yml_are_current() -> None:
    action = (PROJECT / "action.yml").read_text(encoding="utf-8")

    assert SCRIPT.write_inputs(action) == action, "run: make docs"


def test_the_tables_of_readme_are_current() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")

    assert SCRIPT.document(readme, ACTION) == readme, "run: make docs"


# --- the Chinese README ---------------------------------------------------------------------------------------------------


CHINESE = (PROJECT / "README.zh-CN.md").read_text(encoding="utf-8")


def read_table(text: str, name: str) -> list[list[str]]:
    r"""Give the cells of each row of a table that stands between its markers; a `\|` is no border."""
    table = text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- end {name} -->")[0]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in table.splitlines()[2:]]


@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_the_chinese_tables_have_the_rows_of_action_yml(name: str) -> None:
    rows = read_table(CHINESE, name)

    assert [row[0].strip("`") for row in rows] == list(ACTION[name])
    for row in rows:
        declared = ACTION[name][row[0].strip("`")]
        words = re.compile(r"`[^`]+`")
        # What stands in backticks is the same in every language: a changed description shows here.
        assert set(words.findall(row[-1])) == set(words.findall(declared["description"])), row[0]
        assert re.search(r"[\u4e00-\u9fff]|^`", row[-1]), f"{row[0]} is not translated"
        if name == "inputs":
            assert row[1].strip("`") == declared.get("default", "")
            assert row[2].startswith("必填。") == declared.get("required", False)


def test_the_chinese_readme_names_every_operation() -> None:
    section = CHINESE.partition("## 操作")[2].partition("## 凭证")[0]
    sentence = section.partition("支持以下命令")[2][1:].partition("。")[0]

    named = set()
    for group in sentence.split("\N{FULLWIDTH SEMICOLON}"):
        words = re.fullmatch(r"\s*`([a-z -]+)`(.*)", group, re.DOTALL)
        assert words, group
        names = re.split(r"[、\s]+", words[2].strip()) if words[2] else [""]
        named |= {f"{words[1]} {name}".strip() for name in names}
    named |= set(re.findall(r"(?m)^\| `([a-z-]+)` \|", section))
    assert named == set(OPERATIONS)


def test_the_readmes_lead_to_each_other_from_their_tops() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")

    assert "(README.zh-CN.md)" in "".join(readme.splitlines(keepends=True)[:4])
    assert "(README.md)" in "".join(CHINESE.splitlines(keepends=True)[:4])


def test_what_the_chinese_readme_shows_to_copy_is_shown_in_english_too() -> None:
    # But for comments, which are translated. Its section on OIDC is a page of its own in English.
    def read_blocks(*files: str) -> list[str]:
        blocks = [block for file in files for kind in ("yaml", "json") for block in read_code(PROJECT / file, kind)]
        return [re.sub(r"(?m)(?:^| +)# .*\n", "\n", block) for block in blocks]

    chinese = read_blocks("README.zh-CN.md")
    assert len(chinese) >= 12
    assert [block for block in chinese if block not in read_blocks("README.md", "docs/credentials.md")] == []


def test_the_readmes_link_the_same_examples_pages_and_pictures() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    targets = re.compile(r"\(((?:examples|docs/images|docs)/[\w.-]+)[#)]")

    assert set(targets.findall(CHINESE)) == set(targets.findall(readme))
    assert {f"examples/{file.name}" for file in EXAMPLES} <= set(targets.findall(readme))


# --- titles ---------------------------------------------------------------------------------------------------------------


def find_titles(source: str) -> Iterator[str]:
    """Give a pattern for the title of each error class, Annotation and Finding; what is filled in matches any text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "title":
                    yield read_title(line.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("Annotation", "Finding"):
            titles = [keyword.value for keyword in node.keywords if keyword.arg == "title"]
            assert len(titles) == 1, f"an Annotation without a title: {ast.unparse(node)}"
            # `self.title` is the error class's, and `finding.title` the Finding's: both are found where they are written.
            if ".title" not in ast.unparse(titles[0]):
                yield read_title(titles[0])


def read_title(node: ast.expr) -> str:
    """Read a title that the source spells out, or one with something filled in."""
    if isinstance(node, ast.Constant):
        # An error class may put a name behind its title.
        return f"{re.escape(str(node.value))}(: X)?"
    assert isinstance(node, ast.JoinedStr), f"a title that nobody can look up: {ast.unparse(node)}"
    return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else "[XN]" for part in node.values)


TITLES = sorted({title for file in SOURCES for title in find_titles(file.read_text(encoding="utf-8"))})
HEADINGS = re.findall(r"^## (.*)$", TROUBLESHOOTING, re.MULTILINE)


def test_titles_are_found() -> None:
    source = """
class LoginError(ActionError):
    title = "Login failed"
    def f(self):
        return Annotation(level=1, title=self.title, message=self.title)
def g():
    return Annotation(level=1, title=f"{count} more", message="")
def h(finding):
    return Annotation(title=finding.title), Finding(title=f"Task failed: {name}")
"""

    assert list(find_titles(source)) == ["Login\\ failed(: X)?", "[XN]\\ more", "Task\\ failed:\\ [XN]"]
    assert len(TITLES) >= 15


@pytest.mark.parametrize("title", TITLES)
def test_every_title_has_an_entry(title: str) -> None:
    assert [heading for heading in HEADINGS if re.fullmatch(title, heading)], "docs/troubleshooting.md lacks a heading"


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_entry_is_a_title(heading: str) -> None:
    assert [title for title in TITLES if re.fullmatch(title, heading)], "no error or annotation has this title"


def test_no_entry_is_there_twice() -> None:
    assert sorted(HEADINGS) == sorted(set(HEADINGS))


@pytest.mark.parametrize(
    ("heading", "code"),
    [
        *(("## No login token", code) for code in TOKEN_CODES),
        *(("## Role not assumed", code) for code in STS_CODES),
    ],
)
def test_every_error_code_is_explained(heading: str, code: ErrorCode) -> None:
    table = TROUBLESHOOTING.partition(heading)[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and code.meaning in line]

    assert len(rows) == 1, f"no row says: {code.meaning}"
    examples = re.findall(r"`([^`]*)`", rows[0].split("|")[1])
    assert examples
    assert all(code.pattern.search(example.replace("…", "")) for example in examples)


# --- links ----------------------------------------------------------------------------------------------------------------


def list_links() -> list[tuple[Path, str]]:
    """Give each link and image of the documents that stays inside the project."""
    found = []
    for file in DOCUMENTS:
        text = re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", text)
        found += [(file, target) for target in targets if not re.match(r"[a-z]+:", target)]
    return found


def slugify(heading: str) -> str:
    """Name the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize(("file", "target"), list_links(), ids=lambda value: str(value).removeprefix(f"{PROJECT}/"))
def test_links_lead_somewhere(file: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    place = (file.parent / path).resolve() if path else file

    assert place.is_file()
    assert place.is_relative_to(PROJECT)
    if anchor:
        headings = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in [slugify(heading) for heading in headings]


# --- examples -------------------------------------------------------------------------------------------------------------


def read_code(file: Path, language: str) -> list[str]:
    """Give the code blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", file.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def find_steps(node: Any) -> Iterator[dict[str, Any]]:
    """Give the steps that use this action, wherever they stand."""
    if isinstance(node, dict):
        if str(node.get("uses", "")).startswith("dms-airflow/dms-airflow@"):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from find_steps(item)


def list_steps() -> list[Any]:
    """Give the steps of all examples, named by file and number."""
    texts = [(file.name, text) for file in DOCUMENTS for text in read_code(file, "yaml")]
    texts += [(file.name, file.read_text(encoding="utf-8")) for file in EXAMPLES]
    found: list[Any] = []
    for name, text in texts:
        found += [pytest.param(step, id=f"{name}-{len(found)}") for step in find_steps(yaml.safe_load(text))]
    return found


# What the shorter examples leave out, and what GitHub would put in place of an expression.
LEFT_OUT = {"region": "cn-hangzhou", "instance-id": "af-1a2b3c", "access-key-id": "id-1234", "access-key-secret": "secret-1234"}
FILLED_IN = {
    "${{ secrets.ALIBABA_CLOUD_ACCESS_KEY_ID }}": "id-1234",
    "${{ secrets.ALIBABA_CLOUD_ACCESS_KEY_SECRET }}": "secret-1234",
    "${{ inputs.dag }}": "daily_orders",
    "${{ inputs.conf }}": "{}",
    "${{ matrix.region }}": "cn-shanghai",
    "${{ matrix.instance }}": "af-4d5e6f",
}


def test_examples_are_found() -> None:
    assert len(list_steps()) >= 12
    known = "deploy-and-gate check-before-deploy only-new-errors trigger-and-wait nightly-smoke-test several-instances"
    known += " without-stored-keys self-hosted-in-a-vpc rest-check"
    assert {f"{name}.yml" for name in known.split()} <= {file.name for file in EXAMPLES}


@pytest.mark.parametrize("step", list_steps())
def test_an_example_is_accepted(step: dict[str, Any]) -> None:
    given = step["with"]
    inputs = {**LEFT_OUT, **{name: FILLED_IN.get(text, text) for name, text in given.items()}}
    environ = {f"INPUT_{name.upper()}": text for name, text in inputs.items()}
    problems: list[InputProblem] = []

    assert set(given) <= set(ACTION["inputs"])
    assert all(isinstance(text, str) and "${{" not in text for text in inputs.values())
    config = load(Config, environ, problems)
    load(find_operation(config.operation).Params, environ, problems)
    assert problems == []


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.name)
def test_an_example_is_a_workflow_with_few_rights(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)

    rights = {"contents": "read"}
    rights |= {"issues": "write"} if "gh issue" in text else {}
    rights |= {"id-token": "write"} if "role-to-assume" in text else {}
    rights |= {"security-events": "write"} if "upload-sarif" in text else {}
    assert workflow["permissions"] == rights
    assert workflow[True], "`on`, which YAML 1.1 takes for a boolean"
    assert all(job["steps"] and job["timeout-minutes"] <= 30 for job in workflow["jobs"].values())
    # Nothing is put into a script's text; an expression belongs into `env`.
    runs = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    assert not [run for run in runs if "${{" in run]
    # No commit SHA of this action is known before there is a release.
    assert set(re.findall(r"dms-airflow/dms-airflow@(.*)", text)) == {"<commit SHA>"}
    outputs = set(re.findall(r"outputs\.([\w-]+)", text))
    assert outputs <= set(ACTION["outputs"])


@pytest.fixture
def health() -> Iterator[ModuleType]:
    """The operation that CONTRIBUTING.md shows."""
    [code] = read_code(PROJECT / "CONTRIBUTING.md", "python")
    module = ModuleType("health")
    sys.modules["health"] = module  # dataclasses look there
    exec(compile(code, "CONTRIBUTING.md", "exec"), module.__dict__)
    yield module
    del sys.modules["health"]


def test_the_operation_of_the_walk_through_works(health: ModuleType) -> None:
    def run(status: str) -> Any:
        body = {"metadatabase": {"status": "healthy"}, "scheduler": {"status": status}}
        airflow = FakeAirflow(lambda _: body, FakeClock())
        return health.run(health.Params(), make_context(FakeClock(), FakeLog(), airflow))

    assert {"json"} == health.OUTPUTS
    assert run("unhealthy") == Result(
        ending=Ending.FAILURE,
        headline="The scheduler is unhealthy",
        outputs={"json": '{"metadatabase": "healthy", "scheduler": "unhealthy"}'},
        annotations=(
            Annotation(
                level=Level.ERROR,
                title="Scheduler not healthy",
                message="The scheduler is unhealthy. Look at the instance in DMS's console.",
            ),
        ),
    )
    assert run("healthy").ending is Ending.SUCCESS
