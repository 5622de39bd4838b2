"""The report about a job: everything as values for JSON, and one page of text."""
from __future__ import annotations

import collections
from typing import Any, Iterator, Sequence

import numpy as np

from data_tools.base.errors import UserError
from data_tools.base.version import __version__
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.config.placement import PlacementConfig
from edvr.devices import npu_chips
from edvr.devices.npu_chips import Chip
from edvr.network import networks
from edvr.placement import job_graphs, operators
from edvr.placement.graph import Node
from edvr.placement.job import Job
from edvr.placement.job_graphs import PlannedNpu
from edvr.placement.memory import BatchMemory

SOURCE = 'operators of CANN 8.1.RC1 and rules of its kernels, read in an installed one'
NEVER_SEEN = ('a card, the graph engine or atc with these graphs', 'speed', 'memory that a card uses',
              'newer CANN releases, whose operators may differ')
_SHOWN = (operators.AI_CPU, operators.HOST, operators.OTHER_NAME)
_GB = 1e9
READ, ASSUMED = 'read', 'general knowledge'
DEFAULT_CHIPS = ('910', '910b', '910_93')


def make(job: Job, model: ModelConfig, data: DataConfig, training: TrainingConfig, runtime: RuntimeConfig,
         config: PlacementConfig) -> dict[str, Any]:
    """Returns the report about a job, in values that JSON has.

    Args:
      job: what `job.check` returned.
      model, data, training, runtime: the options of the job.
      config: chips, and the size of exported frames.
    """
    height, width = config.frame_size
    step, export = 'training step', 'export %dx%d' % (height, width)
    graphs: dict[str, dict[str, Any]] = {step: {}, export: {}}
    devices = {name: PlannedNpu(runtime, job.size, chip) for name, chip in chips(config, runtime).items()}
    memory: list[dict[str, Any]] = []
    for (splits, _), names in _variants(devices, model).items():
        one, two = (job_graphs.training(model, data, training, devices[names[0]], batch) for batch in (1, 2))
        memory += _memory(BatchMemory(one, two), model, data, {name: devices[name].chip for name in names})
        for graph, nodes in ((step, one), (export, job_graphs.export(model, height, width, splits))):
            for name in names:
                graphs[graph][name] = dict(nodes=len(nodes), **_placed(nodes, devices[name]))
    return dict(
        version=__version__, source=SOURCE, never_seen=list(NEVER_SEEN), meanings=operators.MEANINGS,
        job=dict(job._asdict(), batch_size=data.batch_size, micro_batches=data.micro_batches,
                 whole_batch=data.batch_size * job.size, patch_size=data.patch_size, channels=model.channels,
                 deform_groups=model.deform_groups),
        chips={name: _about(device.chip, device.placement(model, training=True), job.on_910)
               for name, device in devices.items()},
        graphs={name: dict(chips={key: found[key] for key in devices}) for name, found in graphs.items()},
        memory=memory)


def chips(config: PlacementConfig, runtime: RuntimeConfig) -> dict[str, Chip]:
    """Returns {name: chip} of the chips to check. Raises UserError if the table of operators lacks that of the job."""
    names = config.chips or ((runtime.soc_version,) if runtime.soc_version else DEFAULT_CHIPS)
    found = {name: npu_chips.listed(name) for name in names}
    if not all(chip.family for chip in found.values()):
        raise UserError('--soc_version=%s: the operators of CANN 8.1 do not list this chip; give --chips, such as '
                        '--chips=%s' % (runtime.soc_version, ','.join(DEFAULT_CHIPS)))
    return found


def _variants(devices: dict[str, PlannedNpu], model: ModelConfig) -> dict[tuple[bool, bool], list[str]]:
    """Returns {what of a chip its graphs depend on: names of the chips that have the same graphs}."""
    found: dict[tuple[bool, bool], list[str]] = {}
    for name, device in devices.items():
        found.setdefault(device.variant(model), []).append(name)
    return found


def _about(chip: Chip, deformable: list[str], on_910: list[str]) -> dict[str, Any]:
    return dict(name=chip.name, family=chip.family, cores=chip.cores, cores_known=READ if chip.cores_read else ASSUMED,
                memory_gb=chip.memory_gb, memory_known=ASSUMED, deformable=deformable,
                cards=on_910 if chip.is_910 else [])


