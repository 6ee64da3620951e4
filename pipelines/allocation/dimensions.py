"""Dimensions: who and what a charge or a measurement is for, resolved once for each distinct set of tags.

The same sources apply to bill tags and to usage labels.
"""

from __future__ import annotations

import graphlib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import duckdb
from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag, ValidationError, model_validator

from pipelines.allocation.rule_files import (
    Refusal,
    RuleFilesError,
    RuleProblem,
    StrictModel,
    YamlDocument,
    parse_documents,
    problems_of,
    read_documents,
    refused,
    suggestion,
)
from pipelines.errors import ApportionError
from pipelines.lake.database import identifier, literal

SEVEN: tuple[str, ...] = ("team", "product", "feature", "model", "environment", "customer", "cost_center")
"""The dimensions that always exist, in the order of every table's columns."""

DIMENSIONS_FILE = "dimensions.yaml"

BLANKS = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
"""What is dropped around a value: white space of every kind, tabs and line ends too (the last one is U+3000)."""

_BLANK = "[" + "".join(f"\\x{{{ord(blank):X}}}" for blank in BLANKS) + "]"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = re.compile(r"tags|account|dimensions|target_id|tag_[0-9]+")

Text = Annotated[str, StringConstraints(min_length=1, pattern=r"\S")]
Values = Annotated[Mapping[Text, Text], Field(min_length=1)]


class TagSource(StrictModel):
    """The value of a tag or label."""

    tag: Annotated[str, Field(min_length=1)]


class AccountSource(StrictModel):
    """A value for each sub-account."""

    account: Values


class Lookup(StrictModel):
    """A value for each value of another dimension."""

    dimension: str
    values: Values


class LookupSource(StrictModel):
    """A value looked up by that of another dimension."""

    lookup: Lookup


def _form(value: Any) -> str | None:
    if isinstance(value, StrictModel):
        return type(value).__name__
    if isinstance(value, Mapping):
        for key, form in (("tag", "TagSource"), ("account", "AccountSource"), ("lookup", "LookupSource")):
            if key in value:
                return form
    return None


Source = Annotated[
    (
        Annotated[TagSource, Tag("TagSource")]
        | Annotated[AccountSource, Tag("AccountSource")]
        | Annotated[LookupSource, Tag("LookupSource")]
    ),
    Discriminator(
        _form,
        custom_error_type="source_form",
        custom_error_message="a mapping with one of tag, account, lookup",
    ),
]


