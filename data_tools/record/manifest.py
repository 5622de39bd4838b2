"""The manifest of a set of shards: what the shards hold, and the job that made them."""
import hashlib
import os
import typing

from data_tools.base import files, paths
from data_tools.base.errors import UserError
from data_tools.record.layout import FORMAT_VERSION

MANIFEST = 'manifest.json'
SHARD = 'shard-%05d-of-%05d.tfrecord'


def shard_name(index, count):
    """File name of a shard."""
    return SHARD % (index, count)


class Shard(typing.NamedTuple):
    """What the manifest says of a shard: file name, number of records, bytes of the file, zlib.crc32 of its records."""
    name: str
    records: int
    bytes: int
    crc: int


class Manifest(typing.NamedTuple):
    """What a set of shards holds. `job` is what made it: see `make_tfrecords`."""
    num_frames: int
    scale: int
    encoding: str
    lq_tile: int
    gt_tile: int
    sizes: typing.List[typing.Tuple[int, int]]   # every LQ size in the set, (height, width)
    shards: typing.List[Shard]
    job: dict

    @property
    def records(self):
        """Windows in the set."""
        return sum(shard.records for shard in self.shards)

    @property
    def bytes(self):
        return sum(shard.bytes for shard in self.shards)

    def write(self, folder):
        """Writes `manifest.json`; done last, its presence says that the set is whole."""
        files.write_json(os.path.join(folder, MANIFEST), dict(
            self._asdict(), format_version=FORMAT_VERSION, records=self.records,
            sizes=[list(size) for size in self.sizes], shards=[shard._asdict() for shard in self.shards]))

    @classmethod
    def read(cls, folder):
        """The manifest in a folder.

        Raises:
          UserError: no folder, no manifest, one of another version, or one that is cut or edited.
        """
        path = os.path.join(folder, MANIFEST)
        if not files.exists(path):
            raise UserError('%s has no %s: it is not a set of TFRecords, or packing has not finished; %s'
                            % (folder, MANIFEST, paths.how_to_make_shards(folder)))
        values = files.read_json(path)
        version = values.get('format_version') if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise UserError('%s has format version %s; this program reads version %d: pack the set again with '
                            'data_tools.make_tfrecords' % (path, version, FORMAT_VERSION))
        try:
            manifest = cls(shards=[Shard(**shard) for shard in values['shards']],
                           sizes=[tuple(size) for size in values['sizes']],
                           **{key: values[key] for key in cls._fields if key not in ('shards', 'sizes')})
        except (KeyError, TypeError) as error:
            raise UserError('%s lacks or garbles %s: pack the set again' % (path, error)) from error
        if not manifest.records:
            raise UserError('%s lists no records: pack the set again' % path)
        return manifest

    @staticmethod
    def checksum(folder):
        """SHA-256 of the manifest of a folder, str: two sets with the same one hold the same records."""
        with files.open_file(os.path.join(folder, MANIFEST), 'rb') as file:
            return hashlib.sha256(file.read()).hexdigest()

    def check_shards(self, folder):
        """Raises UserError unless every shard is there with its size."""
        missing, cut = [], []
        for shard in self.shards:
            size = files.size(os.path.join(folder, shard.name))
            if size is None:
                missing.append(shard.name)
            elif size != shard.bytes:
                cut.append('%s (%d bytes instead of %d)' % (shard.name, size, shard.bytes))
        if missing:
            raise UserError('%s: %d of %d shards are missing: %s; copy them again, or pack the set again'
                            % (folder, len(missing), len(self.shards), _some(missing)))
        if cut:
            raise UserError('%s: %d of %d shards have another size than when packed: %s; copy them again, or pack the '
                            'set again' % (folder, len(cut), len(self.shards), _some(cut)))


def _some(names, most=5):
    return ', '.join(names[:most]) + (' ...' if len(names) > most else '')
