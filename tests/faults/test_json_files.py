"""JSON files that were cut or edited are refused by name."""
import json

from data_tools.base import schema

SCHEMA = schema.Record(name=schema.Text(r'[a-z]+'), sizes=schema.ListOf(schema.Integer(1), least=1),
                       nested=schema.Record(rate=schema.Number(0), on=schema.Boolean()))
VALUE = dict(name='abc', sizes=[12, 34], nested=dict(rate=.5, on=True))


def test_edits(campaign, tmp_path):
    path, text = str(tmp_path / 'x.json'), json.dumps(VALUE, indent=1)
    for number in range(campaign.amount(40, 1000)):
        data = bytearray(text.encode())
        place = campaign.rng.randint(len(data))
        if number % 2:
            del data[place:]
        else:
            data[place] ^= 1 << campaign.rng.randint(8)
        with open(path, 'wb') as file:
            file.write(data)
        # a flip may make another right value of a right value: no checksum covers such a file
        campaign.attempt('JSON: bit flip or cut', lambda: schema.read(path, SCHEMA, 'make it again'),
                         lambda value: not list(SCHEMA.problems(value, '')), 'edit %d' % number, [path])
