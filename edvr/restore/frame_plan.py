"""Restores single frames of one size: pads them, cuts tiles, transforms the tiles, and undoes it on the result."""
import typing

import numpy as np

from edvr.network.engine import Engine, FeatureEngine
from edvr.restore import ensemble, memory, tiling


class FramePlan:
    """How the frames of one clip are restored; holds the features that the next windows need."""

    def __init__(self, engine: Engine, shape: typing.Tuple[int, ...], tiles: tiling.Tiling, cache_bytes: float,
                 num_versions: int) -> None:
        """Decides which features are kept.

        Args:
          engine: the loaded network.
          shape: (height, width, 3) of the frames.
          tiles: Tiling of the padded frames.
          cache_bytes: memory that kept features may take; if they need more, every window is computed completely.
          num_versions: 1, or ensemble.NUM_TRANSFORMS for self-ensemble.
        """
        self._engine, self._tiles, self._versions = engine, tiles, range(num_versions)
        self._shape, self._scale = shape, engine.config.upscale
        # frame index -> {(tile, version): features}
        self._kept: typing.Dict[int, typing.Dict[typing.Tuple[int, int], typing.Sequence[np.ndarray]]] = {}
        fits = bool(cache_bytes) and (
            memory.kept_bytes_per_pixel(engine.config) * num_versions * tiles.pixels <= cache_bytes)
        self._keeper = engine if fits and isinstance(engine, FeatureEngine) else None

    def frame(self, index: int, window: typing.Sequence[int],
              buffer: typing.Mapping[int, np.ndarray]) -> np.ndarray:
        """Restores frame `index`; the arguments are what `sliding_window.windows` yields.

        Returns:
          float32 [s*H, s*W, 3], not clipped.
        """
        for old in [i for i in self._kept if i not in buffer]:
            del self._kept[old]
        padded = {i: tiling.pad(buffer[i], self._tiles.frame) for i in set(window)}
        sr = self._tiles.blend(self._tile(number, index, window, padded) for number in range(len(self._tiles.boxes)))
        return sr[:self._shape[0] * self._scale, :self._shape[1] * self._scale]

    def _tile(self, number: int, index: int, window: typing.Sequence[int], padded: typing.Mapping[int, np.ndarray]
              ) -> np.ndarray:
        cut = {i: frame[self._tiles.boxes[number]] for i, frame in padded.items()}
        total = None
        for version in self._versions:
            turned = {i: np.ascontiguousarray(ensemble.transform(frame, version)) for i, frame in cut.items()}
            sr = ensemble.inverse(self._window((number, version), index, window, turned), version)
            total = sr if total is None else total + sr
        return total if len(self._versions) == 1 else total / np.float32(len(self._versions))

    def _window(self, piece: typing.Tuple[int, int], index: int, window: typing.Sequence[int],
                frames: typing.Mapping[int, np.ndarray]) -> np.ndarray:
        """Restores the centre of a window; `piece` is the (tile, version) that `frames` show."""
        keeper = self._keeper
        if keeper is None:
            return self._engine.run(np.stack([frames[i] for i in window])[None])[0]
        for i in set(window):
            of_frame = self._kept.setdefault(i, {})
            if piece not in of_frame:
                of_frame[piece] = keeper.features(frames[i])
        return keeper.restore([self._kept[i][piece] for i in window], frames[index])
