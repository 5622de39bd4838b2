"""LQ clips on disk: PNG frames with the names of the GT frames, and a record of how they were made."""
import os

from data_tools.base import files, schema, worker_pool
from data_tools.base.errors import UserError
from data_tools.lq.config import MakeLqConfig
from data_tools.media import clips, dataset_layouts
from data_tools.media.degradation import DEGRADATIONS, Degradation
from data_tools.media.images import write_png
from data_tools.media.video_scan import Scanner

RECORD = '.make_lq.json'   # beside the frames; a file with a leading dot is not taken for a frame


def write_lq(config: MakeLqConfig) -> int:
    """Makes the LQ that the options describe and that does not exist yet.

    Returns:
      number of frames written.
    Raises:
      UserError: no clips, frames that do not decode, a folder that contains other files.
    """
    degradation = Degradation.from_config(config, config.scale, config.seed)
    found = clips.find_clips(config.data_dir, config.scale, clips=clips.parse_names(config.clips),
                             exclude=clips.parse_names(config.exclude), degradation=degradation, split=False,
                             scanner=Scanner(allow_damaged=config.allow_damaged, deinterlacing=config.deinterlacing))
    places = dataset_layouts.find(config.data_dir, config.scale, True, False).sides['gt']
    tasks = []
    for clip in found:
        folder = target(config, places[clip.name])
        record = dict(degradation.to_job(), scale=config.scale, frames=clip.length, source=clip.gt.fingerprint())
        first = _prepare(folder, clip, record, config.overwrite)
        if first < clip.length:
            tasks.append((clip, folder, first))
    total = sum(clip.length - first for clip, _, first in tasks)
    if len(tasks) < len(found):
        print('%d of %d clips exist already' % (len(found) - len(tasks), len(found)))
    workers = config.workers or worker_pool.available_cores()
    worker_pool.run(write_clip, tasks, workers, 'making LQ', total, ' frames')
    print('%s: LQ of %d clips, %d frames written' % (config.output_dir, len(found), total))
    return total


def target(config: MakeLqConfig, place: dataset_layouts.Place) -> str:
    """Returns the folder for the LQ of a clip; raises UserError if it is that of the GT.

    Args:
      config: the options.
      place: of the GT.
    """
    path = dataset_layouts.lq_place(place, config.scale, DEGRADATIONS[config.degradation].published_as)
    same = os.path.realpath(config.data_dir) == os.path.realpath(config.output_dir)
    while not same and path.startswith('../'):   # Vimeo-90K has LQ beside its root
        path = path[len('../'):]
    folder = os.path.join(config.output_dir, path)
    if os.path.realpath(folder) == os.path.realpath(place.path):
        raise UserError('LQ would be written over the GT in %s: give another --output_dir' % place.path)
    return folder


def _prepare(folder, clip, record, overwrite):
    """Makes a folder ready for LQ; returns the number of the first frame to write.

    LQ whose source has changed is made again; what was made in another way stays, unless `overwrite`.
    """
    path = os.path.join(folder, RECORD)
    names = {entry.name for entry in dataset_layouts.entries(folder)}
    if os.path.exists(path):
        old = schema.read(path, schema.MapOf(schema.Anything()), 'remove the folder, and its LQ is made again')
        if old == record:
            return next((i for i, name in enumerate(_names(clip)) if name not in names), clip.length)
        changed = sorted(key for key in set(old) | set(record)
                         if key not in ('frames', 'source') and old.get(key) != record.get(key))
        if changed and not overwrite:
            raise UserError('%s contains LQ that was made differently (%s): give the same options, another '
                            '--output_dir, or --overwrite' % (folder, ', '.join(
                                '%s was %r, is %r' % (key, old.get(key), record.get(key)) for key in changed)))
    elif names:
        raise UserError('%s is not empty and was not written by make_lq: give another --output_dir, or remove it'
                        % folder)
    files.remove(folder)
    files.make_dir(folder)
    files.write_json(path, record)
    return 0


def _names(clip):
    return ['%s.png' % clip.gt.name(index) for index in range(clip.length)]


def write_clip(clip: clips.Clip, folder: str, first: int) -> None:
    """Writes the LQ frames of a Clip from number `first` on."""
    files.remove_partials(folder)
    for name, frame in zip(_names(clip)[first:], clip.lq.read(first)):
        write_png(os.path.join(folder, name), frame, profile=clip.profile)
        worker_pool.report(1, frame.nbytes)
