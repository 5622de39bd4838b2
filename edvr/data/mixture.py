"""The sets that a training reads: one, or several that it mixes by weight. Their shards are numbered as one list."""
import hashlib
import os
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base import paths
from data_tools.record.manifest import Manifest, Shard

PERIOD = 2 ** 14   # draws until their sequence repeats; in each period the shares of the sets are exact


class Part(typing.NamedTuple):
    """Describes one set of a mixture.

    Attributes:
      folder: of the set.
      weight: of its samples, relative to the others.
      manifest: of the set.
      first: number of its first shard in the mixture.
    """
    folder: str
    weight: float
    manifest: Manifest
    first: int


class Mixture(typing.NamedTuple):
    """Holds the sets of a training, at least one."""
    parts: typing.Tuple[Part, ...]

    @classmethod
    def of(cls, sets: typing.Iterable[typing.Tuple[str, float, Manifest]]) -> 'Mixture':
        """Returns the Mixture of (folder, weight, Manifest) each."""
        parts, first = [], 0
        for folder, weight, manifest in sets:
            parts.append(Part(folder, weight, manifest, first))
            first += len(manifest.shards)
        return cls(tuple(parts))

    @property
    def names(self) -> typing.Tuple[str, ...]:
        """Returns a short name for each set: the last part of its path that differs from the others'."""
        folders = [os.path.normpath(part.folder) for part in self.parts]
        ends = [os.path.basename(paths.sources_of(folder) if os.path.basename(folder) == os.path.basename(paths.SHARDS)
                                 else folder) for folder in folders]
        return tuple(end if end and ends.count(end) == 1 else folder for end, folder in zip(ends, folders))

    def part_of(self, shard: int) -> Part:
        """Returns the set of a shard of the mixture."""
        return [part for part in self.parts if part.first <= shard][-1]

    def shard(self, number: int) -> typing.Tuple[Part, Shard]:
        """Returns a shard of the mixture, with its set."""
        part = self.part_of(number)
        return part, part.manifest.shards[number - part.first]

    def checksum(self) -> str:
        """Returns the SHA-256 of the manifest; of several sets that of all checksums and weights."""
        sums = [Manifest.checksum(part.folder) for part in self.parts]
        if len(sums) == 1:
            return sums[0]
        weights = ['%s %r' % (digest, part.weight) for digest, part in zip(sums, self.parts)]
        return hashlib.sha256('\n'.join(weights).encode()).hexdigest()

    def draws(self, seed: int) -> 'Draws':
        """Returns the draws of sets that a seed determines, below 2 ** 32."""
        total = sum(part.weight for part in self.parts)
        ends = np.rint(np.cumsum([part.weight for part in self.parts]) / total * PERIOD).astype(np.int64)
        sets = np.searchsorted(ends, np.arange(PERIOD), 'right')
        return Draws(np.random.RandomState(seed).permutation(sets), len(self.parts))


class Draws:
    """Gives an endless sequence of set numbers."""

    def __init__(self, sets: np.ndarray, count: int) -> None:
        self._sets, self._count = sets, count

    def before(self, position: int) -> np.ndarray:
        """Returns how often each set is drawn before a position, int [sets]."""
        periods, rest = divmod(position, PERIOD)
        whole, begun = (np.bincount(sets, minlength=self._count) for sets in (self._sets, self._sets[:rest]))
        return periods * whole + begun

    def dataset(self, position: int) -> tf.data.Dataset:
        """Returns the draws from a position on: int64 scalars."""
        return tf.data.Dataset.from_tensor_slices(np.roll(self._sets, -(position % PERIOD))).repeat()