def _placed(nodes: Sequence[Node], device: PlannedNpu) -> dict[str, Any]:
    places: collections.Counter = collections.Counter()
    details: collections.Counter = collections.Counter()
    for node in nodes:
        place, reason = operators.place_of(node, device.chip, device.half)
        places[place] += 1
        if place in _SHOWN:
            details[node.operator, place, reason] += 1
    return dict(places={place: places[place] for place in operators.PLACES if places[place]},
                elsewhere=[dict(operator=operator, count=count, place=place, reason=reason)
                           for (operator, place, reason), count in sorted(details.items())])


def _memory(of: BatchMemory, model: ModelConfig, data: DataConfig, chips: dict[str, Chip]) -> list[dict[str, Any]]:
    """Returns the memory of a step on chips with the same graphs, for each number of slices that divides the batch."""
    weights = 4 * sum(int(np.prod(shape)) for shape in networks.variable_shapes(model).values())
    rows = []
    for count in (count for count in range(1, data.batch_size + 1) if data.batch_size % count == 0):
        memory = of.of(data.batch_size // count)
        total = memory.stored + memory.padded + (weights if count > 1 else 0)   # the sums of the gradients
        rows.append(dict(chips=list(chips), slices=count, samples=data.batch_size // count,
                         variables=memory.stored, tensors=memory.live,
                         padded=memory.padded, total=total,
                         fits={name: total < chip.memory_gb * _GB for name, chip in chips.items() if chip.memory_gb}))
    return rows


def text(report: dict[str, Any]) -> str:
    """Returns the report as one page."""
    return '\n'.join(_lines(report)) + '\n'


def _lines(report: dict[str, Any]) -> Iterator[str]:
    job = report['job']
    yield 'job          batch %d x %d = %d, crops of %d, C=%d, G=%d' % (
        job['batch_size'], job['size'], job['whole_batch'], job['patch_size'], job['channels'], job['deform_groups'])
    for name in ('ranks', 'environment', 'adapter', 'data'):
        yield '%-12s %s' % (name, job[name])
    yield ''
    for name, chip in report['chips'].items():
        memory = '%d GB a card (%s)' % (chip['memory_gb'], chip['memory_known']) if chip['memory_gb'] else \
            'memory depends on the card'
        yield '%-12s %s: %d AI cores (%s), %s' % (name, chip['name'], chip['cores'], chip['cores_known'], memory)
        yield from chip['deformable'] + chip['cards']
    for name, graph in report['graphs'].items():
        yield ''
        yield '%s: %s nodes' % (name, ' or '.join(dict.fromkeys(
            str(placed['nodes']) for placed in graph['chips'].values())))
        yield '  %-10s%s' % ('chip', ''.join('%14s' % place for place in operators.PLACES))
        for chip, placed in graph['chips'].items():
            yield '  %-10s%s' % (chip, ''.join('%14d' % placed['places'].get(place, 0) for place in operators.PLACES))
        for line, chips in _grouped(graph['chips']).items():
            yield '  %s: %s' % (', '.join(chips), line)
    yield ''
    yield 'memory of a step in GB, estimated: variables %.2f, and the tensors that live at once' % (
        report['memory'][0]['variables'] / _GB)
    yield '  %-8s%10s%10s%10s%10s' % ('slices', 'samples', 'tensors', 'padded', 'total')
    for row in report['memory']:
        if row['slices'] == 1 and len(row['chips']) < len(report['chips']):
            yield '  %s:' % ', '.join(row['chips'])
        small = [name for name, fits in row['fits'].items() if not fits]
        yield '  %-8d%10d%10.2f%10.2f%10.2f%s' % (
            row['slices'], row['samples'], row['tensors'] / _GB, row['padded'] / _GB, row['total'] / _GB,
            '  more than a card of %s has' % ', '.join(small) if small else '')
    yield '  float32 without workspaces; padded: channels in blocks of 16; this job has --micro_batches=%d' % (
        job['micro_batches'])
    yield ''
    used = [place for place in operators.PLACES if any(
        place in placed['places'] for graph in report['graphs'].values() for placed in graph['chips'].values())]
    for place in used:
        yield '%-12s %s' % (place, report['meanings'][place])
    yield '%-12s %s' % ('read', report['source'])
    yield '%-12s %s' % ('never seen', '; '.join(report['never_seen']))


def _grouped(chips: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Returns {line about an operator off AI Core: chips of which it is true}."""
    lines: dict[str, list[str]] = {}
    for name, placed in chips.items():
        for item in placed['elsewhere']:
            if item['place'] != operators.OTHER_NAME:
                line = '%d %s on %s (%s)' % (item['count'], item['operator'], item['place'], item['reason'])
                lines.setdefault(line, []).append(name)
    return lines