def _truth(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


class Dimension(StrictModel):
    """Where one dimension's value comes from: the first source that gives one wins."""

    sources: tuple[Source, ...] = ()
    fold_case: Annotated[bool, BeforeValidator(_truth), Field(strict=True)] = False
    aliases: Mapping[Text, tuple[Text, ...]] = {}

    @property
    def lookups(self) -> tuple[Lookup, ...]:
        """The lookups among the sources, in order."""
        return tuple(source.lookup for source in self.sources if isinstance(source, LookupSource))

    @property
    def spellings(self) -> dict[str, str]:
        """The canonical value of every spelling that an alias names, the canonical value's own included."""
        return dict(self._spelled())

    def canonical(self, values: Sequence[str]) -> list[str]:
        """What the dimension makes of values that a source gives: blanks dropped, case folded, aliases applied."""
        spellings = self.spellings
        return [spellings.get(value, value) for value in self._cleaned(values)]

    def collisions(self) -> Iterator[tuple[str, str, str]]:
        """Every spelling that stands for two canonical values: the spelling, the first value, the second."""
        first: dict[str, str] = {}
        for spelling, canonical in self._spelled():
            other = first.setdefault(spelling, canonical)
            if other != canonical:
                yield spelling, other, canonical

    def _spelled(self) -> Iterator[tuple[str, str]]:
        for canonical, spellings in self.aliases.items():
            for spelling in self._cleaned([canonical, *spellings]):
                yield spelling, canonical.strip(BLANKS)

    def _cleaned(self, values: Sequence[str]) -> list[str]:
        stripped = [value.strip(BLANKS) for value in values]
        return _lower_case(stripped) if self.fold_case else stripped


def _lower_case(values: Sequence[str]) -> list[str]:
    """Lower-cased as the bill's values are.

    DuckDB does that to the bill, and for letters beyond ASCII its rules and Python's differ in a few places.
    """
    return [value.lower() if value.isascii() else _lower_case_in_duckdb(value) for value in values]


@cache
def _lower_case_in_duckdb(value: str) -> str:
    with duckdb.connect() as connection:
        [(lowered,)] = connection.execute("SELECT lower($1)", [value]).fetchall()
    return str(lowered)


class Dimensions(StrictModel):
    """The organisation's dimensions. The seven always exist; one without an entry is always NULL."""

    direct_by: tuple[str, ...] = ("team", "cost_center")
    dimensions: Mapping[str, Dimension] = {}

    @property
    def others(self) -> tuple[str, ...]:
        """The organisation's own dimensions, sorted."""
        return tuple(sorted(name for name in self.dimensions if name not in SEVEN))

    @property
    def names(self) -> tuple[str, ...]:
        """The seven, then the others."""
        return (*SEVEN, *self.others)

    @property
    def in_lookup_order(self) -> tuple[str, ...]:
        """The dimensions that have an entry, each after those that it is looked up by."""
        return tuple(name for name in self._lookup_graph().static_order() if name in self.dimensions)

    def canonical(self, name: str, values: Sequence[str]) -> list[str]:
        """What the dimension ``name`` makes of values that a source gives."""
        return self.dimensions.get(name, Dimension()).canonical(values)

    def _lookup_graph(self) -> graphlib.TopologicalSorter[str]:
        return graphlib.TopologicalSorter(
            {name: [lookup.dimension for lookup in self.dimensions[name].lookups] for name in sorted(self.dimensions)}
        )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Dimensions:
        refusals = [*self._wrong_names(), *self._wrong_lookups(), *self._wrong_aliases()]
        if refusals:
            raise refused(*refusals)
        return self

    def _wrong_names(self) -> Iterator[Refusal]:
        for name in self.dimensions:
            if not _NAME.fullmatch(name) or _TAKEN.fullmatch(name):
                yield Refusal(
                    f"{name!r} can't be the name of a dimension",
                    ("dimensions", name),
                    expected="lower-case letters, digits and _, a letter first; "
                    "not tags, account, dimensions, target_id or tag_1",
                    found=name,
                    remedy="rename the dimension",
                )
        for position, name in enumerate(self.direct_by):
            if name not in self.names:
                yield self._unknown(name, ("direct_by", position))
            elif name in self.direct_by[:position]:
                yield Refusal(
                    f"direct_by names {name!r} twice", ("direct_by", position), remedy=f"delete the second {name!r}"
                )

    def _wrong_lookups(self) -> Iterator[Refusal]:
        for name, dimension in self.dimensions.items():
            for position, source in enumerate(dimension.sources):
                if not isinstance(source, LookupSource):
                    continue
                at = ("dimensions", name, "sources", position, "lookup")
                if source.lookup.dimension not in self.names:
                    yield self._unknown(source.lookup.dimension, (*at, "dimension"))
                else:
                    yield from self._keys_that_meet(source.lookup, at)
        try:
            self._lookup_graph().prepare()
        except graphlib.CycleError as error:
            cycle = list(reversed(error.args[1]))
            yield Refusal(
                f"dimensions are looked up by each other: {' -> '.join(cycle)}",
                ("dimensions", cycle[0]),
                remedy="delete one of these lookups",
            )

    def _keys_that_meet(self, lookup: Lookup, at: tuple[str | int, ...]) -> Iterator[Refusal]:
        first: dict[str, str] = {}
        for key, value in zip(lookup.values, self.canonical(lookup.dimension, list(lookup.values)), strict=True):
            other = first.setdefault(value, key)
            if other != key:
                yield Refusal(
                    f"{other!r} and {key!r} are the same value of {lookup.dimension}: {value!r}",
                    (*at, "values", key),
                    remedy="keep one of them",
                )

    def _wrong_aliases(self) -> Iterator[Refusal]:
        for name, dimension in self.dimensions.items():
            for spelling, first, second in dimension.collisions():
                yield Refusal(
                    f"{spelling!r} is an alias of two values of {name}: {first!r} and {second!r}",
                    ("dimensions", name, "aliases", second),
                    remedy=f"write {spelling!r} under one of them; an alias doesn't lead to another alias",
                )

    def _unknown(self, name: str, at: tuple[str | int, ...]) -> Refusal:
        return Refusal(
            f"unknown dimension {name!r}",
            at,
            expected=", ".join(self.names),
            found=name,
            remedy=suggestion(name, self.names) or f"add {name!r} to {DIMENSIONS_FILE}",
        )


@dataclass(frozen=True)
class DimensionsReading:
    """What a dimensions file says: its dimensions, or their names and what is wrong."""

    dimensions: Dimensions | None
    names: frozenset[str]
    problems: tuple[RuleProblem, ...]


def load_dimensions(path: Path) -> Dimensions:
    """The dimensions of a YAML file. Raises RuleFilesError with all that is wrong in it."""
    return _loaded(read_dimensions(path, file=str(path)))


def parse_dimensions(text: str, *, file: str = DIMENSIONS_FILE) -> Dimensions:
    """The dimensions of YAML text, as :func:`load_dimensions`."""
    return _loaded(_reading(*parse_documents(text, file=file)))


def read_dimensions(path: Path, *, file: str) -> DimensionsReading:
    """The dimensions of a YAML file with its problems, for a reader that has other files to check too."""
    return _reading(*read_documents(path, file=file))


def _loaded(reading: DimensionsReading) -> Dimensions:
    if reading.dimensions is None:
        raise RuleFilesError(reading.problems)
    return reading.dimensions


def _reading(documents: list[YamlDocument], problems: list[RuleProblem]) -> DimensionsReading:
    if problems:
        return DimensionsReading(None, _names_written(documents), tuple(problems))
    if not documents:
        return DimensionsReading(Dimensions(), frozenset(SEVEN), ())
    first, *others = documents
    if others:
        refusal = Refusal("a second YAML document", remedy="delete the '---' and join the two under one 'dimensions:'")
        return DimensionsReading(None, _names_written(documents), (others[0].problem(refusal),))
    try:
        dimensions = Dimensions.model_validate(first.given, by_alias=True, by_name=False)
    except ValidationError as error:
        return DimensionsReading(None, _names_written(documents), tuple(problems_of(error, first, Dimensions)))
    return DimensionsReading(dimensions, frozenset(dimensions.names), ())


def _names_written(documents: Iterable[YamlDocument]) -> frozenset[str]:
    written = [document.value.get("dimensions") for document in documents if isinstance(document.value, dict)]
    return frozenset(SEVEN).union(*(names for names in written if isinstance(names, dict)))


def resolve_dimensions(
    connection: duckdb.DuckDBPyConnection,
    *,
    relation: str,
    tags_column: str,
    account_column: str | None,
    dimensions: Dimensions,
    into: str,
    tag_keys: Sequence[str] = (),
) -> None:
    """Creates the temporary table ``into``: one row for each distinct (tags, account) of a relation.

    Columns: tags (the text as it stands in ``tags_column``, NULL included), account (NULL without an
    ``account_column``), the seven, dimensions (JSON text of the others that have a value, keys sorted; NULL if none),
    and tag_1, tag_2, … with the values of ``tag_keys`` as they stand. Join it with IS NOT DISTINCT FROM.

    Tags are flat JSON text. A number or true is its JSON text; null, like a key that isn't there, is absent.
    ``relation``, ``tags_column`` and ``account_column`` are SQL; ``into`` is a plain name.
    Raises ApportionError for tags that are no JSON object.
    """
    combinations = f"{into}_combinations"
    account = f"CAST({account_column} AS VARCHAR)" if account_column else "CAST(NULL AS VARCHAR)"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {combinations} AS"
        f" SELECT DISTINCT CAST({tags_column} AS VARCHAR) AS tags, {account} AS account FROM {relation}"
    )
    _refuse_tags_that_are_no_object(connection, combinations, relation)
    keys = list(dict.fromkeys([*tag_keys, *_tag_keys_of(dimensions)]))
    pointers = ", ".join(literal(_json_pointer(key)) for key in keys)
    found = f"json_extract_string({_filled_sql('tags')}, [{pointers}])" if keys else "[]"
    values = "".join(f", found[{position}] AS tag_{position}" for position in range(1, len(keys) + 1))
    steps = [
        f"read_tags AS (SELECT tags, account, {found} AS found FROM {combinations})",
        f"tag_values AS (SELECT tags, account{values} FROM read_tags)",
    ]
    previous = "tag_values"
    columns = tag_columns(keys, table="before")
    for name in dimensions.in_lookup_order:
        entry = dimensions.dimensions[name]
        if entry.sources:
            steps.extend(_dimension_steps(name, entry, entry.sources, previous, columns, dimensions))
            previous = f"{name}_named"
    known = {name for name, entry in dimensions.dimensions.items() if entry.sources}
    asked = "".join(f", tag_{position}" for position in range(1, len(tag_keys) + 1))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {into} AS WITH {', '.join(steps)}"
        f" SELECT tags, account, {_dimension_selection(dimensions, known)}{asked} FROM {previous}"
    )
    connection.execute(f"DROP TABLE {combinations}")


