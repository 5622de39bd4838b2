"""Ranks on CPUs and GPUs, which find each other through TF_CONFIG.

On a CPU each rank is a process. On GPUs one process drives all GPUs of a host (MirroredStrategy): its replicas exchange
gradients inside the process and share one input pipeline, and a single host needs no ports and no rank numbers. Several
hosts have one process each (MultiWorkerMirroredStrategy).
"""
import json
import os

from data_tools.base.errors import UserError
from edvr.launch import addresses
from edvr.launch.plan import WORKERS, Plan, equal_recipe, hosts_of, plural


def on_cpu(runtime, ranks):
    """The Plan of a job on CPUs."""
    here = runtime.num_devices or 1
    hosts, place = hosts_of(ranks)
    if here * len(hosts) == 1:
        return Plan({}, {}, [])
    if len(hosts) == 1:
        workers = ['localhost:%d' % port for port in addresses.free_ports(here)]
    else:
        ports = [ranks.port + WORKERS + index for index in range(here)]
        addresses.require_free(ports)
        workers = ['%s:%d' % (host, port) for host in hosts for port in ports]
    first = place * here
    environments = {rank: _tf_config(workers, rank) for rank in range(first, first + here)}
    return Plan(environments, {}, ['%s on this CPU, which share its %s: slow, for tests of a job only'
                                   % (plural(here, 'rank'), plural(len(os.sched_getaffinity(0)), 'core'))])


def on_gpu(runtime, ranks, batch_size, found):
    """The Plan of a job on GPUs.

    Args:
      found: int, GPUs that TensorFlow sees on this host.
    """
    if runtime.num_devices > found > 0:
        raise UserError('--num_devices=%d, but TensorFlow sees %s on this host (CUDA_VISIBLE_DEVICES can hide some); '
                        'the same whole batch is %s' % (runtime.num_devices, plural(found, 'GPU'),
                                                        equal_recipe(runtime.num_devices, found, batch_size)))
    hosts, place = hosts_of(ranks)
    if len(hosts) == 1:
        return Plan({}, {}, [])
    addresses.require_free([ranks.port + WORKERS])
    workers = ['%s:%d' % (host, ranks.port + WORKERS) for host in hosts]
    return Plan({}, _tf_config(workers, place), ['host %d of %d' % (place, len(hosts))])


def _tf_config(workers, rank):
    return dict(TF_CONFIG=json.dumps(dict(cluster=dict(worker=workers), task=dict(type='worker', index=rank))))
