"""The parts of a job that are no graph: ranks, environment, adapter, options, data."""
from __future__ import annotations

import dataclasses
import functools
import importlib.util
import os
from typing import NamedTuple, Sequence

from data_tools.base import files
from data_tools.base.config import names_with
from data_tools.base.errors import UserError
from edvr.config import DataConfig, ModelConfig, RanksConfig, RuntimeConfig, TrainingConfig
from edvr.config.npu import NpuConfig
from edvr.data.input_pipeline import open_sets
from edvr.devices import adapter_options, npu_environment
from edvr.devices.npu import ADAPTERS
from edvr.devices.npu_chips import Chip
from edvr.devices.startup_checks import failures
from edvr.launch import npu_cards, npu_plan, plan, rank_table, tf_config
from edvr.placement.job_graphs import PlannedNpu
from edvr.training.training_run import check_options

ALL_CARDS = 8   # ranks of a host whose cards are not known here


class Job(NamedTuple):
    """Describes a job that could be submitted.

    Attributes:
      size: number of ranks.
      ranks, environment, adapter, data: a line about each.
      on_910: what HCCL refuses of its cards on Ascend 910.
    """
    size: int
    ranks: str
    environment: str
    adapter: str
    data: str
    on_910: list[str]


def check(model: ModelConfig, data: DataConfig, training: TrainingConfig, runtime: RuntimeConfig, ranks: RanksConfig,
          chips: Sequence[Chip]) -> Job:
    """Returns what is known of a job.

    The environment of this process becomes that of rank 0.

    Args:
      model, data, training, runtime, ranks: the options of the job.
      chips: those that it may run on.
    Raises:
      UserError: names everything because of which the job would not start.
    """
    found: list[str] = []
    size, about_ranks = 1, ''
    cards: list[rank_table.Rank] = []
    try:
        size, about_ranks, cards = _ranks(runtime, ranks, data.batch_size)
    except UserError as error:
        found.append(str(error))
    faults, doubts = npu_cards.faults_on_910(cards)
    if all(chip.is_910 for chip in chips):
        found += faults
    device = PlannedNpu(runtime, size)
    counts = {name: getattr(training, name) for name in sorted(names_with('counts_steps', TrainingConfig))}
    found += device.option_faults(counts, training.loss_reduction) + ([] if found else npu_environment.problems())
    found += failures(functools.partial(check_options, model, data, training))
    about_data = _data(model, data, size, found)
    about_adapter = _adapter(device, runtime, found)
    if len(found) == 1:
        raise UserError(found[0])
    if found:
        raise UserError('%d problems: %s' % (len(found), '; '.join(found)))
    return Job(size, about_ranks, 'complete for rank 0, as the launcher sets it', about_adapter, about_data,
               faults + doubts)


def _ranks(runtime: RuntimeConfig, ranks: RanksConfig, batch_size: int) -> tuple[int, str, list[rank_table.Rank]]:
    """Returns the number of ranks, a line about them, and those whose cards are known.

    Changes the environment to that of rank 0.
    """
    if PlannedNpu.RANK_VARIABLE in os.environ:
        rank, size = npu_environment.rank_and_size()
        return size, 'this process is rank %d of %d, by RANK_ID and RANK_SIZE' % (rank, size), []
    if tf_config.has_cluster():
        raise UserError('the environment variable TF_CONFIG names a cluster: on NPUs ranks come from the rank table; '
                        'unset it')
    path = npu_plan.table_of(runtime.num_devices, ranks)
    if path:
        table = rank_table.load(path)
        npu_plan.meeting_of(table)
        npu_plan.check_sizes(table, table.servers, path, runtime.num_devices, batch_size)
        size, servers = len(table.ranks), len(table.servers)
        text = '%s on %s, by the rank table %s' % (plan.plural(size, 'rank'), plan.plural(servers, 'server'), path)
        placed = table.ranks
    else:
        cards, hosts = runtime.num_devices or ALL_CARDS, max(1, len(ranks.hosts))
        size = cards * hosts
        placed = [rank_table.Rank(number, card, '', 'a host')   # all have the same
                  for number, card in enumerate((ranks.device_ids or range(cards))[:cards])]
        text = '%s on %s' % (plan.plural(size, 'rank'), plan.plural(hosts, 'host'))
        if size > 1:
            text += '; the rank table is made at the start from the addresses of the cards, which are not known here'
        if not runtime.num_devices:
            text += '; --num_devices=0 is taken for %d cards a host' % ALL_CARDS
    # a table that HCCL does not read as it is is written again at the start
    usable = os.path.abspath(table.file) if path and table.for_hccl and size > 1 else None
    # nothing can be compared with a table that does not exist yet
    plan.apply(npu_plan.environment_of(0, size if usable else 1, placed[0].device_id, usable))
    return size, text, placed


def _data(model: ModelConfig, data: DataConfig, size: int, found: list[str]) -> str:
    """Returns a line about the data; appends its problems."""
    if data.input != 'tfrecords':
        return '--input=%s' % data.input
    absent = [folder for folder, _ in data.sets if files.is_remote(folder) or not os.path.isdir(folder)]
    if absent:
        return 'not looked at, for it is not on this host: %s' % ', '.join(absent)
    wrong = failures(functools.partial(open_sets, data, model.num_frames, model.upscale, size))
    found += wrong
    return 'the manifest fits the network and %s' % plan.plural(size, 'rank')


def _adapter(device: PlannedNpu, runtime: RuntimeConfig, found: list[str]) -> str:
    """Returns a line about the adapter; appends the problems of an installed one."""
    installed = [name for name in ADAPTERS if importlib.util.find_spec(name)]
    if installed:
        wrong = failures(device.require_options)
        found += wrong
        return '%s, at least release %s by its options, takes the options of the job' % (
            installed[0], '?' if wrong else device.adapter_release())
    needs = _releases(runtime)
    return 'none here (%s); %s' % (' or '.join(ADAPTERS), '; '.join(needs) if needs else
                                   'the options of the job exist in all releases since r1.1.1')


def _releases(runtime: RuntimeConfig) -> list[str]:
    """Returns a text for each option that only some releases of the adapter have."""
    texts = []
    for field in dataclasses.fields(NpuConfig):
        if getattr(runtime, field.name) == field.default or field.name == 'npu_option':
            continue
        for name in field.metadata['adapter'] or (field.name,):
            texts += _release(name, '--' + field.name)
    for text in runtime.npu_option:
        texts += _release(text.partition('=')[0], '--npu_option=' + text)
    return texts


def _release(argument: str, flag: str) -> list[str]:
    since = ['since %s' % adapter_options.SINCE[argument]] if argument in adapter_options.SINCE else []
    if argument in adapter_options.REMOVED:
        since.append('until before %s' % adapter_options.REMOVED[argument][0])
    return ['%s needs a release %s' % (flag, ', '.join(since))] if since else []