def derive_dimensions(
    connection: duckdb.DuckDBPyConnection,
    *,
    relation: str,
    target: Sequence[str],
    dimensions: Dimensions,
    into: str,
) -> None:
    """Creates the temporary table ``into``: one row for each distinct target of a relation.

    ``relation`` (SQL) has a text column for each dimension of ``target``, named as the dimension. Columns of ``into``:
    target_id, the seven, dimensions (JSON text as in :func:`resolve_dimensions`). The target's dimensions come from it,
    those with a lookup that starts from one of them are looked up, one after another; every other is NULL. A target
    whose first value is NULL or empty has no id and no row.
    """
    values = ", ".join(f"nullif({identifier(name)}, '') AS {_value(name)}" for name in target)
    steps = [
        f"targets AS (SELECT DISTINCT {values} FROM {relation} WHERE nullif({identifier(target[0])}, '') IS NOT NULL)"
    ]
    previous = "targets"
    known = set(target)
    for name in dimensions.in_lookup_order:
        entry = dimensions.dimensions[name]
        usable = [
            source for source in entry.sources if isinstance(source, LookupSource) and source.lookup.dimension in known
        ]
        if usable and name not in target:
            steps.extend(_dimension_steps(name, entry, usable, previous, {}, dimensions))
            previous = f"{name}_named"
            known.add(name)
    target_identifier = target_id_sql([_value(name) for name in target])
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {into} AS WITH {', '.join(steps)}"
        f" SELECT {target_identifier} AS target_id, {_dimension_selection(dimensions, known)} FROM {previous}"
    )


