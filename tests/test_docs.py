import re
from dataclasses import asdict, fields

import pytest
import yaml

from jobs.cli.commands import COMMANDS
from pipeline.config.job import JobConfig, MaskConfig
from pipeline.masks.registry import MASK_KINDS
from pipeline.records import MANIFEST_SCHEMA
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *sorted(DOCS.rglob("*.md"))]


def anchors(page: str) -> list[str]:
    """Return the anchors that GitHub and the documentation site give to the headings of a page."""
    without_code = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_manifest_page_describes_every_column_and_no_other():
    table = (DOCS / "reference" / "manifest.md").read_text().split("## Columns")[1].split("## Kinds")[0]
    names = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`(\w+)`", line.split("|")[1])
    ]
    assert names == MANIFEST_SCHEMA.names


def test_commands_page_has_a_row_for_every_command_and_no_other():
    page = (DOCS / "reference" / "commands.md").read_text()
    assert set(re.findall(r"^\| `moebius ([a-z-]+)", page, re.MULTILINE)) == COMMANDS.keys()


def test_python_example_of_the_readme_runs(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    code = code.replace("tests/photos", f"{ROOT}/tests/photos")
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # the documentation is ours
    assert (tmp_path / "heron.png").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_exist(page):
    for link in re.findall(r"\]\((?!http)([^)\s]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_of_the_repository_that_pages_name_exist(page):
    named = re.findall(r"`((?:moebius|pipeline|jobs|tests|deploy|benchmarks|docs)/[\w./-]+)`", page.read_text())
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


def test_masks_page_names_every_kind_and_every_setting():
    page = (DOCS / "how-to" / "masks.md").read_text()
    assert all(f"| `{kind}` |" in page for kind in MASK_KINDS)
    settings = [field.name for field in fields(MaskConfig)]
    assert [name for name in settings if f"mask.{name}" not in page] == []


def test_base_configuration_holds_every_key_with_its_default():
    written = yaml.safe_load((ROOT / "conf" / "inpaint.yaml").read_text())
    for name, section in asdict(JobConfig()).items():
        expected = section if name == "storage" else {key: value for key, value in section.items() if key != "uri"}
        assert {key: value for key, value in written[name].items() if key != "uri"} == expected, name


# Messages that we only pass on.
OF_LIBRARIES = ("Key 'stepz'", "Environment variable", "Please install", "Binder Error", "Parser Error", "Permission")


def test_troubleshooting_page_quotes_messages_that_exist():
    sources = [path.read_text() for name in ("moebius", "pipeline", "jobs") for path in (ROOT / name).rglob("*.py")]
    texts = re.sub(r'"\n\s*f?"', "", "\n".join(sources))  # one literal a message
    texts = re.sub(r"\{[^{}]*\}", "…", texts).replace("{{", "{").replace("}}", "}")
    tables = (DOCS / "reference" / "messages.md").read_text().split("## Exit code 2")[1].split("## Exit code 3")[0]
    cells = [line.split(" | ")[0] for line in tables.splitlines() if line.startswith("| `")]
    messages = [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    assert len(messages) > 30
    for message in messages:
        if not any(text in message for text in OF_LIBRARIES):
            pieces = [piece.strip(" :(),='") for piece in message.split("…")]
            assert [piece for piece in pieces if len(piece) > 10 and piece not in texts] == [], message


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lists_follow_an_empty_line_as_the_site_needs_it(page):
    without_code = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    before = re.findall(r"^(.*\S.*)\n(?:- |1\. )", without_code, re.MULTILINE)
    assert [line for line in before if not re.match(r"- |\d+\. |  |#", line)] == []
