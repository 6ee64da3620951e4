"""What people paste from docs/operations.md and docs/connect: commands exist, configuration loads, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from pipelines.cli import apportion
from pipelines.config import load_settings

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted([DOCS / "operations.md", *(DOCS / "connect").glob("*.md")])
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in these languages, without their indent."""
    return [
        "\n".join(text.removeprefix(indent) for text in content.splitlines())
        for indent, language, content in _BLOCK.findall(page.read_text(encoding="utf-8"))
        if language in languages
    ]


def commands(page: Path) -> list[str]:
    """Every `apportion …` that a page shows, in a block or in its text, without comments."""
    text = page.read_text(encoding="utf-8")
    in_blocks = [line for block in blocks(page, "console", "sh") for line in block.splitlines()]
    in_text = re.findall(r"`(apportion [a-z][^`\n]*)`", text)
    shown = [line.split("  #")[0].strip() for line in (*in_blocks, *in_text)]
    return sorted({line for line in shown if line.startswith("apportion ")})


SHOWN = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(("page", "command"), SHOWN, ids=[f"{page.stem}: {command}" for page, command in SHOWN])
def test_every_command_that_is_shown_is_one(page: Path, command: str) -> None:
    name, *arguments = shlex.split(command.replace("…", "2026-10"))[1:]
    verb = apportion.commands[name]

    # Raises UsageError for an option, or a number of arguments, that the command doesn't take.
    verb.make_context(name, arguments, resilient_parsing=False)


def test_commands_that_do_not_exist_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        apportion.commands["run"].make_context("run", ["--month", "2026-10"])
    assert len(SHOWN) > 10


CONFIGURATIONS = [(page, block) for page in PAGES for block in blocks(page, "yaml")]


@pytest.mark.parametrize(
    ("page", "block"), CONFIGURATIONS, ids=[f"{page.stem} {n}" for n, (page, _) in enumerate(CONFIGURATIONS)]
)
def test_every_configuration_that_is_shown_loads(page: Path, block: str, tmp_path: Path) -> None:
    read = yaml.safe_load(block)
    # A list alone is what stands under 'bills:'.
    content = {"bills": read} if isinstance(read, list) else read
    content.setdefault("lake", "./lake")
    # A block of claims or accepted differences names sources that stand elsewhere.
    named = {entry["name"] for entry in content.get("bills", [])}
    asked = {entry["source"] for key in ("claims", "accepted_differences") for entry in content.get(key, [])}
    others = [{"name": name, "kind": "focus", "location": "./other"} for name in sorted(asked - named)]
    content["bills"] = [*content.get("bills", []), *others]
    configuration = tmp_path / "apportion.yaml"
    configuration.write_text(yaml.safe_dump(content), encoding="utf-8")

    assert load_settings(configuration).bills


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = page if not name else (page.parent / name).resolve()
        assert linked.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target
