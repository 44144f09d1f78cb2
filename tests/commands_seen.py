"""Hold every command that goes to MongoDB to what MongoDB 4.0 has: commands, their options, stages and operators.

Source: the manual of MongoDB 4.0, sections "Database Commands" and "Operators". What is not listed is refused, be it
newer or only not used yet: look it up there, then add it. `tests/conftest.py` listens in every test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pymongo.monitoring import CommandListener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

    Document = Mapping[str, Any]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


EVERY_COMMAND = _names("$db $clusterTime $readPreference lsid txnNumber maxTimeMS readConcern writeConcern")
COMMANDS = {
    "aggregate": _names("pipeline cursor allowDiskUse hint collation bypassDocumentValidation explain"),
    "buildInfo": _names(""),
    "collMod": _names("index"),
    "collStats": _names("scale"),
    "count": _names("query limit skip hint"),
    "createIndexes": _names("indexes"),
    "dbStats": _names("scale"),
    "delete": _names("deletes ordered"),
    "distinct": _names("key query collation"),
    "drop": _names(""),
    "dropDatabase": _names("comment"),  # pymongo sends it empty, and supports 4.0
    "endSessions": _names(""),
    "explain": _names("verbosity"),
    "find": _names("filter projection sort skip limit batchSize singleBatch hint min max returnKey collation"),
    "getMore": _names("collection batchSize"),
    "insert": _names("documents ordered bypassDocumentValidation"),
    "killCursors": _names("cursors"),
    "listCollections": _names("filter nameOnly cursor"),
    "listIndexes": _names("cursor"),
    "ping": _names(""),
    "serverStatus": _names(""),
    "update": _names("updates ordered bypassDocumentValidation"),
}
UPDATE = _names("q u upsert multi collation arrayFilters")
DELETE = _names("q limit collation")
INDEX = _names("key name unique expireAfterSeconds background sparse partialFilterExpression")
QUERY_OPERATORS = _names(
    "$eq $ne $gt $gte $lt $lte $in $nin $and $or $nor $not $exists $type $expr $mod $regex $options $all $elemMatch $size"
)
UPDATE_OPERATORS = _names(
    "$set $setOnInsert $unset $inc $min $max $mul $rename $currentDate $addToSet $pull $push $pop"
)
STAGES = _names(
    "$match $project $addFields $group $sort $skip $limit $unwind $count $facet $replaceRoot $bucket $sortByCount $sample"
)
ACCUMULATORS = _names("$sum $avg $min $max $first $last $push $addToSet $mergeObjects $stdDevPop $stdDevSamp")
EXPRESSIONS = _names(
    "$abs $add $ceil $divide $exp $floor $ln $log $log10 $mod $multiply $pow $sqrt $subtract $sum $avg $min $max"
    " $arrayElemAt $arrayToObject $concatArrays $filter $in $indexOfArray $isArray $map $objectToArray $range $reduce"
    " $reverseArray $size $slice $zip $and $or $not $cmp $eq $ne $gt $gte $lt $lte $cond $ifNull $switch $literal $let"
    " $dateFromParts $dateFromString $dateToParts $dateToString $dayOfMonth $dayOfWeek $dayOfYear $hour $millisecond $minute"
    " $month $second $week $year $mergeObjects $setDifference $setEquals $setIntersection $setIsSubset $setUnion"
    " $concat $indexOfBytes $indexOfCP $ltrim $rtrim $trim $split $strLenBytes $strLenCP $strcasecmp $substrBytes $substrCP"
    " $toLower $toUpper $convert $toBool $toDate $toDecimal $toDouble $toInt $toLong $toString $type"
)
NEWER_VARIABLES = ("$$NOW", "$$CLUSTER_TIME", "$$USER_ROLES", "$$SEARCH_META")


class CommandsSeen(CommandListener):
    """`names`: the commands sent so far; `problems`: what of them MongoDB 4.0 would refuse or not know."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.problems: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.add(event.command_name)
        self.problems += problems_of(event.command)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Only what is sent is looked at."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Only what is sent is looked at."""


