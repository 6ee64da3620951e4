"""Rules: how a pool of shared cost is found and divided. Read from YAML, checked before anything runs.

The language is that of ``docs/rules.md``; the meaning of every key is fixed by the allocation's order and arithmetic.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    StringConstraints,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipelines.allocation.conditions import Condition, comparisons, unknown_dimension
from pipelines.allocation.dimensions import (
    DIMENSIONS_FILE,
    Dimensions,
    DimensionsReading,
    parse_target_id,
    read_dimensions,
    target_id,
)
from pipelines.allocation.rule_files import (
    Place,
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
from pipelines.errors import RuleError

DRIVERS: tuple[str, ...] = ("gpu_hours_held", "gpu_hours_active", "tokens_weighted", "tokens_total", "requests")
"""What a key can divide by."""

TOKEN_DRIVERS: frozenset[str] = frozenset({"tokens_weighted", "tokens_total", "requests"})
"""The drivers that come from usage.tokens: a rule that reads one claims token rows by their endpoint."""

GAP = "__gap__"
IDLE = "__idle__"
UNALLOCATED = "__unallocated__"
RESERVED_TARGETS: tuple[str, ...] = (GAP, IDLE, UNALLOCATED)
"""Where cost lies that no target bears, in the order of the vector."""

State = Literal["showback", "shadow", "chargeback"]
Grain = Literal["hour", "day", "month"]
GapPolicy = Literal["own_line", "in_key"]
HeldIdlePolicy = Literal["in_key", "holder"]
ZeroWeightPolicy = Literal["renormalise", "unallocated", "even", "error"]

_OWNER = "owner:"
_UNHELD = ("own_line", "proportional", "even")


def _whole_number(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,9}", value):
        return int(value)
    raise refused(
        Refusal(
            "{key} isn't a whole number",
            expected="a whole number, such as 100",
            found=str(value),
            remedy="write digits",
        )
    )


def _day(value: object) -> object:
    if isinstance(value, date):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise refused(
        Refusal(
            "{key} isn't a date",
            expected="a day of the calendar, YYYY-MM-DD",
            found=str(value),
            remedy="correct the date",
        )
    )


def _exact(*, places: int, signed: bool) -> Callable[[object], object]:
    """Reads decimal text exactly: plain digits, at most ``places`` after the point; never a float."""
    pattern = re.compile(r"-?[0-9]+(\.[0-9]+)?" if signed else r"[0-9]+(\.[0-9]+)?")

    def read(value: object) -> object:
        text = f"{value:f}" if isinstance(value, Decimal) and value.is_finite() else value
        text = str(text) if isinstance(text, int) and not isinstance(text, bool) else text
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise refused(
                Refusal(
                    "{key} isn't an exact decimal number",
                    expected="decimal text" + ("" if signed else " that isn't negative") + ', such as "0.5"',
                    found=str(value),
                    remedy="write it in plain digits, without exponent, blanks or separators",
                )
            )
        number = Decimal(text)
        if -int(number.as_tuple().exponent) > places:
            raise refused(
                Refusal(
                    f"{{key}} has more than {places} decimal places",
                    expected=f"at most {places} places",
                    found=text,
                    remedy=f"round it to {places} places",
                )
            )
        return number

    return read


def _known_driver(name: str) -> str:
    if name not in DRIVERS:
        raise refused(
            Refusal(
                f"unknown driver {name!r}",
                expected=", ".join(DRIVERS),
                found=name,
                remedy=suggestion(name, DRIVERS) or "write one of these",
            )
        )
    return name


def _no_weight_of_zero(weight: Decimal) -> Decimal:
    if weight == 0:
        raise refused(Refusal("{key} is 0", expected="a weight above 0", found=str(weight), remedy="delete the entry"))
    return weight.normalize()


def _rule_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise refused(
            Refusal(
                f"{name!r} can't be the name of a rule",
                expected="letters, digits, '.', '_' and '-', a letter or digit first",
                found=name,
                remedy="rename the rule",
            )
        )
    return name


def _unheld_policy(policy: str) -> str:
    if policy in _UNHELD or (policy.startswith(_OWNER) and len(policy) > len(_OWNER)):
        return policy
    raise refused(
        Refusal(
            f"idle.unheld can't be {policy!r}",
            expected="own_line, proportional, even, or owner:NAME with a target",
            found=policy,
            remedy=suggestion(policy, _UNHELD) or "write who owns the idle hours, such as owner:platform",
        )
    )


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Day = Annotated[date, BeforeValidator(_day)]
Money = Annotated[Decimal, BeforeValidator(_exact(places=18, signed=True))]
Measure = Annotated[Decimal, BeforeValidator(_exact(places=12, signed=False))]
Weight = Annotated[Decimal, BeforeValidator(_exact(places=6, signed=False)), AfterValidator(_no_weight_of_zero)]
Driver = Annotated[str, AfterValidator(_known_driver)]
Name = Annotated[str, AfterValidator(_rule_name)]
Text = Annotated[str, StringConstraints(min_length=1)]


def _repeats(values: Sequence[str], at: Place, what: str) -> Iterator[Refusal]:
    for position, value in enumerate(values):
        if value in values[:position]:
            yield Refusal(f"{what} names {value!r} twice", (*at, position), remedy=f"delete the second {value!r}")


def _fallback_repeats(driver: str, fallback: Sequence[str], at: Place) -> Iterator[Refusal]:
    yield from _repeats(fallback, at, "the fallback")
    if driver in fallback:
        yield Refusal(
            f"{driver!r} falls back to itself",
            (*at, fallback.index(driver)),
            remedy=f"delete {driver!r} from its fallback",
        )


class BlendEntry(StrictModel):
    """One driver of a key: its weight, and what stands for it where it is missing."""

    driver: Driver
    weight: Weight
    fallback: tuple[Driver, ...] = ()

    @model_validator(mode="after")
    def _falls_back_to_others(self) -> BlendEntry:
        if refusals := list(_fallback_repeats(self.driver, self.fallback, ("fallback",))):
            raise refused(*refusals)
        return self


class Blend(StrictModel):
    """A weighted mean of drivers, each normalised before mixing."""

    blend: Annotated[tuple[BlendEntry, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _weighs_one(self) -> Blend:
        refusals: list[Refusal] = []
        total = sum((entry.weight for entry in self.blend), Decimal(0))
        if total != 1:
            refusals.append(
                Refusal(
                    "the weights of the blend don't sum to 1",
                    ("blend",),
                    expected="1",
                    found=f"{' + '.join(f'{entry.weight:f}' for entry in self.blend)} = {total:f}",
                    remedy="correct the weights; thirds are written 0.333333, 0.333333, 0.333334",
                )
            )
        drivers = [entry.driver for entry in self.blend]
        for position, driver in enumerate(drivers):
            if driver in drivers[:position]:
                refusals.append(
                    Refusal(
                        f"the blend has {driver!r} twice",
                        ("blend", position, "driver"),
                        remedy="join the two entries and add their weights",
                    )
                )
        if refusals:
            raise refused(*refusals)
        return self


class SingleDriver(StrictModel):
    """One driver divides everything."""

    driver: Driver
    fallback: tuple[Driver, ...] = ()

    @model_validator(mode="after")
    def _falls_back_to_others(self) -> SingleDriver:
        if refusals := list(_fallback_repeats(self.driver, self.fallback, ("fallback",))):
            raise refused(*refusals)
        return self


class EvenTargets(StrictModel):
    """The targets of an even division, as ids."""

    targets: Annotated[tuple[Text, ...], Field(min_length=1)]


class Even(StrictModel):
    """Equal parts for named targets."""

    even: EvenTargets


class Direct(StrictModel):
    """Everything to one target, as an id."""

    direct: Text


def _method_form(value: Any) -> str | None:
    if isinstance(value, StrictModel):
        return type(value).__name__
    if isinstance(value, Mapping):
        for key, form in (("blend", "Blend"), ("driver", "SingleDriver"), ("even", "Even"), ("direct", "Direct")):
            if key in value:
                return form
    return None


Method = Annotated[
    (
        Annotated[Blend, Tag("Blend")]
        | Annotated[SingleDriver, Tag("SingleDriver")]
        | Annotated[Even, Tag("Even")]
        | Annotated[Direct, Tag("Direct")]
    ),
    Discriminator(
        _method_form,
        custom_error_type="method_form",
        custom_error_message="a mapping with one of blend, driver, even, direct",
    ),
]


class RuleTestGiven(StrictModel):
    """The one window of a rule's own test: a cost, the hours of the pool, and the drivers by target id.

    A driver that isn't given is missing. ``capacity`` and ``gap`` are GPU-hours; without a capacity there is no idle.
    """

    cost: Money
    capacity: Measure | None = None
    gap: Measure | None = None
    gpu_hours_held: Mapping[str, Measure] | None = None
    gpu_hours_active: Mapping[str, Measure] | None = None
    tokens_weighted: Mapping[str, Measure] | None = None
    tokens_total: Mapping[str, Measure] | None = None
    requests: Mapping[str, Measure] | None = None

    @property
    def drivers(self) -> dict[str, Mapping[str, Decimal]]:
        """The values of every driver that is given."""
        given = {name: getattr(self, name) for name in DRIVERS}
        return {name: values for name, values in given.items() if values is not None}


class RuleTest(StrictModel):
    """A worked case that a rule carries: what is given, and what each target, reserved ones too, must get."""

    given: RuleTestGiven
    expect: Annotated[Mapping[str, Money], Field(min_length=1)]

    @model_validator(mode="after")
    def _expects_the_whole_cost(self) -> RuleTest:
        total = sum(self.expect.values(), Decimal(0))
        if total != self.given.cost:
            raise refused(
                Refusal(
                    "the expected parts don't sum to the cost",
                    ("expect",),
                    expected=f"{self.given.cost:f}",
                    found=f"{' + '.join(f'{part:f}' for part in self.expect.values())} = {total:f}",
                    remedy="correct the parts, or add those of __gap__, __idle__ and __unallocated__",
                )
            )
        return self


class Rule(StrictModel):
    """A pool of charges and how each of them is divided. Keys left out have the defaults given here.

    ``valid_from`` is the first day, ``valid_to`` the first day after; both are of the charge's period.
    ``name`` is also the pool's id.
    """

    name: Name = Field(validation_alias="rule", serialization_alias="rule")
    priority: WholeNumber
    valid_from: Day
    valid_to: Day | None = None
    state: State
    pool: Condition = Field(validation_alias="pool.where", serialization_alias="pool.where")
    grain: Grain
    target: Annotated[tuple[str, ...], Field(min_length=1)]
    method: Method
    gap: GapPolicy = "own_line"
    idle_unheld: Annotated[str, AfterValidator(_unheld_policy)] = Field(
        default="own_line", validation_alias="idle.unheld", serialization_alias="idle.unheld"
    )
    idle_held: HeldIdlePolicy = Field(default="in_key", validation_alias="idle.held", serialization_alias="idle.held")
    on_zero_weight: ZeroWeightPolicy = "renormalise"
    endpoints: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    tests: tuple[RuleTest, ...] = ()

    _text: str = PrivateAttr(default="")
    _file: str = PrivateAttr(default="")
    _line: int = PrivateAttr(default=0)

    @property
    def text(self) -> str:
        """The rule as it was written; empty for a rule that was made in Python."""
        return self._text

    @property
    def file(self) -> str:
        """The file, as a path below the rules folder."""
        return self._file

    @property
    def line(self) -> int:
        """The line in which the rule starts, from 1."""
        return self._line

    @property
    def blend(self) -> tuple[BlendEntry, ...]:
        """The entries of the key: a single driver is one of weight 1; an even or direct rule has none."""
        if isinstance(self.method, Blend):
            return self.method.blend
        if isinstance(self.method, SingleDriver):
            return (BlendEntry(driver=self.method.driver, weight=Decimal(1), fallback=self.method.fallback),)
        return ()

    @property
    def target_ids(self) -> tuple[str, ...]:
        """The targets that the method itself names: those of even, the one of direct; none where drivers find them."""
        if isinstance(self.method, Even):
            return self.method.even.targets
        return (self.method.direct,) if isinstance(self.method, Direct) else ()

    @property
    def idle_owner(self) -> str | None:
        """The target id that owner:NAME gives the unheld idle to."""
        return self.idle_unheld.removeprefix(_OWNER) if self.idle_unheld.startswith(_OWNER) else None

    @property
    def drivers(self) -> tuple[str, ...]:
        """Every driver that the key can read, fallbacks included, in the order of DRIVERS."""
        read = {name for entry in self.blend for name in (entry.driver, *entry.fallback)}
        return tuple(name for name in DRIVERS if name in read)

    @property
    def reads_tokens(self) -> bool:
        """Whether a driver, or a fallback, comes from usage.tokens."""
        return not TOKEN_DRIVERS.isdisjoint(self.drivers)

    def applies_on(self, day: date) -> bool:
        """Whether the rule is valid on a day."""
        return self.valid_from <= day and (self.valid_to is None or day < self.valid_to)

    @property
    def rule_hash(self) -> str:
        """The SHA-256 of what the rule says: not of how it is written, where, nor of its tests.

        Keys that have their default value are left out, so that a key added to the language later changes no hash.
        """
        canonical = self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"tests"})
        return hashlib.sha256(
            json.dumps(canonical, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
        ).hexdigest()

    @model_validator(mode="before")
    @classmethod
    def _open_pool_and_idle(cls, given: Any) -> Any:
        """Reads ``pool: {where: …}`` as the key pool.where, ``idle: {unheld: …}`` as idle.unheld."""
        if not isinstance(given, Mapping):
            return given
        opened: dict[str, Any] = {}
        for key, value in given.items():
            if key == "idle" or (key == "pool" and "pool.where" not in given):
                if not isinstance(value, Mapping):
                    opened[key] = value
                else:
                    opened.update({f"{key}.{inner}": item for inner, item in value.items() if item is not None})
            else:
                opened[key] = value
        return opened

    @field_validator("target")
    @classmethod
    def _target_of_known_dimensions(cls, target: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        refusals = [
            *(
                refusal
                for position, name in enumerate(target)
                for refusal in unknown_dimension(name, info, at=(position,))
            ),
            *_repeats(target, (), "the target"),
        ]
        if refusals:
            raise refused(*refusals)
        return target

    @model_validator(mode="after")
    def _agrees_with_itself(self, info: ValidationInfo) -> Rule:
        refusals = [*self._wrong_dates(), *self._wrong_endpoints(), *self._wrong_targets(info)]
        if refusals:
            raise refused(*refusals)
        return self

    def _wrong_dates(self) -> Iterator[Refusal]:
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            yield Refusal(
                "the rule ends before it starts",
                ("valid_to",),
                expected=f"a day after valid_from, {self.valid_from}",
                found=str(self.valid_to),
                remedy="valid_to is the first day on which the rule is no longer valid; correct it or delete it",
            )

    def _wrong_endpoints(self) -> Iterator[Refusal]:
        if self.endpoints is None:
            return
        yield from _repeats(self.endpoints, ("endpoints",), "endpoints")
        if not self.reads_tokens:
            yield Refusal(
                "endpoints say which token rows feed the rule, but no driver of it reads tokens",
                ("endpoints",),
                remedy=f"delete endpoints, or use one of {', '.join(sorted(TOKEN_DRIVERS))}",
            )

    def _wrong_targets(self, info: ValidationInfo) -> Iterator[Refusal]:
        dimensions: Dimensions | None = (info.context or {}).get("dimensions")
        if isinstance(self.method, Even):
            yield from _repeats(self.target_ids, ("method", "even", "targets"), "even")
        named: list[tuple[str, Place]] = []
        if isinstance(self.method, Direct):
            named.append((self.method.direct, ("method", "direct")))
        elif isinstance(self.method, Even):
            named.extend(
                (name, ("method", "even", "targets", position)) for position, name in enumerate(self.target_ids)
            )
        if self.idle_owner is not None:
            named.append((self.idle_owner, ("idle", "unheld")))
        for name, at in named:
            yield from self._wrong_target(name, at, dimensions)
        for position, test in enumerate(self.tests):
            at = ("tests", position)
            for name in test.expect:
                if name not in RESERVED_TARGETS:
                    yield from self._wrong_target(name, (*at, "expect", name), dimensions)
            for driver, values in test.given.drivers.items():
                for name in values:
                    if name != UNALLOCATED:
                        yield from self._wrong_target(name, (*at, "given", driver, name), dimensions)

    def _wrong_target(self, name: str, at: Place, dimensions: Dimensions | None) -> Iterator[Refusal]:
        if name.startswith("__"):
            yield Refusal(
                f"the target name {name!r} is reserved",
                at,
                expected="the name of a target of yours",
                found=name,
                remedy=f"a value of yours that starts with two underscores is written \\{name}",
            )
            return
        try:
            values = parse_target_id(name)
        except ValueError as error:
            yield Refusal(str(error), at, found=name, remedy="write a backslash of the value twice")
            return
        if len(values) != len(self.target) or values[0] is None:
            yield Refusal(
                f"the target {name!r} doesn't name {' / '.join(self.target)}",
                at,
                expected=f"{len(self.target)} value(s) joined by '/', the first not empty",
                found=name,
                remedy="write a '/' or backslash that belongs to a value with a backslash before it",
            )
            return
        if dimensions is not None:
            values = tuple(
                dimensions.canonical(dimension, [value])[0] if value else None
                for dimension, value in zip(self.target, values, strict=True)
            )
        canonical = target_id(values)
        if canonical != name:
            yield Refusal(
                f"no charge or measurement ever has the target {name!r}",
                at,
                expected=canonical or "",
                found=name,
                remedy=f"write {canonical!r}: this is what {DIMENSIONS_FILE} and the escapes make of it",
            )


class RuleSet(StrictModel):
    """The rules in the order in which they are tried, and the dimensions they speak of."""

    rules: tuple[Rule, ...] = ()
    dimensions: Dimensions = Dimensions()

    @field_validator("rules")
    @classmethod
    def _by_priority(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(sorted(rules, key=lambda rule: rule.priority))


def load_rule_set(folder: Path) -> RuleSet:
    """The rules of every YAML file below a folder, and the dimensions of its dimensions.yaml.

    A file has a rule, or several divided by ``---``. Files and folders whose name starts with a dot are left out. An
    empty folder gives no rules: everything is unallocated.

    Raises RuleError when the folder doesn't exist, RuleFilesError with all problems of all files.
    """
    if not folder.is_dir():
        raise RuleError(
            "the folder of the allocation rules doesn't exist",
            where=str(folder),
            remedy="correct 'rules' in the configuration, or create the folder; an empty one allocates nothing",
        )
    reading = DimensionsReading(Dimensions(), frozenset(Dimensions().names), ())
    documents: list[YamlDocument] = []
    problems: list[RuleProblem] = []
    for path in _rule_files(folder):
        file = path.relative_to(folder).as_posix()
        if file == DIMENSIONS_FILE:
            reading = read_dimensions(path, file=str(path))
            problems.extend(reading.problems)
        elif path.stem == Path(DIMENSIONS_FILE).stem:
            problems.append(
                RuleProblem(
                    str(path),
                    1,
                    "dimensions in a place where they aren't read",
                    remedy=f"move it to {folder / DIMENSIONS_FILE}",
                )
            )
        else:
            read, wrong = read_documents(path, file=str(path))
            documents.extend(read)
            problems.extend(wrong)
    rules = _checked(documents, reading, problems, folder)
    return RuleSet(rules=rules, dimensions=reading.dimensions or Dimensions())


def parse_rules(text: str, *, file: str = "rule.yaml", dimensions: Dimensions | None = None) -> tuple[Rule, ...]:
    """The rules of YAML text, in its order, checked as :func:`load_rule_set` checks them."""
    documents, problems = parse_documents(text, file=file)
    known = dimensions or Dimensions()
    return _checked(documents, DimensionsReading(known, frozenset(known.names), ()), problems, Path())


def tags_mentioned(rule_set: RuleSet) -> tuple[str, ...]:
    """Every tag key that a condition of the rules reads, sorted."""
    return tuple(
        sorted(
            {
                comparison.tag
                for rule in rule_set.rules
                for comparison in comparisons(rule.pool)
                if comparison.tag is not None
            }
        )
    )


def _rule_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in (".yaml", ".yml")
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _checked(
    documents: Sequence[YamlDocument], reading: DimensionsReading, problems: Sequence[RuleProblem], folder: Path
) -> tuple[Rule, ...]:
    """The rules of the documents. Raises RuleFilesError with the given problems and those found here."""
    found = list(problems)
    rules: list[tuple[Rule, YamlDocument]] = []
    context = {"dimension_names": reading.names, "dimensions": reading.dimensions}
    for document in documents:
        try:
            rule = Rule.model_validate(document.given, by_alias=True, by_name=False, context=context)
        except ValidationError as error:
            found.extend(problems_of(error, document, Rule))
        else:
            rules.append((_with_origin(rule, document, folder), document))
    found.extend(_same_twice(documents, "rule", "the name of another rule", "rename one of them"))
    found.extend(_same_twice(documents, "priority", "the priority of another rule", "give each its own"))
    found.extend(_endpoints_claimed_twice(rules))
    if found:
        raise RuleFilesError(found)
    return tuple(rule for rule, _ in rules)


def _with_origin(rule: Rule, document: YamlDocument, folder: Path) -> Rule:
    path = Path(document.file)
    rule._text = document.text
    rule._file = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else document.file
    rule._line = document.line
    return rule


def _same_twice(documents: Sequence[YamlDocument], key: str, problem: str, remedy: str) -> Iterator[RuleProblem]:
    first: dict[str, RuleProblem] = {}
    for document in documents:
        value = document.value.get(key) if isinstance(document.value, dict) else None
        if not isinstance(value, str):
            continue
        value = str(int(value)) if re.fullmatch(r"-?[0-9]{1,9}", value) else value
        here = document.problem(Refusal(f"{value!r} is also {problem}", (key,), remedy=remedy))
        other = first.setdefault(value, here)
        if other is not here:
            yield RuleProblem(here.file, here.line, here.problem, found=f"{value} in {other.where}", remedy=remedy)


def _endpoints_claimed_twice(rules: Sequence[tuple[Rule, YamlDocument]]) -> Iterator[RuleProblem]:
    """Token rows feed one rule: rules that are valid at the same time can't share an endpoint, nor all the rest."""
    readers = [(rule, document) for rule, document in rules if rule.reads_tokens]
    for position, (rule, document) in enumerate(readers):
        for other, _ in readers[:position]:
            if not _overlap(rule, other):
                continue
            if rule.endpoints is None and other.endpoints is None:
                yield document.problem(
                    Refusal(
                        f"the rules {other.name!r} and {rule.name!r} both read all token rows",
                        ("method",),
                        expected="each token row feeds one rule",
                        remedy="give at least one of them endpoints: [...]",
                    )
                )
            for endpoint in rule.endpoints or ():
                if endpoint in (other.endpoints or ()):
                    yield document.problem(
                        Refusal(
                            f"the endpoint {endpoint!r} feeds the rules {other.name!r} and {rule.name!r}",
                            ("endpoints", (rule.endpoints or ()).index(endpoint)),
                            expected="each token row feeds one rule",
                            remedy="delete it from one of them",
                        )
                    )


def _overlap(one: Rule, other: Rule) -> bool:
    return (one.valid_to is None or other.valid_from < one.valid_to) and (
        other.valid_to is None or one.valid_from < other.valid_to
    )
