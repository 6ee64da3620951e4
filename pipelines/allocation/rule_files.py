"""Reads the YAML files of the allocation rules, keeping the place of every key, and says what is wrong where.

A scalar stays the text that was written: ``no`` is the text no, ``012345678901`` keeps its zero and ``0.1`` never
passes through a float. Only a plain empty value, ``~`` or ``null`` is absent.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Union, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from pipelines.errors import RuleError

YamlValue = Union[str, None, "list[YamlValue]", "dict[str, YamlValue]"]
Place = tuple[str | int, ...]

_STANDARD_TAG = "tag:yaml.org,2002:"
_NULL_TAG = _STANDARD_TAG + "null"
_MERGE_TAG = _STANDARD_TAG + "merge"


class StrictModel(BaseModel):
    """What every part of the rule language is: frozen, and refusing keys it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)


@dataclass(frozen=True)
class RuleProblem:
    """One thing that is wrong in a rule file; ``line`` is 1-based."""

    file: str
    line: int
    problem: str
    expected: str = ""
    found: str = ""
    remedy: str = ""

    @property
    def where(self) -> str:
        """The file and line, as editors open them."""
        return f"{self.file}:{self.line}"

    def as_error(self) -> RuleError:
        """The problem as an error of its own."""
        return RuleError(self.problem, where=self.where, expected=self.expected, found=self.found, remedy=self.remedy)


class RuleFilesError(RuleError):
    """Everything that is wrong in the rule files, in order of file and line; nothing was loaded."""

    def __init__(self, problems: Iterable[RuleProblem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda each: (each.file, each.line, each.problem)))
        if len(self.problems) == 1:
            only = self.problems[0]
            super().__init__(
                only.problem, where=only.where, expected=only.expected, found=only.found, remedy=only.remedy
            )
        else:
            heading = f"{len(self.problems)} problems in the allocation rules; none was loaded"
            super().__init__("\n".join([heading, *(str(each.as_error()) for each in self.problems)]))


@dataclass(frozen=True)
class Refusal:
    """A problem found by a model that knows no file.

    ``at`` is the way to the key from the model that raises it; ``{key}`` in the problem stands for that model's key.
    """

    problem: str
    at: Place = ()
    expected: str = ""
    found: str = ""
    remedy: str = ""


def refused(*refusals: Refusal) -> PydanticCustomError:
    """The error with which a pydantic validator reports what :func:`problems_of` turns into lines of a file."""
    summary = "; ".join(each.problem for each in refusals)
    return PydanticCustomError("rule_language", "{summary}", {"summary": summary, "refusals": refusals})


@dataclass(frozen=True)
class YamlDocument:
    """One YAML document of a file: its values, the text it was written in, and the line of every key and item."""

    file: str
    text: str
    line: int
    value: YamlValue
    key_lines: Mapping[Place, int]
    value_lines: Mapping[Place, int]

    @property
    def given(self) -> YamlValue:
        """The values without the outermost keys that have nothing after them: those count as not given."""
        if not isinstance(self.value, dict):
            return self.value
        return {key: value for key, value in self.value.items() if value is not None}

    def place(self, location: Iterable[str | int]) -> Place:
        """The nearest place in the document to a pydantic location, which also names union members."""
        place: Place = ()
        for element in location:
            if (*place, element) in self.value_lines:
                place = (*place, element)
            elif isinstance(element, str) and "." in element:
                for part in element.split("."):
                    place = (*place, part) if (*place, part) in self.value_lines else place
        return place

    def problem(self, refusal: Refusal, *, of_key: bool = False) -> RuleProblem:
        """A refusal with its line: that of the value at its place, or of the key itself."""
        place = self.place(refusal.at)
        lines = self.key_lines if of_key else self.value_lines
        return RuleProblem(
            self.file, lines.get(place, self.line), refusal.problem, refusal.expected, refusal.found, refusal.remedy
        )


