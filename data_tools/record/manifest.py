"""The manifest of a set of shards: the content of the shards, and the job that made them."""
import hashlib
import os
import typing

from data_tools.base import files, paths, schema
from data_tools.base.errors import UserError
from data_tools.record import shard_reader
from data_tools.record.job_windows import stored_frames
from data_tools.record.manifest_schema import SHARD, ManifestSchema
from data_tools.record.record_format import FORMAT_VERSION

MANIFEST = 'manifest.json'
_ADVICE = ('the file was cut or edited, or is of another set: copy it again together with its shards, or pack the set '
           'again with data_tools.make_tfrecords')


def shard_name(index: int, count: int) -> str:
    """Returns the file name of a shard."""
    return SHARD % (index, count)


class Shard(typing.NamedTuple):
    """The entry of a shard in the manifest.

    Attributes:
      name: of the file.
      records: their number.
      bytes: of the file.
      crc: zlib.crc32 of all records, one after another.
      record_crcs: the field `crc` of each record's header; empty in sets of older versions.
    """
    name: str
    records: int
    bytes: int
    crc: int
    record_crcs: typing.Sequence[int] = ()


class Manifest(typing.NamedTuple):
    """The description of a set of shards.

    Attributes:
      num_frames: of a window.
      scale: GT size / LQ size.
      encoding: one of `record_format.ENCODINGS`.
      lq_tile: side of the LQ tiles, pixels; 0 for raw.
      gt_tile: side of the GT tiles, likewise.
      sizes: every LQ size in the set, (height, width).
      shards: in order.
      job: the result of `data_tools.packing.job.describe_job`, without `sources`.
    """
    num_frames: int
    scale: int
    encoding: str
    lq_tile: int
    gt_tile: int
    sizes: typing.List[typing.Tuple[int, int]]
    shards: typing.List[Shard]
    job: dict

    @property
    def reach(self) -> int:
        """Returns the longest interval of the windows that training may draw."""
        return self.job.get('reach', 1)

    @property
    def stored_frames(self) -> int:
        """Returns the number of LQ frames of a record."""
        return stored_frames(dict(num_frames=self.num_frames, reach=self.reach))

    @property
    def records(self) -> int:
        """Counts the windows in the set."""
        return sum(shard.records for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Sums the sizes of the shards."""
        return sum(shard.bytes for shard in self.shards)

    @property
    def has_record_crcs(self) -> bool:
        """Returns whether the checksum of each record is known."""
        return all(shard.record_crcs for shard in self.shards)

    def write(self, folder: str) -> None:
        """Writes `manifest.json`. It is written last: a set with a manifest is complete."""
        shards = [dict(shard._asdict()) for shard in self.shards]
        if not self.has_record_crcs:
            for shard in shards:
                del shard['record_crcs']
        files.write_json(os.path.join(folder, MANIFEST), dict(
            self._asdict(), format_version=FORMAT_VERSION, records=self.records,
            sizes=[list(size) for size in self.sizes], shards=shards))

    @classmethod
    def read(cls, folder: str) -> 'Manifest':
        """Reads the manifest in a folder.

        Raises:
          UserError: the folder or the manifest is missing, its version is another, or it was cut or edited; the text
            names the field and its value.
        """
        path = os.path.join(folder, MANIFEST)
        if not files.exists(path):
            inside = paths.shards_of(folder)
            if files.exists(os.path.join(inside, MANIFEST)):
                raise UserError('%s has no %s, but %s has: did you mean --data_dir=%s?'
                                % (folder, MANIFEST, inside, inside))
            if not files.is_remote(folder) and not os.path.isdir(folder):
                raise UserError('%s: no such folder; it must be a set of TFRecords: %s'
                                % (folder, paths.how_to_make_shards(folder)))
            raise UserError('%s has no %s: it is not a set of TFRecords, or packing has not finished; %s'
                            % (folder, MANIFEST, paths.how_to_make_shards(folder)))
        values = files.read_json(path)
        version = values.get('format_version') if isinstance(values, dict) else None
        if isinstance(version, int) and version != FORMAT_VERSION:
            raise UserError('%s has format version %s; this program reads version %d: pack the set again with '
                            'data_tools.make_tfrecords' % (path, version, FORMAT_VERSION))
        schema.check(values, ManifestSchema(), path, _ADVICE)
        return cls(shards=[Shard(**shard) for shard in values['shards']],
                   sizes=[(height, width) for height, width in values['sizes']],
                   **{key: values[key] for key in cls._fields if key not in ('shards', 'sizes')})

    def mismatch(self, shard: Shard, index: int, header: typing.Dict[str, int]) -> typing.Optional[str]:
        """Returns the difference of a record to its description in the manifest, or None.

        Args:
          shard: of the record.
          index: of the record in the shard.
          header: the fields of the record's header.
        """
        wanted = dict(num_frames=self.stored_frames, scale=self.scale, lq_tile=self.lq_tile, gt_tile=self.gt_tile)
        for key, value in wanted.items():
            if header[key] != value:
                return 'it has %s=%d, the manifest says %d' % (key, header[key], value)
        size = header['lq_height'], header['lq_width']
        if size not in self.sizes:
            return 'its LQ is %dx%d, a size that the manifest does not list' % size
        if shard.record_crcs and (index >= shard.records or header['crc'] != shard.record_crcs[index]):
            return 'it is a valid record, but not the one that the manifest describes (checksum)'
        return None

    @staticmethod
    def checksum(folder: str) -> str:
        """Returns the SHA-256 of the manifest of a folder: sets with equal checksums hold the same records."""
        with files.open_file(os.path.join(folder, MANIFEST), 'rb') as file:
            return hashlib.sha256(file.read()).hexdigest()

    def check_shards(self, folder: str) -> None:
        """Raises UserError unless every shard exists and has the right size."""
        missing, cut = [], []
        for shard in self.shards:
            size = files.size(os.path.join(folder, shard.name))
            if size is None:
                missing.append(shard.name)
            elif size != shard.bytes:
                cut.append((shard, size))
        if missing:
            raise UserError('%s: %d of %d shards are missing: %s; copy them again, or pack the set again'
                            % (folder, len(missing), len(self.shards), _some(missing)))
        if cut:
            raise UserError('%s: %d of %d shards have another size than when packed: %s; copy them again, or pack the '
                            'set again' % (folder, len(cut), len(self.shards), _some(
                                [_size_text(folder, *item) for item in cut[:_MOST_NAMED]], len(cut))))


_MOST_NAMED = 5


def _size_text(folder, shard, size):
    return '%s (%d bytes instead of %d, %d records instead of %d)' % (
        shard.name, size, shard.bytes, shard_reader.count_records(os.path.join(folder, shard.name)), shard.records)


def _some(names, count=None):
    return ', '.join(names[:_MOST_NAMED]) + (' ...' if (count or len(names)) > _MOST_NAMED else '')
