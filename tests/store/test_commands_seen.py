"""What MongoDB 4.0 does not have is noticed, so that a test which sends it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymongo
import pytest
from commands_seen import problems_of

if TYPE_CHECKING:
    from commands_seen import CommandsSeen
    from pymongo import MongoClient


@pytest.mark.parametrize(
    "command",
    [
        {"find": "messages", "filter": {"device": "a", "_id": {"$lt": "5"}}, "sort": {"_id": -1}, "limit": 5, "$db": "x"},
        {"find": "messages", "filter": {"$or": [{"a": 1}, {"b": {"$in": [1]}}]}, "projection": {"_id": 1}},
        {"aggregate": "m", "pipeline": [{"$match": {"a": 1}}, {"$group": {"_id": "$d", "n": {"$sum": 1}}}], "cursor": {}},
        {"update": "r", "updates": [{"q": {"p": {"$exists": True}}, "u": {"$inc": {"a.b": 1}}, "upsert": True}]},
        {"insert": "m", "documents": [{"_id": 1, "fields": {"a": [{"b": 1}]}}], "ordered": False, "lsid": {}},
        {"createIndexes": "m", "indexes": [{"key": {"ts": 1}, "name": "t", "expireAfterSeconds": 5}]},
    ],
    ids=lambda command: next(iter(command)),
)  # fmt: skip
def test_what_4_0_has_is_fine(command: dict[str, Any]) -> None:
    assert problems_of(command) == []


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ({"bulkWrite": 1}, "command bulkWrite"),
        ({"find": "m", "let": {}}, "find: option let"),
        ({"find": "m", "allowDiskUse": True}, "find: option allowDiskUse"),
        ({"find": "m", "filter": {"$or": [{"a": {"$near": 1}}]}}, "find: query operator $near"),
        ({"find": "m", "filter": {"$expr": {"$eq": ["$a", {"$dateTrunc": {}}]}}}, "find: expression $dateTrunc"),
        ({"find": "m", "projection": {"n": {"$add": [1, 2]}}}, "find: projection of n"),
        ({"aggregate": "m", "pipeline": [{"$set": {"a": 1}}]}, "aggregate: stage $set"),
        ({"aggregate": "m", "pipeline": [{"$facet": {"a": [{"$unionWith": "b"}]}}]}, "aggregate: stage $unionWith"),
        ({"aggregate": "m", "pipeline": [{"$group": {"_id": {"$round": 1}}}]}, "aggregate: expression $round"),
        ({"aggregate": "m", "pipeline": [{"$group": {"_id": 1, "n": {"$count": {}}}}]}, "aggregate: accumulator $count"),
        ({"aggregate": "m", "pipeline": [{"$project": {"a": "$$NOW"}}]}, "aggregate: variable $$NOW"),
        ({"aggregate": "m", "pipeline": [{"$project": {"a": {"$ifNull": [1, 2, 3]}}}]}, "aggregate: $ifNull of several"),
        ({"update": "m", "updates": [{"q": {}, "u": [{"$set": {}}]}]}, "update: update with a pipeline"),
        ({"update": "m", "updates": [{"q": {}, "u": {"$set": {}}}]}, "update: empty $set"),
        ({"update": "m", "updates": [{"q": {}, "u": {"$set": {"a": 1}}, "hint": "x"}]}, "update: update option hint"),
        ({"delete": "m", "deletes": [{"q": {}, "limit": 0, "hint": "x"}]}, "delete: delete option hint"),
        ({"insert": "m", "documents": [{"fields": [{"a.b": 1}]}]}, "insert: stored name 'a.b'"),
        ({"createIndexes": "m", "indexes": [{"key": {"a.$**": 1}, "name": "w"}]}, "createIndexes: index a.$**: 1"),
        ({"createIndexes": "m", "indexes": [{"key": {"a": 1}, "hidden": True}]}, "createIndexes: index option hidden"),
        ({"explain": {"find": "m", "let": {}}}, "explain: find: option let"),
    ],
)  # fmt: skip
def test_what_is_newer_is_noticed(command: dict[str, Any], problem: str) -> None:
    assert problems_of(command) == [problem]


def test_what_a_client_sends_is_heard(mongo_url: str, mongo_commands: CommandsSeen) -> None:
    client: MongoClient[dict[str, Any]]
    with pymongo.MongoClient(mongo_url) as client:
        list(client.get_default_database()["m"].find({"a": {"$gt": 1}}))
        assert "find" in mongo_commands.names
        assert mongo_commands.problems == []
        client.get_default_database()["m"].delete_one({}, comment="since 4.4")
    assert mongo_commands.problems.pop() == "delete: option comment"
