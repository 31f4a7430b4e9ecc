"""The documentation says what the code does: tables, error titles, links and examples cannot drift."""

from __future__ import annotations

import ast
import re
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from markdown_it import MarkdownIt

from dms_airflow.alibaba_cloud.error_codes import STS, TOKEN, load_codes
from dms_airflow.config import Config
from dms_airflow.core.contract import GROUPS, Input
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
TROUBLESHOOTING = PROJECT / "docs" / "troubleshooting.md"
ENTRIES = {
    heading: (file, text)
    for file in sorted(TROUBLESHOOTING.with_suffix("").glob("*.md"))
    for heading, text in re.findall(r"^## (.*)\n\n((?:(?!## ).*\n)*)", file.read_text(encoding="utf-8"), re.MULTILINE)
}
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


SMALL_GROUPS = {
    "Instance": {"region": Input("The region `<id>`, a|b, <x>.", required=True)},
    "Waiting": {"timeout": Input("How long.", default="10m")},
}
SMALL_OUTPUTS = {"status": {"description": "`a`\nor `b`."}}
SMALL_DOCUMENT = "A\n<!-- inputs -->\nold\n<!-- end inputs -->\nB\n<!-- outputs -->\n<!-- end outputs -->\nC\n"
SMALL_RESULT = """\
A
<!-- inputs -->

### Instance

| input | default | meaning |
|---|---|---|
| `region` |  | Required. The region `<id>`, a\\|b, &lt;x>. |

### Waiting

| input | default | meaning |
|---|---|---|
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


def test_tables_are_made_from_the_contract() -> None:
    assert SCRIPT.document(SMALL_DOCUMENT, SMALL_GROUPS, SMALL_OUTPUTS) == SMALL_RESULT


def test_making_tables_again_changes_nothing() -> None:
    assert SCRIPT.document(SMALL_RESULT, SMALL_GROUPS, SMALL_OUTPUTS) == SMALL_RESULT


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
        SCRIPT.document(text, SMALL_GROUPS, SMALL_OUTPUTS)


def test_check_names_the_stale_document_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("action.yml", "pyproject.toml", "CONTRIBUTING.md", SCRIPT.FAULTS_PAGE, SCRIPT.REFERENCE_PAGE):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    (tmp_path / "dms_airflow").symlink_to(PROJECT / "dms_airflow")
    reference = tmp_path / SCRIPT.REFERENCE_PAGE
    reference.write_text(SMALL_DOCUMENT, encoding="utf-8")

    assert SCRIPT.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out == "docs/reference.md is stale; run: make docs\n"
    assert reference.read_text(encoding="utf-8") == SMALL_DOCUMENT

    assert SCRIPT.main([], tmp_path) == 0
    assert reference.read_text(encoding="utf-8") != SMALL_DOCUMENT
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
    assert titles <= set(ENTRIES)


def test_the_inputs_of_action_yml_are_current() -> None:
    action = (PROJECT / "action.yml").read_text(encoding="utf-8")

    assert SCRIPT.write_inputs(action) == action, "run: make docs"


def test_the_tables_of_the_reference_are_current() -> None:
    page = (PROJECT / SCRIPT.REFERENCE_PAGE).read_text(encoding="utf-8")

    assert SCRIPT.document(page, GROUPS, ACTION["outputs"]) == page, "run: make docs"


# --- the front page -------------------------------------------------------------------------------------------------------


def test_the_front_page_is_short() -> None:
    readme = (PROJECT / "README.md").read_bytes()

    assert readme.count(b"\n") <= 150
    assert len(readme) <= 9_000


def test_the_front_page_leads_to_every_example_and_every_page_of_an_operation() -> None:
    readme = (PROJECT / "README.md").read_text(encoding="utf-8")
    wanted = {*EXAMPLES, *(file for file in DOCUMENTS if file.parent.name == "operations" and ".zh-CN" not in file.name)}

    assert [file.name for file in wanted if f"({file.relative_to(PROJECT)})" not in readme] == []


def test_the_documentation_names_every_operation() -> None:
    page = (PROJECT / "docs" / "operations" / "commands.md").read_text(encoding="utf-8")
    sentence = page.partition("Any of these: ")[2].partition(". Anything")[0]

    named = set()
    for group in re.sub(r"\(.*?\)", "", sentence).split(";"):
        words = re.fullmatch(r"\s*`([a-z -]+)`(.*)", group, re.DOTALL)
        assert words, group
        names = re.split(r",?\s+", words[2].strip()) if words[2].strip() else [""]
        named |= {f"{words[1]} {name}".strip() for name in names}
    named |= {name for file in DOCUMENTS if (name := read_operation(file)) is not None}
    assert named | {"cli"} == set(OPERATIONS)


def read_operation(file: Path) -> str | None:
    """Return the operation that a page is about by its heading."""
    heading = re.match(r"# `([a-z -]+)`", file.read_text(encoding="utf-8"))
    return heading[1] if heading and file.parent.name == "operations" else None


# --- pages in Chinese -----------------------------------------------------------------------------------------------------


CHINESE = [file for file in DOCUMENTS if file.name.endswith(".zh-CN.md")]


def find_english(file: Path) -> Path:
    """Return the page of which this is the Chinese one."""
    return file.with_name(file.name.replace(".zh-CN", ""))


def test_chinese_pages_are_found() -> None:
    names = {str(file.relative_to(PROJECT)) for file in CHINESE}

    assert names == {
        "README.zh-CN.md",
        "docs/getting-started.zh-CN.md",
        "docs/operations/deploy.zh-CN.md",
        "docs/other-ci.zh-CN.md",
        "docs/reference.zh-CN.md",
    }


@pytest.mark.parametrize("file", CHINESE, ids=lambda file: file.name)
def test_the_two_languages_lead_to_each_other_from_their_tops(file: Path) -> None:
    english = find_english(file)

    assert f"({file.name})" in "".join(english.read_text(encoding="utf-8").splitlines(keepends=True)[:4])
    assert f"({english.name})" in "".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:4])


@pytest.mark.parametrize("file", CHINESE, ids=lambda file: file.name)
def test_the_two_languages_have_the_same_headings_code_lists_and_tables(file: Path) -> None:
    def outline(page: Path) -> list[str]:
        found = []
        for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
            if token.type == "fence":
                # But for comments, which are translated.
                found.append(re.sub(r"(?m) *# .*$", "", token.content))
            elif token.type in ("heading_open", "list_item_open", "tr_open"):
                found.append(token.tag)
        return found

    assert outline(file) == outline(find_english(file))


@pytest.mark.parametrize("file", CHINESE, ids=lambda file: file.name)
def test_the_two_languages_link_the_same_pages(file: Path) -> None:
    def list_targets(page: Path) -> set[str]:
        targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        return {target.partition("#")[0].replace(".zh-CN.md", ".md") for target in targets}

    assert list_targets(file) == list_targets(find_english(file))


def read_table(text: str, name: str) -> list[list[str]]:
    r"""Return the cells of each row of the tables between the markers, without their heads; a `\|` is no border."""
    text = text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- end {name} -->")[0]
    rows = [row for row in text.splitlines() if row.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_the_chinese_tables_have_the_rows_of_action_yml(name: str) -> None:
    rows = read_table((PROJECT / "docs" / "reference.zh-CN.md").read_text(encoding="utf-8"), name)

    assert [row[0].strip("`") for row in rows] == list(ACTION[name])
    for row in rows:
        declared = ACTION[name][row[0].strip("`")]
        words = re.compile(r"`[^`]+`")
        # What is in backticks is the same in every language: a changed description shows here.
        assert set(words.findall(row[-1])) == set(words.findall(declared["description"])), row[0]
        assert re.search(r"[\u4e00-\u9fff]|^`", row[-1]), f"{row[0]} is not translated"
        if name == "inputs":
            assert row[1].strip("`") == declared.get("default", "")
            assert row[2].startswith("必填。") == declared.get("required", False)


# --- titles ---------------------------------------------------------------------------------------------------------------


def find_titles(source: str) -> Iterator[str]:
    """Give a pattern for the title of each error, Annotation and Finding; what is filled in matches any text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.Call) and ast.unparse(node.func) == "ActionError"):
            yield from (read_title(keyword.value) for keyword in node.keywords if keyword.arg == "title")
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
HEADINGS = sorted(ENTRIES)


