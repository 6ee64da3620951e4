"""Files in FOCUS, from anyone: single files, or all that lie in a folder, a bucket, a container.

Nothing beside such files says which billing periods they hold, so that each is read once, when it is new. What the reading
told is kept beside what landed, so that a night on which nothing changed lists and reads nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from pipelines.config import FocusSource
from pipelines.errors import DeliveryError
from pipelines.lake.database import connect
from pipelines.sources.delivered_files import billing_periods, file_columns
from pipelines.sources.deliveries import (
    NOTHING_LANDED,
    DeliveredFile,
    Delivery,
    Landed,
    content_version,
    local_file,
    signature_of,
)
from pipelines.sources.files import is_beside_data, is_csv
from pipelines.sources.findings import Finding, Sample, cheapest, missing
from pipelines.sources.focus_columns import dialect
from pipelines.sources.focus_relation import LAYOUT, layout_of
from pipelines.sources.stores import FolderStore, Store, StoredObject, open_store, stored_file

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
# Ends what a store pins and begins what was read: the dialect and the billing periods.
_READ = " read as "


@dataclass(frozen=True)
class _Content:
    """What a file holds: the version of FOCUS it is of, and the billing periods of its rows, in order."""

    dialect: str
    periods: tuple[str, ...]

    def told(self) -> str:
        """``focus-1.2 of 2026-08,2026-09``."""
        return f"{self.dialect} of {','.join(self.periods)}"

    @classmethod
    def of_pin(cls, pin: str) -> _Content:
        """The content that a pin tells."""
        dialect_, _, periods = pin.rpartition(_READ)[2].partition(" of ")
        return cls(dialect_, tuple(filter(None, periods.split(","))))


def look(source: FocusSource, landed: Landed = NOTHING_LANDED) -> dict[str, str]:
    """Billing period to a hash over the names, sizes and pins of the files that hold its rows.

    One listing. Files that are new are read, because only their rows name their periods.
    """
    files = _files(source, landed)
    return {period: signature_of(_of_period(files, period)) for period in _periods(files)}


def deliveries(source: FocusSource, period: str | None = None, landed: Landed = NOTHING_LANDED) -> list[Delivery]:
    """One delivery for each billing period that the files' rows name, in order of period, or of one period alone.

    ``details``: ``dialect`` (focus-0.5 to focus-1.4; the newest where files differ), ``format`` (csv, parquet,
    mixed) and ``rows`` (of-period where one of the files holds rows of other periods too, else all).

    Raises DeliveryError for a location without such files or with the manifests of a cloud's own export, a file that isn't
    there, can't be read, lacks columns we can't do without, or has rows without a billing period; ObjectMoved for one that
    changed meanwhile.
    """
    files = _files(source, landed)
    return [_delivery(source, month, _of_period(files, month)) for month in _periods(files) if period in (None, month)]


def check(source: FocusSource) -> list[Finding]:
    """Try what a pull needs: list the files, and read the columns of the smallest."""
    place = source.location or ", ".join(str(file) for file in source.files)
    try:
        listed = _listed(source)
    except DeliveryError as error:
        return [missing(f"list {place}", error)]
    size = sum(file.size or 0 for file in listed)
    findings = [Finding(f"list {place}", "works", f"{len(listed)} file(s), {size:,} bytes")]
    smallest = min(listed, key=lambda file: (file.size or 0, file.name))
    subject = f"read {smallest.where}"
    try:
        with _errors_name(source), _readable(smallest) as path, connect() as connection:
            headers = [column.header for column in file_columns(connection, LAYOUT, path, smallest.where)]
    except DeliveryError as error:
        return [*findings, missing(subject, error)]
    return [*findings, Finding(subject, "works", f"{dialect(headers)}, {len(headers)} columns")]


def sample(source: FocusSource) -> Sample:
    """One of the files."""
    return Sample(source.kind, cheapest(_listed(source)))


def _files(source: FocusSource, landed: Landed) -> list[DeliveredFile]:
    """The source's files, each with a pin that tells its content."""
    known, read, files = landed.read, {}, []
    for file in _listed(source):
        key = f"{file.name}\t{file.pin}"
        read[key] = known.get(key) or _read(source, file).told()
        files.append(replace(file, pin=f"{file.pin}{_READ}{read[key]}"))
    landed.note_read(read)
    if not _periods(files):
        raise DeliveryError(
            f"{source.name}: the files have no row, so that they belong to no billing period.",
            where=", ".join(file.where for file in files),
            remedy="have whoever made them deliver them again, or take the source out of the configuration",
        )
    return files


def _read(source: FocusSource, file: DeliveredFile) -> _Content:
    with _errors_name(source), _readable(file) as path, connect() as connection:
        headers = [column.header for column in file_columns(connection, LAYOUT, path, file.where)]
        periods = billing_periods(connection, layout_of(connection, path, file.where), path, file.where)
    return _Content(dialect(headers), tuple(periods))