def _refuse_tags_that_are_no_object(connection: duckdb.DuckDBPyConnection, combinations: str, relation: str) -> None:
    wrong = connection.execute(
        f"SELECT count(DISTINCT tags) AS wrong, min(tags) AS example FROM {combinations}"
        f" WHERE {_filled_sql('tags')} IS NOT NULL"
        " AND CASE WHEN json_valid(tags) THEN json_type(tags) NOT IN ('OBJECT', 'NULL') ELSE true END"
    ).fetchone()
    if wrong and wrong[0]:
        raise ApportionError(
            "tags that are no JSON object",
            where=relation,
            expected='flat JSON text, such as {"team":"search"}',
            found=f"{wrong[1][:200]} ({wrong[0]} different values like it)",
            remedy="correct the tags where the source is normalised",
        )


def _tag_keys_of(dimensions: Dimensions) -> list[str]:
    return [
        source.tag
        for entry in dimensions.dimensions.values()
        for source in entry.sources
        if isinstance(source, TagSource)
    ]


def _json_pointer(key: str) -> str:
    """A key as a JSON Pointer (RFC 6901), the one form of path that takes every key: dots, quotes and slashes too."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _filled_sql(text: str) -> str:
    """Text without the blanks around it, NULL when nothing is left. trim() with these blanks takes ten times as long."""
    return f"nullif(regexp_replace({text}, '^{_BLANK}+|{_BLANK}+$', '', 'g'), '')"


def _value(name: str) -> str:
    """The column of a dimension's value between the steps; prefixed, since a dimension may be called group or order."""
    return f"value_{name}"


def _dimension_steps(
    name: str,
    entry: Dimension,
    sources: Sequence[Source],
    previous: str,
    tags: Mapping[str, str],
    dimensions: Dimensions,
) -> list[str]:
    """The steps that add a dimension to the relation ``previous``: its value as read, then as aliases name it."""
    candidates: list[str] = []
    joins: list[str] = []
    for position, source in enumerate(sources):
        if isinstance(source, TagSource):
            candidates.append(_filled_sql(tags[source.tag]))
        else:
            key, pairs = _pairs_of(source, dimensions)
            candidates.append(f"source_{position}.result")
            joins.append(f" LEFT JOIN {_pairs_sql(pairs, f'source_{position}')} ON source_{position}.key = {key}")
    value = f"coalesce({', '.join(candidates)})" if len(candidates) > 1 else candidates[0]
    folded = f"lower({value})" if entry.fold_case else value
    read = f"SELECT before.*, {folded} AS {_value(name)} FROM {previous} AS before{''.join(joins)}"
    spellings = entry.spellings
    if not spellings:
        return [f"{name}_named AS ({read})"]
    return [
        f"{name}_read AS ({read})",
        f"{name}_named AS (SELECT before.* REPLACE (coalesce(alias.result, before.{_value(name)}) AS {_value(name)})"
        f" FROM {name}_read AS before"
        f" LEFT JOIN {_pairs_sql(spellings, 'alias')} ON alias.key = before.{_value(name)})",
    ]