def problems_of(command: Document) -> list[str]:
    """Return what MongoDB 4.0 would not take of a command; nothing if it takes it."""
    name = next(iter(command))
    if name not in COMMANDS:
        return [f"command {name}"]
    found = [f"{name}: option {option}" for option in list(command)[1:] if option not in COMMANDS[name] | EVERY_COMMAND]
    return found + [f"{name}: {problem}" for problem in _inner_problems(name, command)]


def _inner_problems(name: str, command: Document) -> Iterator[str]:
    if name == "explain":
        yield from problems_of(command["explain"])
    yield from _query(command.get("filter" if name == "find" else "query") or {})
    yield from _projection(command.get("projection") or {})
    yield from _pipeline(command.get("pipeline", []))
    for update in command.get("updates", []):
        yield from _options("update", update, UPDATE)
        yield from _query(update["q"])
        yield from _change(update["u"])
    for delete in command.get("deletes", []):
        yield from _options("delete", delete, DELETE)
        yield from _query(delete["q"])
    for document in command.get("documents", []):
        yield from _stored(document)
    for index in command.get("indexes", []):
        yield from _options("index", index, INDEX)
        yield from (f"index {key}: {kind}" for key, kind in index["key"].items() if kind not in (1, -1) or "$" in key)


def _options(what: str, given: Document, known: frozenset[str]) -> Iterator[str]:
    yield from (f"{what} option {option}" for option in given if option not in known)


def _query(query: Document) -> Iterator[str]:
    for key, value in query.items():
        if key.startswith("$") and key not in QUERY_OPERATORS:
            yield f"query operator {key}"
        elif key == "$expr":
            yield from _expression(value)
        else:
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, Mapping):
                    yield from _query(each)


def _projection(projection: Document) -> Iterator[str]:
    """A projection of find takes no expressions before 4.4."""
    for name, value in projection.items():
        if not isinstance(value, bool | int | float) and not (isinstance(value, Mapping) and set(value) == {"$slice"}):
            yield f"projection of {name}"


def _change(change: Any) -> Iterator[str]:
    if not isinstance(change, Mapping):
        yield "update with a pipeline"
        return
    for operator, of in change.items():
        if not operator.startswith("$"):
            yield from _stored({operator: of})
        elif operator not in UPDATE_OPERATORS:
            yield f"update operator {operator}"
        elif not of:
            yield f"empty {operator}"  # an error before 5.0


def _stored(document: Document) -> Iterator[str]:
    """Names with dots, or with a dollar in front, are refused or misread before 5.0."""
    for name, value in document.items():
        if "." in name or name.startswith("$") or not name:
            yield f"stored name {name!r}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Mapping):
                yield from _stored(each)


def _pipeline(pipeline: list[Document]) -> Iterator[str]:
    for stage in pipeline:
        for name, value in stage.items():
            if name not in STAGES:
                yield f"stage {name}"
            elif name == "$match":
                yield from _query(value)
            elif name == "$facet":
                for inner in value.values():
                    yield from _pipeline(inner)
            elif name == "$group":
                yield from _group(value)
            elif name not in {"$sort", "$sample"}:
                yield from _expression(value)


def _group(group: Document) -> Iterator[str]:
    yield from _expression(group["_id"])
    for name, value in group.items():
        if name != "_id":
            ((operator, of),) = value.items()
            if operator not in ACCUMULATORS:
                yield f"accumulator {operator}"
            yield from _expression(of)


def _expression(expression: Any) -> Iterator[str]:
    if isinstance(expression, str) and expression.startswith(NEWER_VARIABLES):
        yield f"variable {expression}"
    elif isinstance(expression, list):
        for each in expression:
            yield from _expression(each)
    elif isinstance(expression, Mapping):
        for key, value in expression.items():
            if key.startswith("$") and key not in EXPRESSIONS:
                yield f"expression {key}"
            elif key == "$ifNull" and len(value) != 2:
                yield "$ifNull of several"
            elif key != "$literal":
                yield from _expression(value)
