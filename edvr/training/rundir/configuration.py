"""`config.json` of a training directory: the resolved options, compared whenever the run is continued."""
import os

from data_tools.base import files, schema
from data_tools.base.errors import UserError

CONFIG_FILE = 'config.json'
CONFIG = schema.Record(
    _others=True, _optional={'sessions': schema.ListOf(schema.Anything())},
    data=schema.Record(_others=True, batch_size=schema.Integer(1)),
    job=schema.Record(_others=True, _optional={'replicas': schema.Integer(1)}, ranks=schema.Integer(1)),
    **dict.fromkeys(('model', 'training', 'runtime'), schema.MapOf(schema.Anything())))
# options that may change between sessions of one run: they do not change what is computed
FREE = {
    'data': {'data_dir', 'read_threads', 'map_threads', 'read_buffer_kb', 'prefetch', 'shuffle_buffer'},
    'training': {'model_dir', 'override_config', 'steps', 'save_every', 'keep_last', 'keep_every_hours', 'log_every',
                 'summary_every', 'val_dir', 'val_clips', 'eval_every', 'eval_frames', 'image_every',
                 'recompute_alignment'},
}
# of the runtime options, only those that change what is computed are compared
RUNTIME = {'mixed_precision', 'precision_mode', 'loss_scale', 'loss_scale_value'}
COMPARED = ('data', 'model', 'runtime', 'training')
# options that may differ between the ranks of a job: the paths on each host, and its threads
OF_A_HOST = {'data_dir', 'model_dir', 'val_dir', 'read_threads', 'map_threads', 'read_buffer_kb', 'prefetch',
             'intra_op_threads', 'inter_op_threads', 'op_compiler_cache_dir', 'dump_path'}


def resolved(model, data, training, runtime, ranks, replicas=None):
    """All options with their defaults filled in, as a dict of dicts for JSON.

    Args:
      model, data, training, runtime: ModelConfig, DataConfig, TrainingConfig, RuntimeConfig.
      ranks: int, processes of the job.
      replicas: int, copies of the network in the job, each with its own batch; None means one for each rank.
    """
    values = {'model': model.to_dict(), 'data': data.to_dict(), 'training': training.to_dict(),
              'runtime': runtime.to_dict(), 'job': {'ranks': ranks, 'replicas': replicas or ranks}}
    # the default period is `steps`, which may change between sessions; the schedule may not
    values['training'].update(cosine_periods=training.periods, restart_weights=training.weights)
    return _plain(values)


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def shared(config):
    """The options that must be equal on all ranks of a job: {'--option': value} of a resolved configuration (dict)."""
    return {'--' + name: value for topic in ('model', 'data', 'training', 'runtime')
            for name, value in config[topic].items() if name not in OF_A_HOST}


def hparams(config):
    """The hyperparameters that TensorBoard shows: {option: bool, number or str} of a resolved configuration (dict)."""
    values = {name: value for topic in ('model', 'data', 'training') for name, value in config[topic].items()
              if name not in OF_A_HOST and name not in FREE.get(topic, ())}
    values.update(steps=config['training']['steps'], whole_batch=_whole_batch(config),
                  device=config['runtime']['device'])
    return {name: ','.join(map(str, value)) if isinstance(value, list) else value for name, value in values.items()}


def differences(old, new):
    """Describes the options in which two resolved configurations differ, except those that may change: list of str."""
    texts = []
    for topic in COMPARED:
        before, after = old.get(topic, {}), new[topic]
        for name in sorted(set(before) | set(after)):
            if name in FREE.get(topic, ()) or (topic == 'runtime' and name not in RUNTIME) or name == 'batch_size':
                continue
            if before.get(name) != after.get(name):
                texts.append('%s was %r, is %r' % (name, before.get(name), after.get(name))
                             + _hint(name, before, after))
    if _whole_batch(old) != _whole_batch(new):
        texts.append('the whole batch was %s, is %s%s' % (_batch(old), _batch(new), _batch_hint(old, new)))
    return texts


def _hint(name, before, after):
    """The advice when --steps is raised without --cosine_periods."""
    if name != 'cosine_periods' or after[name] != [after['steps']] or not isinstance(before.get(name), list):
        return ''
    return (' (left empty, it is all --steps: --cosine_periods=%s keeps the schedule, whose rate then stays at its '
            'minimum; more periods are restarts)' % ','.join(map(str, before[name])))


def _replicas(config):
    return config['job'].get('replicas', config['job']['ranks'])


def _whole_batch(config):
    return config['data']['batch_size'] * _replicas(config)


def _batch(config):
    return '%d (%d x --batch_size=%d)' % (_whole_batch(config), _replicas(config), config['data']['batch_size'])


def _batch_hint(old, new):
    share, rest = divmod(_whole_batch(old), _replicas(new))
    return '' if rest else '; --batch_size=%d keeps it' % share


def settle(directory, config, override, session=None):
    """Compares the configuration with that of the run in `directory`, if there is one, and saves it.

    Another number of replicas with the same whole batch is the same configuration.

    Args:
      config: dict of `resolved`.
      session: dict of `origin.describe`, or None; the file keeps those of all sessions that differ.
      override: bool, use the new configuration although it differs.
    Returns:
      (list of str: the overridden differences; str: the new division of the whole batch between devices, '' if it has
      not changed).
    Raises:
      UserError: options differ; the text names them.
    """
    path = os.path.join(directory, CONFIG_FILE)
    old = config
    if os.path.exists(path):
        old = schema.read(path, CONFIG, 'restore it from a copy, or remove it to continue with the options given now')
    changed = differences(old, config)
    if changed and not override:
        raise UserError('%s was trained with another configuration: %s. Use the same options, another --model_dir, or '
                        '--override_config to continue with the new ones' % (directory, '; '.join(changed)))
    sessions = old.get('sessions', [])
    if session and session not in sessions[-1:]:
        sessions = sessions + [session]
    files.write_json(path, dict(config, sessions=sessions))
    division = ''
    if _replicas(old) != _replicas(config) and not changed:
        division = 'the same whole batch on another number of devices: %s, was %s' % (_batch(config), _batch(old))
    return changed, division
