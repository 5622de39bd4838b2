"""The schema of a manifest: types and limits of its fields, and the relations between them."""
import collections
from typing import Any, Iterable

from data_tools.base import schema
from data_tools.record.job_windows import centres
from data_tools.record.record_format import ENCODINGS, FORMAT_VERSION, HEADER_BYTES

SHARD = 'shard-%05d-of-%05d.tfrecord'
_MOST = 2 ** 53     # the largest integer that every reader of JSON keeps exactly
_CRC = schema.Integer(0, 2 ** 32 - 1)
_FRAMES = schema.Integer(1, 2 ** 15)
_SCALE = schema.OneOf(1, 2, 3, 4)
_TILE = schema.Integer(0, 2 ** 15)
_SIDE = schema.Integer(1, 2 ** 20)   # of a frame, pixels
_FRAME_BYTES = 16   # bytes that TFRecord adds to each record
_LENGTH = schema.Integer(1, 2 ** 31 - 1)
_SHOTS = schema.ListOf(schema.Pair(schema.Integer(0), _LENGTH))
_COMMON = dict(num_frames=_FRAMES, scale=_SCALE, encoding=schema.OneOf(*ENCODINGS), lq_tile=_TILE, gt_tile=_TILE)
# a choice of an option; which ones there are, is checked where it is used
_CHOICE = schema.Text(r'[a-z0-9_]{1,40}', 'the name of a choice of make_tfrecords')
_DEGRADATION = schema.Record(
    dict(crf=schema.ListOf(schema.Integer(0, 63), least=1, most=2), seed=schema.Integer(), noise=schema.ListOf(_CHOICE),
         noise_probability=schema.Number(0, 1), noise_strength=schema.Number(0), resize=_CHOICE,
         window=schema.Integer(1, 99), revision=schema.Integer(1, 99)),
    kind=_CHOICE)
JOB_SCHEMA = schema.Record(
    dict(make_lq=schema.Boolean(), degradation=schema.Nullable(_DEGRADATION),
         lq_folder=schema.Text(r'[^\0]*', 'a folder'), deinterlace=schema.Pair(_CHOICE, _CHOICE),
         ffmpeg=schema.Nullable(schema.Text(r'\S{1,200}', 'a version')),
         reach=schema.Integer(1, 99), versions=schema.Integer(1, 999), seed=schema.Integer(),
         shots=schema.MapOf(_SHOTS), sources=schema.MapOf(schema.Text())),
    _others=True, fill=_CHOICE, frame_interval=schema.Integer(1, 10 ** 6), windows=schema.Integer(1, _MOST),
    num_shards=schema.Integer(1, 99999),
    clips=schema.ListOf(schema.Pair(schema.Text(r'(?s).+', 'the name of a clip'), _LENGTH), least=1), **_COMMON)
SHARD_SCHEMA = schema.Record(
    dict(record_crcs=schema.ListOf(_CRC)), name=schema.Text(), records=schema.Integer(1, _MOST),
    bytes=schema.Integer(1, _MOST), crc=_CRC)
_FIELDS = schema.Record(
    None, False, format_version=schema.OneOf(FORMAT_VERSION), sizes=schema.ListOf(schema.Pair(_SIDE, _SIDE), least=1),
    records=schema.Integer(1, _MOST), shards=schema.ListOf(SHARD_SCHEMA, least=1), job=JOB_SCHEMA, **_COMMON)


class ManifestSchema(schema.Schema):
    """The whole manifest: checks the fields first; if these are right, the relations between them."""

    def problems(self, value: Any, where: str) -> Iterable[schema.Problem]:
        found = list(_FIELDS.problems(value, where))
        yield from found or _contradictions(value)


def _contradictions(values):
    """Yields (place, value, what it must be) for valid values that contradict each other."""
    job, shards, frames = values['job'], values['shards'], values['num_frames']
    for key in ('num_frames', 'scale', 'encoding', 'lq_tile', 'gt_tile'):
        if job[key] != values[key]:
            yield 'job.' + key, job[key], 'the %s of the set, which is %s' % (key, values[key])
    if frames % 2 == 0:
        yield 'num_frames', frames, 'odd: a window has a centre frame'
    raw = values['encoding'] == 'raw'
    for key in ('lq_tile', 'gt_tile') if raw else ():
        if values[key]:
            yield key, values[key], '0 because the encoding is raw'
    if not raw and values['gt_tile'] < 8:
        yield 'gt_tile', values['gt_tile'], 'at least 8 because the encoding is tiles'
    if job['num_shards'] != len(shards):
        yield 'job.num_shards', job['num_shards'], 'the number of shards that are listed, which is %d' % len(shards)
    total = sum(shard['records'] for shard in shards)
    windows = sum(len(centres(length, job)) for _, length in job['clips'])
    if job['windows'] != windows:
        yield 'job.windows', job['windows'], 'the number of windows of job.clips, which is %d' % windows
    for place, number in (('records', values['records']), ('job.windows', job['windows'])):
        if number != total:
            yield place, number, 'the sum of the records of the shards, which is %d' % total
    for place, items in (('sizes', values['sizes']), ('job.clips', [name for name, _ in job['clips']])):
        double = [item for item, times in collections.Counter(map(str, items)).items() if times > 1]
        if double:
            yield place, double[0], 'unique'
    with_crcs = any('record_crcs' in shard for shard in shards)   # in all shards, or in none of sets of older versions
    for index, shard in enumerate(shards):
        yield from _shard_contradictions(shard, index, len(shards), with_crcs)


def _shard_contradictions(shard, index, count, with_crcs):
    where, name = 'shards[%d].' % index, SHARD % (index, count)
    if shard['name'] != name:
        yield where + 'name', shard['name'], name
    least = shard['records'] * (HEADER_BYTES + _FRAME_BYTES)
    if shard['bytes'] < least:
        yield where + 'bytes', shard['bytes'], 'at least %d for %d records' % (least, shard['records'])
    if len(shard.get('record_crcs', [])) != (shard['records'] if with_crcs else 0):
        yield where + 'record_crcs', shard.get('record_crcs', []), 'one number for each of the %d records' % (
            shard['records'])