def read_documents(path: Path, *, file: str) -> tuple[list[YamlDocument], list[RuleProblem]]:
    """The documents of a YAML file, or why it can't be read. Empty documents are left out.

    ``file`` is the name that problems give.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        problem = f"the file can't be read: {error.strerror}"
        return [], [RuleProblem(file, 1, problem, remedy="make it a file that this user may read")]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return [], [
            RuleProblem(
                file,
                line,
                "the file isn't UTF-8 text",
                found=f"byte 0x{content[error.start]:02x}",
                remedy="save the file as UTF-8",
            )
        ]
    return parse_documents(text, file=file)


def parse_documents(text: str, *, file: str) -> tuple[list[YamlDocument], list[RuleProblem]]:
    """The documents of YAML text, as :func:`read_documents`."""
    try:
        nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if not _is_absent(node)]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return [], [
            RuleProblem(
                file,
                line,
                "the file has a character that YAML doesn't allow",
                found=f"U+{ord(error.character) if isinstance(error.character, str) else error.character:04X}",
                remedy="delete the character, or write it as an escape in double quotes",
            )
        ]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return [], [
            RuleProblem(
                file,
                mark.line + 1 if mark else 1,
                f"the file isn't YAML: {error.problem or error.context}",
                remedy="correct the line, or the one before it: indent with blanks, never tabs; "
                "quote text that has ': ' or ' #' in it",
            )
        ]
    except RecursionError:
        return [], [RuleProblem(file, 1, "the file is nested too deeply to be read", remedy="write it flatter")]
    documents: list[YamlDocument] = []
    problems: list[RuleProblem] = []
    for node in nodes:
        reader = _NodeReader(file)
        value = reader.value(node, ())
        problems.extend(reader.problems)
        if not reader.problems:
            written = text[node.start_mark.index : node.end_mark.index].rstrip() + "\n"
            documents.append(
                YamlDocument(file, written, node.start_mark.line + 1, value, reader.key_lines, reader.value_lines)
            )
    return documents, problems


def _is_absent(node: yaml.Node | None) -> bool:
    return node is None or (isinstance(node, yaml.ScalarNode) and node.tag == _NULL_TAG)


class _NodeReader:
    """Turns composed YAML nodes into values, noting lines and what the rule language doesn't allow."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[RuleProblem] = []
        self.key_lines: dict[Place, int] = {}
        self.value_lines: dict[Place, int] = {}
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, place: Place) -> YamlValue:
        self.value_lines[place] = node.start_mark.line + 1
        if not node.tag.startswith(_STANDARD_TAG):
            self._refuse(node, f"unknown YAML tag {node.tag}", "delete the tag")
            return None
        if any(node is outer for outer in self._open):
            self._refuse(node, "a YAML alias that contains itself", "write the values out")
            return None
        self._open.append(node)
        try:
            if isinstance(node, yaml.ScalarNode):
                return None if node.tag == _NULL_TAG else self._text(node)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*place, position)) for position, item in enumerate(node.value)]
            return self._mapping(cast(yaml.MappingNode, node), place)
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, YamlValue]:
        values: dict[str, YamlValue] = {}
        for key_node, value_node in self._entries(node):
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _NULL_TAG:
                self._refuse(key_node, "a key that isn't text", "write the key as text")
                continue
            key = self._text(key_node)
            if key in values:
                first = self.key_lines[(*place, key)]
                self._refuse(
                    key_node, f"the key {key!r} is given twice", f"keep one of them; the first is in line {first}"
                )
                continue
            self.key_lines[(*place, key)] = key_node.start_mark.line + 1
            values[key] = self.value(value_node, (*place, key))
        return values

    def _entries(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
        """The mapping's own entries, then those that it merges in (``<<``) and doesn't give itself."""
        merged: list[yaml.MappingNode] = []
        given: set[str] = set()
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE_TAG:
                merged.extend(self._merged(value_node))
            else:
                given.add(str(key_node.value))
                yield key_node, value_node
        for mapping in merged:
            if any(mapping is outer for outer in self._open):
                self._refuse(mapping, "a YAML alias that contains itself", "write the values out")
                continue
            self._open.append(mapping)
            for key_node, value_node in list(self._entries(mapping)):
                if str(key_node.value) not in given:
                    given.add(str(key_node.value))
                    yield key_node, value_node
            self._open.pop()

    def _merged(self, node: yaml.Node) -> list[yaml.MappingNode]:
        mappings = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if all(isinstance(each, yaml.MappingNode) for each in mappings):
            return list(mappings)
        self._refuse(node, "'<<' merges something that isn't a mapping", "merge an alias of a mapping (<<: *name)")
        return []

    def _text(self, node: yaml.ScalarNode) -> str:
        text = str(node.value)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            self._refuse(node, "text with a character that isn't one (NUL, or half a surrogate pair)", "delete it")
        return text

    def _refuse(self, node: yaml.Node, problem: str, remedy: str) -> None:
        self.problems.append(RuleProblem(self.file, node.start_mark.line + 1, problem, remedy=remedy))


def problems_of(error: ValidationError, document: YamlDocument, model: type[BaseModel]) -> list[RuleProblem]:
    """What pydantic found wrong in a document, as problems with lines."""
    return [problem for details in error.errors() for problem in _problems_of_one(details, document, model)]


def _problems_of_one(details: ErrorDetails, document: YamlDocument, model: type[BaseModel]) -> list[RuleProblem]:
    location = details["loc"]
    kind = details["type"]
    context = details.get("ctx", {})
    subject = _subject(location)
    if kind == "rule_language":
        return [
            document.problem(replace(each, problem=each.problem.replace("{key}", subject), at=(*location, *each.at)))
            for each in cast("Sequence[Refusal]", context["refusals"])
        ]
    if kind == "extra_forbidden":
        known = _keys_beside(model, location)
        name = str(location[-1]).split(".")[-1]
        if name in known:
            return [
                document.problem(
                    Refusal(
                        f"{subject} can't be read",
                        location,
                        expected=_EXPECTED["model_type"],
                        found=_shown(details["input"]),
                        remedy=f"write the keys of {subject} below it",
                    )
                )
            ]
        return [
            document.problem(
                Refusal(
                    f"unknown key {name!r}",
                    location,
                    expected=", ".join(known),
                    remedy=suggestion(name, known) or f"delete {name!r} or write one of the expected keys",
                ),
                of_key=True,
            )
        ]
    if kind == "missing":
        return [document.problem(Refusal(f"{subject} is missing", location, remedy=f"add {subject}"))]
    found = _shown(details["input"])
    if kind == "literal_error":
        expected = str(context["expected"])
        remedy = suggestion(found, expected.replace("'", "").replace(" or ", ", ").split(", "))
        return [
            document.problem(
                Refusal(f"{subject} can't be {found!r}", location, expected, found, remedy or "write one of these")
            )
        ]
    expected = _EXPECTED.get(kind, details["msg"])
    return [document.problem(Refusal(f"{subject} can't be read", location, expected, found, f"write {expected} here"))]


def _subject(location: Sequence[str | int]) -> str:
    """What a pydantic location is about, in words: a key, or an entry of a list."""
    keys = [str(element).split(".")[-1] for element in location if isinstance(element, str)]
    if location and isinstance(location[-1], int):
        return f"entry {location[-1] + 1} of {keys[-1]!r}"
    return repr(keys[-1]) if keys else "the document"


_EXPECTED = {
    "string_type": "text",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "dict_type": "a mapping (key: value)",
    "mapping_type": "a mapping (key: value)",
    "tuple_type": "a list ([one, two])",
    "string_pattern_mismatch": "text that isn't blank",
    "bool_type": "true or false",
    "too_short": "at least one entry",
    "string_too_short": "text that isn't empty",
}


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def suggestion(written: str, known: Iterable[str]) -> str:
    """A remedy that proposes the known word nearest to the written one; empty when none is near."""
    near = difflib.get_close_matches(written.lower(), {each.lower(): each for each in known}, n=1)
    matches = [each for each in known if near and each.lower() == near[0]]
    return f"did you mean {matches[0]!r}?" if matches else ""


def _keys_beside(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys that a mapping may have, where pydantic met one it doesn't know."""
    candidates: list[type[BaseModel]] = [model]
    for element in location[:-1]:
        named = [each for each in candidates if each.__name__ == element]
        fields = [
            field
            for each in candidates
            for name, field in each.model_fields.items()
            if element in (name, field.validation_alias)
        ]
        if named:
            candidates = named
        elif fields:
            candidates = [each for field in fields for each in _models_in(field.annotation)]
    keys = [str(field.validation_alias or name) for each in candidates for name, field in each.model_fields.items()]
    outer, dot, _ = str(location[-1]).rpartition(".")
    inside = [key.removeprefix(outer + dot) for key in keys if key.startswith(outer + dot)]
    return list(dict.fromkeys(key.split(".")[0] for key in inside))


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
