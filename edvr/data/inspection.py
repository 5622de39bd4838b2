"""Contact sheets of data before training: random crops as the network gets them, and the clips."""
import os
import typing

import numpy as np
import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError
from data_tools.media import clips, contact_sheet
from data_tools.media.dataset_layouts import NothingFoundError
from data_tools.media.degradation import Degradation
from data_tools.media.frames import Decoder
from data_tools.media.shots import ShotRule
from data_tools.media.video_scan import Scanner
from data_tools.record import record_format, shard_reader
from data_tools.record.manifest import Manifest
from edvr.config.data import PACKED, DataConfig
from edvr.config.inspection import InspectConfig
from edvr.data import damage
from edvr.data.input_pipeline import train_dataset

_THUMBNAIL = 120   # height, pixels


def look(config: InspectConfig, data: DataConfig
         ) -> typing.Tuple[typing.Dict[str, np.ndarray], typing.List[str]]:
    """Draws contact sheets, and writes `shots.json` of the source into the output_dir.

    Args:
      config: options of the sheets.
      data: its `data_dir` is the packed set ('' for none).
    Returns:
      ({'crops' or 'clips': uint8 [H, W, 3]}, lines of the table of the clips).
    Raises:
      UserError: neither a set nor a source is given, or one of them cannot be read.
    """
    sheets, lines = {}, []
    if not (data.data_dir or config.source):
        raise UserError('give --data_dir, a set of make_tfrecords, or --source, a folder with clips or videos')
    sets = [(folder, Manifest.read(folder)) for folder, _ in data.sets if folder]
    files.make_dir(config.output_dir)
    cells: typing.List[contact_sheet.Cell] = []
    if sets:
        lines += [describe_set(folder, manifest) for folder, manifest in sets]
        sheets['crops'] = crop_sheet(data, sets[0][1], config.crops, config.scale)
        for folder, manifest in sets:
            cells += set_cells(folder, manifest, config.most_clips)
    if config.source:
        found = source_clips(config)
        shots: typing.Dict[str, typing.List[typing.List[int]]] = {}
        for clip in found:
            shots.setdefault(clip.whole, []).append([clip.first, clip.first + clip.length])
        files.write_json(os.path.join(config.output_dir, 'shots.json'), shots)
        cells = source_cells(found, config.most_clips)
    sheets['clips'] = contact_sheet.sheet(cells, 3 if len(cells) < 31 else 6, _THUMBNAIL)
    return sheets, lines + [caption for caption, _ in cells]


def describe_set(folder: str, manifest: Manifest) -> str:
    """Describes a packed set in one line."""
    lengths = [length for _, length in manifest.job['clips']]
    made = Degradation.from_job(manifest.job)
    return '%s: %d windows of %d frames, scale %d, %d clips of %d to %d frames, %s, %.2f GB, LQ %s' % (
        folder, manifest.records, manifest.num_frames, manifest.scale, len(lengths), min(lengths), max(lengths),
        manifest.encoding, manifest.bytes / 1e9, made.describe() if made else 'of the source')


def source_clips(config: InspectConfig) -> typing.List[clips.Clip]:
    """Finds the clips of the source, one for each shot: GT, or LQ if there is no GT."""
    options: typing.Dict[str, typing.Any] = dict(scale=config.scale, shots=ShotRule.from_config(config),
                                               scanner=Scanner(combed=True))
    try:
        return clips.find_clips(config.source, need_lq=False, **options)
    except NothingFoundError as error:
        try:
            return clips.find_clips(config.source, need_gt=False, **options)
        except NothingFoundError:
            raise error from None


def crop_sheet(data: DataConfig, manifest: Manifest, count: int, scale: int) -> np.ndarray:
    """Draws random crops after augmentation: the first, centre and last LQ frame of the window, then GT.

    Args:
      data: options of the data.
      manifest: of its first set.
      count: number of crops.
      scale: of LQ that is made of GT crops.
    Returns:
      uint8 [H, W, 3].
    """
    data = data.replace(shuffle_buffer=4 * count)
    with tf.Graph().as_default(), tf.Session() as session:
        dataset = train_dataset(data, manifest.num_frames, scale if data.degradation != PACKED else manifest.scale,
                                count)
        try:
            features, gt = session.run(tf.data.make_one_shot_iterator(dataset).get_next())
        except tf.errors.OpError as error:
            raise damage.explain(error, data) or UserError('reading %s failed: %s' % (data.data_dir, error)) from error
    last = manifest.num_frames - 1
    cells = [('%d: LQ %d, %d, %d of %d | GT' % (i, 0, last // 2, last, last + 1),
              [lq[0], lq[last // 2], lq[last], gt[i]]) for i, lq in enumerate(features['lq'])]
    return contact_sheet.sheet(cells, 2, gt.shape[1])


def set_cells(folder: str, manifest: Manifest, most: int) -> typing.List[contact_sheet.Cell]:
    """Returns cells with one GT frame of each clip of a packed set, at most `most` cells."""
    wanted = min(most, len(manifest.job['clips']))
    cells: typing.Dict[str, contact_sheet.Cell] = {}
    for shard in manifest.shards:
        path = os.path.join(folder, shard.name)
        for index, _, record, error in shard_reader.walk(path, expected=shard.records):
            if len(cells) == wanted:
                return [cells[name] for name in sorted(cells)]
            if record is None:
                raise UserError('record %d of %s: %s; copy that shard again or pack the set again'
                                % (index, path, error))
            name = record_format.clip_name(record)
            if name not in cells:
                window = record_format.decode(record)
                cells[name] = ('%s: %d frames, GT %dx%d, LQ %dx%d' % (
                    (name, window.length) + window.gt.shape[1::-1] + window.lq.shape[2:0:-1]), [window.gt])
    return [cells[name] for name in sorted(cells)]


def source_cells(found: typing.Sequence[clips.Clip], most: int) -> typing.List[contact_sheet.Cell]:
    """Returns cells with the first and the last frame of each clip or shot, which show missed and wrong cuts."""
    cells: typing.List[contact_sheet.Cell] = []
    for group in clips.groups(found[:most]):
        with Decoder() as decoder:
            for clip in group:
                last = first = None
                for last in decoder.read(clip.main):
                    first = last if first is None else first
                cells.append(('%s: %d-%d, %d frames, %dx%d' % (
                    (clip.name, clip.first, clip.first + clip.length - 1, clip.length) + clip.main.size[::-1]),
                    [first, last]))
    return cells