@contextmanager
def _readable(file: DeliveredFile) -> Iterator[Path]:
    """The file on this machine: its own path, or a copy for as long as it is read."""
    if file.path:
        yield file.path
        return
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / f"delivered{_suffix(file.name)}"
        file.save(copy)
        yield copy


def _listed(source: FocusSource) -> list[DeliveredFile]:
    return _stored_files(source) if source.location else _bare_files(source)


def _bare_files(source: FocusSource) -> list[DeliveredFile]:
    names = [path.name for path in source.files]
    # Files of one name from several folders are told apart by the folders.
    is_named = len(set(names)) == len(names)
    files = []
    for path in source.files:
        if not path.is_file() or not _suffix(path.name):
            raise DeliveryError(
                f"{source.name}: a file of the configuration isn't there, or is none that we read.",
                where=str(path),
                expected=f"a file whose name ends in {', '.join(_SUFFIXES)}",
                remedy="correct 'files:' in the configuration",
            )
        files.append(local_file(path, path.name if is_named else path.as_posix().lstrip("/")))
    return files


def _stored_files(source: FocusSource) -> list[DeliveredFile]:
    store = open_store(source)
    with _errors_name(source):
        objects = store.objects()
    _refuse_exports(source, store, objects)
    data = [listed for listed in objects if not is_beside_data(listed.name)]
    found = [listed for listed in data if _suffix(listed.name)]
    if not found:
        raise DeliveryError(
            f"{source.name}: no file in FOCUS found.",
            where=store.address,
            expected=f"files whose names end in {', '.join(_SUFFIXES)}, here or below",
            found=", ".join(listed.name for listed in objects[:10]) or "nothing",
            remedy="correct 'location' in the configuration; unpack archives",
        )
    if unknown := [listed.name for listed in data if not _suffix(listed.name)]:
        raise DeliveryError(
            f"{source.name}: {len(unknown)} of the location's files are none that we read.",
            where=f"{store.address.rstrip('/')}/{unknown[0]}",
            expected=f"files whose names end in {', '.join(_SUFFIXES)}, in small or capital letters, here or below",
            found=", ".join(unknown[:10]),
            remedy="if they are part of the bill, write them in one of these formats (unpack archives); else move them elsewhere, "
            "so that nobody takes them for counted",
        )
    return [_delivered(store, listed) for listed in found]


def _delivered(store: Store, found: StoredObject) -> DeliveredFile:
    if isinstance(store, FolderStore):
        return local_file(store.root / found.name, found.name)
    return stored_file(store, found, found.name)


def _refuse_exports(source: FocusSource, store: Store, objects: Sequence[StoredObject]) -> None:
    """A cloud's own export keeps superseded files beside the newest, and its manifests say which count."""
    for found in objects:
        name = PurePosixPath(found.name).name.lower()
        kinds: Mapping[str, Callable[[str], bool]] = {
            "aws-cur": lambda name: name.endswith("-manifest.json"),
            "azure-cost": lambda name: name in ("manifest.json", "_manifest.json"),
        }
        for kind, is_manifest in kinds.items():
            if is_manifest(name):
                raise DeliveryError(
                    f"{source.name}: the location holds a cloud's own export, whose files may be superseded.",
                    where=f"{store.address}/{found.name}",
                    expected="files that all count",
                    found="a manifest, which says which of them count",
                    remedy=f"set 'kind: {kind}' for this source; it reads native FOCUS exports by their manifests",
                )


def _delivery(source: FocusSource, period: str, files: Sequence[DeliveredFile]) -> Delivery:
    contents = [_Content.of_pin(file.pin) for file in files]
    formats = {"csv" if is_csv(Path(file.name)) else "parquet" for file in files}
    return Delivery(
        source_name=source.name,
        source_kind=source.kind,
        period=period,
        version=content_version(files),
        signature=signature_of(files),
        files=tuple(files),
        details={
            "dialect": max(content.dialect for content in contents),
            "format": formats.pop() if len(formats) == 1 else "mixed",
            "rows": "all" if all(len(content.periods) == 1 for content in contents) else "of-period",
        },
    )


def _periods(files: Sequence[DeliveredFile]) -> list[str]:
    return sorted({period for file in files for period in _Content.of_pin(file.pin).periods})


def _of_period(files: Sequence[DeliveredFile], period: str) -> list[DeliveredFile]:
    return [file for file in files if period in _Content.of_pin(file.pin).periods]


def _suffix(name: str) -> str:
    return next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")


@contextmanager
def _errors_name(source: FocusSource) -> Iterator[None]:
    """Put the source's name into errors of parts that don't know it."""
    try:
        yield
    except DeliveryError as error:
        raise type(error)(
            f"{source.name}: {error.problem[0].lower()}{error.problem[1:]}",
            where=error.where,
            expected=error.expected,
            found=error.found,
            remedy=error.remedy,
        ) from error