def test_titles_are_found() -> None:
    source = """
class LoginError(ActionError, title="Login failed"):
    def f(self):
        return Annotation(level=1, title=self.title, message=self.title)
def g():
    return Annotation(level=1, title=f"{count} more", message="")
def h(finding):
    return Annotation(title=finding.title), Finding(title=f"Task failed: {name}")
def i():
    raise ActionError("message", "hint", title="Not published")
"""
    titles = ["Login\\ failed(: X)?", "[XN]\\ more", "Task\\ failed:\\ [XN]", "Not\\ published(: X)?"]

    assert sorted(find_titles(source)) == sorted(titles)
    assert len(TITLES) >= 15


@pytest.mark.parametrize("title", TITLES)
def test_every_title_has_an_entry(title: str) -> None:
    assert [heading for heading in HEADINGS if re.fullmatch(title, heading)], "docs/troubleshooting/ has no entry"


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_entry_is_a_title(heading: str) -> None:
    assert [title for title in TITLES if re.fullmatch(title, heading)], "no error or annotation has this title"


def test_the_page_of_titles_leads_to_every_entry_once() -> None:
    links = re.findall(r"\[([^\]]+)\]\((troubleshooting/[^)]+)\)", TROUBLESHOOTING.read_text(encoding="utf-8"))

    assert sorted(links) == [
        (heading, f"troubleshooting/{ENTRIES[heading][0].name}#{slugify(heading)}") for heading in HEADINGS
    ]


