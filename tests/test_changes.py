"""Change notes have names that say where they belong, and a release writes CHANGES.md from them."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cal_pipeline import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("assemble", ROOT / "changes" / "assemble.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notes_that_are_here_are_valid(script):
    notes = script.read_notes(ROOT / "changes")
    assert {name.partition("-")[0] for name in notes} <= set(script.ROOMS)


def test_the_readme_lists_the_rooms_in_their_order(script):
    text = (ROOT / "changes" / "README.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE) == list(script.ROOMS)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("retry.md", "x", "expected <room>-<short-name>.md"),
        ("workers-.md", "x", "expected <room>-<short-name>.md"),
        ("workers-Retry.md", "x", "lower-case"),
        ("workers-retry.rst", "x", "expected <room>-<short-name>.md"),
        ("worker-retry.md", "x", "no room 'worker'; did you mean workers?"),
        ("house-retry.md", "x", "expected one of pipeline, steps, physics"),
        ("docs-glossary.md", " \n", "is empty"),
        ("docs-glossary.md", "* A glossary.", "without headings or list markers"),
        ("docs-glossary.md", "A glossary.\n\nAnd more.", "one paragraph"),
        ("docs-glossary.md", "x" * 101, "101 characters; wrap it at 100"),
    ],
)
def test_a_note_that_cannot_be_used_is_refused(script, tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(script.ChangeError) as refused:
        script.read_notes(tmp_path)
    assert words in str(refused.value)
    assert f"changes/{name}" in str(refused.value)


NOTES = {
    "docs-glossary.md": "A glossary.\n",
    "pipeline-order.md": "Steps run in\nanother order.\n",
    "pipeline-plain.md": "Plain names.",
}
ADDED = """### Pipeline

* Steps run in
  another order.
* Plain names.

### Documentation

* A glossary.
"""


def test_the_section_of_the_version_is_dated_and_keeps_its_lines(script):
    before = "# Changes\n\n## 0.2.0 (unreleased)\n\n* By hand.\n\n## 0.1.0 (2026-01-01)\n\n* First.\n"
    after = script.assemble(before, NOTES, "0.2.0", "2026-12-31")
    older = "\n## 0.1.0 (2026-01-01)\n\n* First.\n"
    assert after == f"# Changes\n\n## 0.2.0 (2026-12-31)\n\n* By hand.\n\n{ADDED}{older}"
    with pytest.raises(script.ChangeError, match="already"):
        script.assemble(after, NOTES, "0.2.0", "2027-01-01")
    with pytest.raises(script.ChangeError, match=r"has the section '## 0\.2\.0 \(unreleased\)'"):
        script.assemble(before, NOTES, "0.3.0", "2027-01-01")


def test_the_section_of_a_new_version_stands_first(script):
    before = "# Changes\n\n## 0.1.0 (2026-01-01)\n\n* First.\n"
    after = script.assemble(before, NOTES, "0.2.0", "2026-12-31")
    assert after == f"# Changes\n\n## 0.2.0 (2026-12-31)\n\n{ADDED}\n## 0.1.0 (2026-01-01)\n\n* First.\n"
    with pytest.raises(script.ChangeError, match="no notes"):
        script.assemble(before, {}, "0.2.0", "2026-12-31")


def test_a_last_section_without_notes_is_dated_alone(script):
    before = "# Changes\n\n## 0.1.0 (unreleased)\n\n* First.\n"
    assert script.assemble(before, {}, "0.1.0", "2026-12-31") == before.replace("unreleased", "2026-12-31")


@pytest.fixture
def project(tmp_path):
    """A copy of what the script works on, with two notes."""
    for name in ("CHANGES.md", "CITATION.cff", "cal_pipeline/_version.py", "changes/assemble.py", "changes/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("docs-glossary.md", "pipeline-order.md"):
        (tmp_path / "changes" / name).write_text(NOTES[name])
    return tmp_path


def run(project, *arguments):
    line = [sys.executable, "changes/assemble.py", *arguments]
    return subprocess.run(line, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_release_moves_the_notes(project):
    assert run(project, "--check").returncode == 0
    assert len(list((project / "changes").glob("*.md"))) == 3
    done = run(project, __version__, "--date", "2026-12-31")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in (project / "changes").glob("*.md")] == ["README.md"]
    text = (project / "CHANGES.md").read_text()
    assert f"## {__version__} (2026-12-31)" in text
    assert "* Steps run in\n  another order." in text


def test_a_release_of_another_version_changes_nothing(project):
    before = (project / "CHANGES.md").read_bytes()
    refused = run(project, "99.0")
    assert refused.returncode == 1
    assert refused.stderr == f"cal_pipeline/_version.py has version {__version__}, expected 99.0; set it there first\n"
    assert (project / "CHANGES.md").read_bytes() == before
    assert len(list((project / "changes").glob("*.md"))) == 3


def test_the_citation_names_this_version_and_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text()


def test_hooks_fetch_nothing_and_their_scripts_are_here():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    assert {hook["language"] for hook in hooks} == {"system"}
    scripts = re.findall(r"\S+/\S+", " ".join(hook["entry"] for hook in hooks))
    assert len(scripts) > len(hooks)
    assert [name for name in scripts if not (ROOT / name).is_file()] == []


def test_bug_reports_ask_for_what_is_needed():
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml").read_text())
    asked = {item["id"]: item.get("validations", {}).get("required", False) for item in form["body"] if "id" in item}
    assert {name for name, required in asked.items() if required} == {
        "versions",
        "command",
        "message",
        "expected",
        "info",
    }
    assert "failures" in asked
