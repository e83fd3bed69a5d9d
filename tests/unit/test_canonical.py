from __future__ import annotations

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantkb.domain.canonical import FINGERPRINT_KEYS, content_fingerprint, digest, stringify

# The right column was printed by JSON.stringify in Node 20.
NUMBERS = [
    (0, "0"),
    (-0.0, "0"),
    (1.0, "1"),
    (-1, "-1"),
    (1.5, "1.5"),
    (0.1, "0.1"),
    (0.1 + 0.2, "0.30000000000000004"),
    (1e-6, "0.000001"),
    (1e-7, "1e-7"),
    (-1.25e-9, "-1.25e-9"),
    (123e-20, "1.23e-18"),
    (5e-324, "5e-324"),
    (1e15, "1000000000000000"),
    (1e16, "10000000000000000"),
    (1e20, "100000000000000000000"),
    (123456789012345680000.0, "123456789012345680000"),
    (1e21, "1e+21"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (2**53 - 1, "9007199254740991"),
    (2**53 + 1, "9007199254740992"),
    (-(2**64), "-18446744073709552000"),
    (2**70, "1.1805916207174113e+21"),
    (math.nan, "null"),
    (-math.inf, "null"),
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=6,
)


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_numbers_are_written_in_javascript_notation(value, text):
    assert stringify(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_same_double(value):
    assert float(stringify(value)) == value


@given(json_values)
def test_without_fractions_it_is_compact_json(value):
    expected = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert stringify(value) == expected


def test_control_characters_are_escaped_and_everything_else_stands_as_it_is():
    text = '\x7f\x00\x1f\b\f\n\r\t"\\/\u2028é😀'
    assert stringify(text) == '"\x7f\\u0000\\u001f\\b\\f\\n\\r\\t\\"\\\\/\u2028é😀"'


def test_lone_surrogates_are_escaped():
    assert stringify(["\ud800x\udfff😀"]) == '["\\ud800x\\udfff😀"]'


def test_keys_keep_their_order_and_are_escaped():
    assert stringify({"b": 1, 'a"': (True, None)}) == '{"b":1,"a\\"":[true,null]}'


@pytest.mark.parametrize("value", [b"", {1}, object()])
def test_what_has_no_json_form_is_refused(value):
    with pytest.raises(TypeError, match="no JSON form"):
        stringify(value)


def test_a_fingerprint_covers_eight_keys_in_a_fixed_order():
    chunk = {"hash": "x", "source": "s", "returns": 1, "extends": "", "content": "é", "type": "t"}
    serialised = '{"type":"t","content":"é","extends":"","returns":1}'
    assert content_fingerprint(chunk) == hashlib.sha256(serialised.encode()).hexdigest()


def test_an_empty_value_is_present_and_a_missing_one_is_not():
    assert digest({"a": ""}, ["a", "b"]) != digest({}, ["a", "b"])
    assert digest({}, ["a"]) == hashlib.sha256(b"{}").hexdigest()


@given(st.dictionaries(st.sampled_from(["type", "name", "content"]), st.text()))
def test_a_fingerprint_does_not_depend_on_the_order_of_the_chunk(chunk):
    turned = dict(reversed(chunk.items()))
    assert content_fingerprint(turned) == content_fingerprint(chunk)


any_text = st.text(st.characters(exclude_categories=())) | st.just("\ud800")


@given(st.dictionaries(st.sampled_from(FINGERPRINT_KEYS), any_text | st.integers(0, 9)))
def test_a_digest_is_that_of_the_serialised_object(chunk):
    ordered = {key: chunk[key] for key in FINGERPRINT_KEYS if key in chunk}
    assert (
        digest(chunk, FINGERPRINT_KEYS) == hashlib.sha256(stringify(ordered).encode()).hexdigest()
    )
