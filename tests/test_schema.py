"""A JSON file that does not fit its schema is refused by file, field and value."""
import json

import pytest

from data_tools.base import schema
from data_tools.base.errors import UserError

SHARD = schema.Record(name=schema.Text(r'shard-\d+', 'a shard name'), bytes=schema.Integer(1))
FILE = schema.Record(
    dict(note=schema.Nullable(schema.Text())), scale=schema.OneOf(2, 4), rate=schema.Number(0., 1.),
    shuffled=schema.Boolean(), shards=schema.ListOf(SHARD, least=1, most=3), extra=schema.MapOf(schema.Integer()))
GOOD = dict(scale=4, rate=.5, shuffled=True, shards=[dict(name='shard-0', bytes=7)], extra=dict(a=1))


def message(value, of=FILE):
    with pytest.raises(UserError) as caught:
        schema.check(value, of, 'set/x.json', 'pack the set again')
    return str(caught.value)


@pytest.mark.parametrize('value', [GOOD, dict(GOOD, note=None), dict(GOOD, note='x', extra={}), dict(GOOD, rate=1)])
def test_right_values_pass(value):
    schema.check(value, FILE, 'x.json', '')


@pytest.mark.parametrize('change, text', [
    (dict(scale='4'), 'scale is "4"; it must be one of 2, 4'),
    (dict(scale=4.), 'scale is 4.0; it must be one of 2, 4'),
    (dict(scale=True), 'scale is true'),
    (dict(rate=float('nan')), 'rate is NaN; it must be a finite number of 0.0 to 1.0'),
    (dict(rate=True), 'rate is true'),
    (dict(rate=1.5), 'rate is 1.5'),
    (dict(rate=10 ** 400), 'rate is 1000'),
    (dict(shuffled=1), 'shuffled is 1; it must be true or false'),
    (dict(shards=[]), 'shards is []; it must be a list of 1 to 3 items'),
    (dict(shards={}), 'shards is {}'),
    (dict(shards=[dict(name='../x', bytes=7)]), 'shards[0].name is "../x"; it must be a shard name'),
    (dict(shards=[dict(name='shard-0\n', bytes=7)]), 'shards[0].name'),
    (dict(shards=[dict(name='shard-0', bytes=0)]), 'shards[0].bytes is 0; it must be a whole number of at least 1'),
    (dict(shards=[dict(name='shard-0')]), 'shards[0].bytes is missing'),
    (dict(shards=[3]), 'shards[0] is 3; it must be an object'),
    (dict(extra=dict(a='b')), 'extra.a is "b"'),
    (dict(extra=[]), 'extra is []; it must be an object'),
    (dict(note=3), 'note is 3; it must be a string'),
    (dict(other=1), 'other is 1; it must be absent'),
])
def test_wrong_values_are_named(change, text):
    assert 'set/x.json: ' + text in message(dict(GOOD, **change))
    assert message(dict(GOOD, **change)).endswith(': pack the set again')


@pytest.mark.parametrize('value', [None, 3, 'x', [], [GOOD]])
def test_the_whole_may_be_wrong(value):
    assert 'set/x.json: the whole is ' in message(value)


def test_long_values_are_cut_and_many_problems_counted():
    assert len(message(dict(GOOD, scale='x' * 1000))) < 250
    assert '(and 2 more)' in message(dict(scale=3))


def test_fields_of_newer_versions_may_be_accepted():
    schema.check(dict(a=1, b=2), schema.Record(_others=True, a=schema.Integer()), 'x.json', '')


def test_read(tmp_path):
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(GOOD))
    assert schema.read(str(path), FILE, '') == GOOD
    for text, wanted in (('[' * 100000, 'is not JSON'), ('{', 'is not JSON'), ('[1]', 'the whole is [1]')):
        path.write_text(text)
        with pytest.raises(UserError, match=r'x\.json') as caught:
            schema.read(str(path), FILE, '')
        assert wanted in str(caught.value)
