"""What a stranger wrote is a command of no CI system, whichever prints it; what ours print there is what it takes."""

from __future__ import annotations

import random
import re
import sys
from io import StringIO
from pathlib import Path

import pytest

from dms_airflow.ci import make_ci_system
from dms_airflow.ci.github import Forgejo, GitHub
from dms_airflow.ci.gitlab import GitLab
from dms_airflow.ci.runner import Runner, System, detect_system
from dms_airflow.ci.system import CiSystem
from dms_airflow.core.result import Annotation, Level
from sandbox.runner import parse_command

TEXTS = 10_000

# What each system looks for in a line, and beginnings of it for a stranger to write.
GRAMMARS = {
    "github": (
        r"^\s*::[a-z-]+.*::|##\[[a-z-]+",
        ("::error::x", "::add-mask::x", "::stop-commands::x", "##[group]x", "##[command]x"),
    ),
    "azure": (
        r"##\[|##vso\[",
        ("##vso[task.setvariable variable=x]y", "##VSO[task.complete result=Failed;]", "##[section]"),
    ),
    "teamcity": (
        r"##teamcity\[",
        ("##teamcity[buildStatus text='x']", "##TeamCity[setParameter name='x']"),
    ),
    "gitlab": (
        r"section_(?:start|end):",
        ("section_start:1:x\r\x1b[0Kx", "\x1b[0Ksection_end:1:x\r\x1b[0K", "section_start:1:x[collapsed=true]"),
    ),
    "terminal": (
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]",
        ("\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://x\x07", "\x9b31m", "\x08\x08", "\u202egpj.exe"),
    ),
    "jenkins": (
        r"\x1b\[8mha:",
        ("\x1b[8mha:////x\x1b[0m", "\x1b[8mha:"),
    ),
}
GLUE = ("", " ", "\t", "\n", "\r", "\r\n", "\x85", "\u2028", "\0", "\x1b[0m", "\u200b", "\ufeff", "\xad", "x", ":", "#", "é")


def write_hostile_texts(commands: tuple[str, ...]) -> list[str]:
    """Write texts with a command in them: at a line's start or in it, sometimes with a character between its letters."""
    chance = random.Random(4711)
    texts = []
    for _ in range(TEXTS):
        command = chance.choice(commands)
        cut = chance.randrange(len(command) + 1)
        inside = chance.choice(GLUE) if chance.random() < 0.5 else ""
        pieces = [chance.choice(GLUE), chance.choice(GLUE), command[:cut], inside, command[cut:], chance.choice(GLUE)]
        texts.append("".join(pieces))
    return texts


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_ten_thousand_texts_of_strangers(grammar: str) -> None:
    pattern, commands = GRAMMARS[grammar]
    is_command = re.compile(pattern, re.IGNORECASE)
    texts = write_hostile_texts(commands)
    log = StringIO()
    system = CiSystem(Runner(workspace=Path()), log)

    for text in texts:
        system.info(text)
        system.annotate(Annotation(level=Level.ERROR, title=text, message=text, file=text))

    # Each splits lines in its own way: every way counts.
    lines = [*log.getvalue().split("\n"), *log.getvalue().splitlines()]
    assert len(texts) == TEXTS
    assert sum(bool(is_command.search(text)) for text in texts) > TEXTS / 4
    assert [line for line in lines if is_command.search(line) or parse_command(line)] == []


def annotate(cls: type[CiSystem], *, is_terminal: bool = False) -> str:
    log = StringIO()
    runner = Runner(system=System.PLAIN, workspace=Path(), is_terminal=is_terminal)
    cls(runner, log).annotate(Annotation(level=Level.ERROR, title="T: x", message="a\nb", file="dags/a.py", line=3))
    return log.getvalue()


def test_an_annotation_as_each_shows_it() -> None:
    text = "dags/a.py:3: error: T: x\n  a\n  b\n"

    assert annotate(GitHub) == "::error file=dags/a.py,line=3,title=T%3A x::a%0Ab\n"
    assert annotate(Forgejo) == text
    assert annotate(GitLab) == text
    assert annotate(CiSystem) == text
    assert annotate(CiSystem, is_terminal=True) == "\x1b[31mdags/a.py:3: error: T: x\x1b[0m\n  a\n  b\n"


@pytest.mark.parametrize(
    ("environ", "system"),
    [
        ({"GITHUB_ACTIONS": "true"}, System.GITHUB),
        ({"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true"}, System.GITEA),
        ({"GITHUB_ACTIONS": "true", "GITEA_ACTIONS": "true", "FORGEJO_ACTIONS": "true"}, System.FORGEJO),
        ({"GITLAB_CI": "true"}, System.GITLAB),
        ({"JENKINS_URL": "https://j/", "BUILD_ID": "1"}, System.PLAIN),
        ({"GITHUB_ACTIONS": "false"}, System.PLAIN),
        ({}, System.PLAIN),
        ({"GITHUB_ACTIONS": "true", "DMS_AIRFLOW_CI": " Plain "}, System.PLAIN),
        ({"GITHUB_ACTIONS": "true", "DMS_AIRFLOW_CI": "jenkins"}, System.PLAIN),
    ],
)
def test_the_ci_system_is_found_by_its_variables(environ: dict[str, str], system: System) -> None:
    assert detect_system(environ) is system
    assert make_ci_system(environ, StringIO()).runner.system is system


def test_where_nobody_reads_commands_no_mask_is_printed() -> None:
    for environ in ({}, {"GITLAB_CI": "true"}, {"DMS_AIRFLOW_CI": "no such system"}):
        log = StringIO()
        ci = make_ci_system(environ, log)
        ci.mask("hunter2-hunter2")
        ci.mask_word("word-word")
        ci.mask_in_log("value-value")
        ci.info("hunter2-hunter2 word-word value-value")

        assert log.getvalue() == "*** *** ***\n"


def test_what_libraries_print_becomes_lines_of_the_log() -> None:
    log = StringIO()
    ci = make_ci_system({}, log)
    ci.mask("hunter2-hunter2")

    def fail() -> None:
        with ci.redact_stderr():
            sys.stderr.write("a hunter2")
            sys.stderr.write("-hunter2\nb\nc")
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert log.getvalue() == "a ***\nb\nc\n"


def test_pages_of_gitlab_and_forgejo(tmp_path: Path) -> None:
    git = tmp_path / ".git"
    git.mkdir()
    (git / "HEAD").write_text("a" * 40)
    (tmp_path / "a.py").write_text("")
    url = "https://gitlab-ci-token:x@git.example.com/acme/data/dags.git"
    (git / "config").write_text(f'[remote "origin"]\n\turl = {url}\n')
    systems = {System.GITLAB: "-/blob", System.GITEA: "src/commit", System.PLAIN: "blob"}

    pages = {
        system: Runner(system=system, workspace=tmp_path, server_url="https://git.example.com").name_page("a.py", 2)
        for system in systems
    }

    assert pages == {
        system: f"https://git.example.com/acme/data/dags/{words}/{'a' * 40}/a.py#L2" for system, words in systems.items()
    }