@pytest.mark.parametrize("heading", HEADINGS)
def test_an_entry_begins_with_what_to_do_in_bold(heading: str) -> None:
    paragraph = ENTRIES[heading][1].partition("\n\n")[0]

    assert re.search(r"\*\*[A-Z].+?\*\*", paragraph, re.DOTALL)
    assert len(paragraph) <= 600


@pytest.mark.parametrize(
    "page",
    [
        "operations/deploy-gate.md",
        "troubleshooting.md",
        *sorted({f"troubleshooting/{file.name}" for file, _ in ENTRIES.values()}),
    ],
)
def test_a_page_that_is_read_at_night_fits_two_screens(page: str) -> None:
    lines = (PROJECT / "docs" / page).read_text(encoding="utf-8").splitlines()

    assert sum(max(1, -(-len(line) // 100)) for line in lines) <= 120


@pytest.mark.parametrize(
    ("heading", "code"),
    [
        *(("No login token", code) for code in load_codes(TOKEN)),
        *(("Role not assumed", code) for code in load_codes(STS)),
    ],
)
def test_every_error_code_is_explained(heading: str, code: ErrorCode) -> None:
    rows = [line for line in ENTRIES[heading][1].splitlines() if line.startswith("|") and code.meaning in line]

    assert len(rows) == 1, f"no row says: {code.meaning}"
    examples = re.findall(r"`([^`]*)`", rows[0].split("|")[1])
    assert examples
    assert all(re.search(code.pattern, example.replace("…", "")) for example in examples)


# --- links ----------------------------------------------------------------------------------------------------------------


def list_links() -> list[tuple[Path, str]]:
    """Give each link and image of the documents that stays inside the project."""
    found = []
    for file in DOCUMENTS:
        text = re.sub(r"^```.*?^```$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r' (?:src|srcset)="([^"]+)"', text)
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
    "${{ github.token }}": "ghs_1234",
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
    rights |= {"pull-requests": "write"} if "comment:" in text else {}
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
