"""Messages as documents: nothing is lost on the way there and back, through a real server too."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings import load
from store.documents import CODEC_OPTIONS, document_id, document_of, field_names, fields_document, message_id_of
from store.documents import read_document as read
from store.model import Message, MessageId
from store.mongo import MESSAGES, connect_mongo

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = {"REDIS_URL": "redis://host", "ALLOW_ANONYMOUS": "true"}

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1)
ids = st.builds(MessageId, st.integers(0, 10**13 - 1), st.integers(0, 10**15 - 1))
messages = st.builds(
    Message,
    topic_name=texts,
    client_id=texts,
    received_ms=st.integers(0, 253_402_300_799_999),
    flags=st.integers(0, 15).filter(lambda flags: flags & 3 != 3),
    payload=st.binary() | st.text().map(lambda text: text.encode(errors="ignore")),
    properties=st.binary(),
)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_documents = st.recursive(values, lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner), max_leaves=40)


def through_bson(document: dict[str, Any]) -> dict[str, Any]:
    return bson.decode(bson.encode(document), CODEC_OPTIONS)


@given(ids, texts, messages)
def test_a_message_comes_back_as_it_was(message_id: MessageId, device_id: str, message: Message):
    assert read(through_bson(document_of(message_id, device_id, message))) == (message_id, device_id, message)


@given(ids, ids)
def test_ids_sort_as_messages_do(one: MessageId, other: MessageId):
    assert (document_id(one) < document_id(other)) == (one < other)
    assert message_id_of(document_id(one)) == one


@given(json_documents)
def test_any_json_makes_fields_that_bson_takes(document: Any):
    fields = fields_document(json.dumps(document).encode(errors="surrogatepass"))
    assert bson.decode(bson.encode({"fields": fields}, check_keys=True))


def test_fields_stand_as_in_the_payload():
    payload = b'{"env": {"temperature": 21, "gas": [1, "x"]}, "ok": true, "none": null}'
    assert fields_document(payload) == {
        "env": {"temperature": 21, "gas": {"0": 1, "1": "x"}},
        "ok": True,
        "none": None,
    }


@pytest.mark.parametrize(
    ("payload", "fields"),
    [
        (b'{"$set": 1, "": 2, "a\\u0000b": 3}', {"\uff04set": 1, "\u2205": 2, "a\u2400b": 3}),
        (b'{"a": 1, "a.b": 2}', {"a": 1, "a\uff0eb": 2}),
        (b'{"a.b": 2, "a": 1}', {"a": 1, "a\uff0eb": 2}),
        (b'{"a.b": 1, "a": {"b": 2}}', {"a": {"b": 2}}),
        (b"21.5", {"value": 21.5}),
        (b"not json", {}),
        (b'{"big": 18446744073709551615}', {"big": 18446744073709551615.0}),
    ],
)
def test_names_and_numbers_that_mongodb_does_not_take(payload: bytes, fields: dict[str, Any]):
    assert fields_document(payload) == fields


@pytest.fixture
def database(mongo_url: str) -> Iterator[Any]:
    database = connect_mongo(load({**ENVIRONMENT, "MONGO_URL": mongo_url}, "tcp"))
    yield database
    database.client.close()


def test_a_server_finds_fields_by_either_name(database: Any):
    payloads = [b'{"env": {"t": 1}}', b'{"env": 5, "env.t": 2}', b'{"t": 3}']
    database[MESSAGES].insert_many(
        [document_of(MessageId(1, n), "d", Message("t", "c", 1, 1, payload)) for n, payload in enumerate(payloads)]
    )
    either = [{name: {"$exists": True}} for name in field_names("env.t")]
    found = [read(each) for each in database[MESSAGES].find({"$or": either}).sort("_id")]
    assert [(message_id.seq, message.payload) for message_id, _, message in found] == list(enumerate(payloads[:2]))