def _pairs_of(source: AccountSource | LookupSource, dimensions: Dimensions) -> tuple[str, dict[str, str]]:
    """What a source of pairs is joined by, and its pairs, the keys as the column has them."""
    if isinstance(source, AccountSource):
        return "before.account", {key.strip(BLANKS): value.strip(BLANKS) for key, value in source.account.items()}
    lookup = source.lookup
    keys = dimensions.canonical(lookup.dimension, list(lookup.values))
    pairs = {key: value.strip(BLANKS) for key, value in zip(keys, lookup.values.values(), strict=True)}
    return f"before.{_value(lookup.dimension)}", pairs


def _pairs_sql(pairs: Mapping[str, str], name: str) -> str:
    rows = ", ".join(f"({literal(key)}, {literal(value)})" for key, value in pairs.items())
    return f"(VALUES {rows}) AS {name}(key, result)"


def _dimension_selection(dimensions: Dimensions, known: Iterable[str]) -> str:
    """The seven and the JSON text of the others, as the last select of a resolution names them."""
    known = set(known)
    seven = [f"{_value(name) if name in known else 'CAST(NULL AS VARCHAR)'} AS {name}" for name in SEVEN]
    members = [
        f"{literal(json.dumps(name) + ':')} || to_json({_value(name)})" for name in dimensions.others if name in known
    ]
    others = (
        f"nullif('{{' || concat_ws(',', {', '.join(members)}) || '}}', '{{}}')" if members else "CAST(NULL AS VARCHAR)"
    )
    return f"{', '.join(seven)}, {others} AS dimensions"


def target_id_sql(columns: Sequence[str]) -> str:
    """The SQL expression of a target's id from the SQL expressions of its dimensions, in the rule's order.

    NULL when the first is NULL or empty. The values joined by '/', NULL as empty; a backslash or '/' inside a value
    gets a backslash before it, as does the start of a value that begins with '__'.
    """
    parts = " || '/' || ".join(f"coalesce({_escaped_sql(column)}, '')" for column in columns)
    return f"CASE WHEN nullif({columns[0]}, '') IS NOT NULL THEN {parts} END"


def _escaped_sql(column: str) -> str:
    escaped = f"replace(replace({column}, '\\', '\\\\'), '/', '\\/')"
    return f"CASE WHEN starts_with({column}, '__') THEN '\\' || {escaped} ELSE {escaped} END"


def target_id(values: Sequence[str | None]) -> str | None:
    """A target's id from its values, as :func:`target_id_sql`."""
    if not values or not values[0]:
        return None
    return "/".join(_escaped(value or "") for value in values)


def _escaped(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("/", "\\/")
    return "\\" + escaped if value.startswith("__") else escaped


def parse_target_id(identifier: str) -> tuple[str | None, ...]:
    """The values of a target's id: the inverse of :func:`target_id`. Raises ValueError for a backslash at the end."""
    values: list[str] = [""]
    characters = iter(identifier)
    for character in characters:
        if character == "/":
            values.append("")
        elif character == "\\":
            following = next(characters, None)
            if following is None:
                raise ValueError(f"{identifier!r} ends with a backslash that escapes nothing")
            values[-1] += following
        else:
            values[-1] += character
    return tuple(value or None for value in values)


def dimension_columns(dimensions: Dimensions, *, table: str = "") -> dict[str, str]:
    """The SQL expression of every dimension over a table of :func:`resolve_dimensions` or :func:`derive_dimensions`."""
    prefix = f"{table}." if table else ""
    return {name: f"{prefix}{name}" for name in SEVEN} | {
        name: f"json_extract_string({prefix}dimensions, '/{name}')" for name in dimensions.others
    }


def tag_columns(tag_keys: Sequence[str], *, table: str = "") -> dict[str, str]:
    """The SQL expression of every tag over a table that :func:`resolve_dimensions` made with the same ``tag_keys``."""
    prefix = f"{table}." if table else ""
    return {key: f"{prefix}tag_{position}" for position, key in enumerate(tag_keys, start=1)}


def fingerprint(dimensions: Dimensions) -> str:
    """The SHA-256 of what the dimensions say, however they are written."""
    canonical = dimensions.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return hashlib.sha256(
        json.dumps(canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    ).hexdigest()
