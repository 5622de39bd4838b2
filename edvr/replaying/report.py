"""Writes what was found of a step: a contact sheet, a JSON file, and lines for the terminal."""
import math
import os
import typing

from data_tools.base import files
from data_tools.media import contact_sheet
from data_tools.media.images import write_png
from edvr import checkpoints
from edvr.replaying.batch import Sample
from edvr.replaying.examine import Numbers
from edvr.replaying.past_run import PastRun
from edvr.restore import pixels

SHOWN = 8   # samples and layers in the terminal


def write(folder: str, run: PastRun, samples: typing.Sequence[Sample], numbers: Numbers, prefix: str
          ) -> typing.List[str]:
    """Writes step_N.png and step_N.json into a folder; returns lines that say the most important.

    Args:
      prefix: of the checkpoint that gave the numbers.
    """
    files.make_dir(folder)
    path = os.path.join(folder, 'step_%d' % run.step)
    by_loss = sorted(range(len(samples)), key=lambda index: _rank(numbers.samples[index].loss,
                                                                        numbers.samples[index].gradient_norm))
    write_png(path + '.png', _sheet(samples, numbers, by_loss))
    files.write_json(path + '.json', _as_dict(run, samples, numbers, prefix))
    away = _away(run, prefix)
    recorded = run.recorded.get('train/loss')
    lines = ['step %d: %d samples of %d ranks, seed %d' % (run.step, len(samples), run.ranks, run.data.seed),
             'weights: %s, %s' % (prefix, 'exactly those of the step' if not away else '%d updates %s the step' % (
                 abs(away), 'before' if away > 0 else 'after')),
             'loss %.6g%s, gradient norm %.6g' % (
                 numbers.loss, '' if recorded is None else ' (the training had %.6g)' % recorded,
                 numbers.gradient_norm)]
    if run.step <= run.changes_since:
        lines.append('options: those of %s now; the version that trained the first %d steps did not record whether '
                     '--override_config had replaced others' % (run.directory, run.changes_since))
    lines.append('samples with the largest loss, before them those with loss or gradient that is not finite:')
    lines += ['  ' + caption(samples[index], numbers.samples[index]) for index in by_loss[:SHOWN]]
    lines.append('layers with the largest gradients, before them those that are not finite:')
    largest = sorted(numbers.layers.items(), key=lambda item: _rank(item[1]))[:SHOWN]
    return lines + ['  %s %.4g' % item for item in largest] + ['%s.png, %s.json' % (path, path)]


def caption(sample: Sample, numbers: typing.Any) -> str:
    """Returns the line of a sample: where it is from, and its numbers."""
    return 'rank %d, sample %d: %s frame %d at %d,%d, loss %.5f a value, %.2f dB, gradient %.4g, |offset| %s' % (
        sample.rank, sample.number, sample.clip, sample.frame, sample.x, sample.y, numbers.loss_per_pixel, numbers.psnr,
        numbers.gradient_norm, ' '.join('%s:%.2f' % item for item in numbers.offsets.items()) or 'none')


def _rank(value, *others):
    """Returns a key of sorting: first where one of the values is not finite, then by falling `value`."""
    return all(map(math.isfinite, (value,) + others)), -value if math.isfinite(value) else -math.inf


def _sheet(samples, numbers, order):
    """Returns a sheet of the samples in an order: first, centre and last LQ frame, restored, GT."""
    cells = []
    for index in order:
        sample, last = samples[index], len(samples[index].lq) - 1
        cells.append((caption(sample, numbers.samples[index]),
                      [sample.lq[0], sample.lq[last // 2], sample.lq[last],
                       pixels.to_uint8(numbers.samples[index].sr), sample.gt]))
    return contact_sheet.sheet(cells, 1, max(128, min(256, samples[0].gt.shape[0])))


def _away(run, prefix):
    """Returns the updates between the checkpoint and the step; negative after it."""
    return run.step - 1 - checkpoints.step_of(prefix)


def _as_dict(run, samples, numbers, prefix):
    def of_sample(sample, found):
        named = sample._asdict()
        named.update(found._asdict())
        return {name: value for name, value in named.items() if name not in ('lq', 'gt', 'sr')}
    return dict(step=run.step, ranks=run.ranks, batch_size=run.data.batch_size, seed=run.data.seed,
                micro_batches=run.data.micro_batches, options_known=run.step > run.changes_since, checkpoint=prefix,
                updates_before_step=_away(run, prefix), loss=numbers.loss, gradient_norm=numbers.gradient_norm,
                recorded=run.recorded, layers=numbers.layers,
                samples=[of_sample(*pair) for pair in zip(samples, numbers.samples)])
