"""`config.json` of a training directory: the resolved options, compared whenever the run is continued."""
import dataclasses
import os
from typing import Any, Dict, List, Optional, Tuple, Type

from data_tools.base import files, schema, staging
from data_tools.base.config import Config, element_type, names_with
from data_tools.base.errors import UserError
from edvr.config import DataConfig, ModelConfig, RuntimeConfig, TrainingConfig
from edvr.tensorboard.hparams import HParam

CONFIG_FILE = 'config.json'
CONFIG = schema.Record(
    _others=True, _optional={
        'changes_since': schema.Integer(0), 'sessions': schema.ListOf(schema.MapOf(schema.Anything())),
        'changes': schema.ListOf(schema.Record(step=schema.Integer(0), changed=schema.ListOf(schema.Text())))},
    data=schema.Record(_others=True, _optional={'micro_batches': schema.Integer(1)}, batch_size=schema.Integer(1)),
    job=schema.Record(_others=True, _optional={'replicas': schema.Integer(1)}, ranks=schema.Integer(1)),
    **dict.fromkeys(('model', 'training', 'runtime'), schema.MapOf(schema.Anything())))
TOPICS: Dict[str, Type[Config]] = {'data': DataConfig, 'model': ModelConfig, 'runtime': RuntimeConfig,
                                   'training': TrainingConfig}
Options = Dict[str, Dict[str, Any]]   # topic -> {option: value}


def resolved(model: ModelConfig, data: DataConfig, training: TrainingConfig, runtime: RuntimeConfig, ranks: int,
             replicas: Optional[int] = None) -> Options:
    """Returns all options with their defaults filled in, for JSON.

    Args:
      ranks: processes of the job.
      replicas: copies of the network in the job, each with its own batch; None means one for each rank.
    """
    values = {'model': model.to_dict(), 'data': data.to_dict(), 'training': training.to_dict(),
              'runtime': runtime.to_dict(), 'job': {'ranks': ranks, 'replicas': replicas or ranks}}
    # the default period is `steps`, which may change between sessions; the schedule may not
    values['training'].update(cosine_periods=training.periods, restart_weights=training.weights,
                              init_from=staging.original(training.init_from))   # wherever the copy is
    return _plain(values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def shared(config: Options) -> Dict[str, Any]:
    """Returns {'--option': value} of the options that must be equal on all ranks of a job."""
    return {'--' + name: value for topic in ('model', 'data', 'training', 'runtime')
            for name, value in config[topic].items() if name not in names_with('local', TOPICS[topic])}


def hparams(config: Options) -> Dict[str, HParam]:
    """Returns {option: value} of the options that TensorBoard compares runs by, of the type of the option."""
    values: Dict[str, HParam] = {}
    for topic in ('training', 'data', 'model'):
        for field in dataclasses.fields(TOPICS[topic]):
            if field.metadata['compared']:
                value = config[topic][field.name]
                values[field.name] = float(value) if element_type(field) in (int, float) else value
    return dict(values, whole_batch=float(_whole_batch(config)))


def differences(old: Options, new: Options) -> List[str]:
    """Describes the options in which two resolved configurations differ, except those that may change."""
    texts = []
    for topic, cls in sorted(TOPICS.items()):
        # an option that the older configuration lacks had the effect of today's default
        before, after = dict(_plain(cls().to_dict()), **cls.current_names(old.get(topic, {}))), new[topic]
        # a runtime option that only the older configuration has did not change what was computed
        names = set(after) if topic == 'runtime' else set(before) | set(after)
        for name in sorted(names - names_with('may_change', cls) - {'batch_size'}):
            if before.get(name) != after.get(name):
                texts.append('%s was %r, is %r' % (name, before.get(name), after.get(name))
                             + _hint(name, before, after))
    if _whole_batch(old) != _whole_batch(new):
        texts.append('the whole batch was %s, is %s%s' % (_batch(old), _batch(new), _batch_hint(old, new)))
    return texts


def _hint(name: str, before: Dict[str, Any], after: Dict[str, Any]) -> str:
    """Returns the advice when --steps is raised without --cosine_periods."""
    if name != 'cosine_periods' or after[name] != [after['steps']] or not isinstance(before.get(name), list):
        return ''
    return (' (left empty, it is all --steps: --cosine_periods=%s keeps the schedule, whose rate then stays at its '
            'minimum; more periods are restarts)' % ','.join(map(str, before[name])))


def _replicas(config: Options) -> int:
    return config['job'].get('replicas', config['job']['ranks'])


def _slices(config: Options) -> int:
    return config['data'].get('micro_batches', 1)


def _whole_batch(config: Options) -> int:
    return config['data']['batch_size'] * _replicas(config)


def _batch(config: Options) -> str:
    return '%d (%d x --batch_size=%d)' % (_whole_batch(config), _replicas(config), config['data']['batch_size'])


def _batch_hint(old: Options, new: Options) -> str:
    share, rest = divmod(_whole_batch(old), _replicas(new))
    return '' if rest else '; --batch_size=%d keeps it' % share


def changes_since(config: Dict[str, Any], now: int) -> int:
    """Returns the step after which `changes` of a run is complete; `now`: updates that it has made."""
    return config.get('changes_since', 0 if 'changes' in config else now)


def save_run_config(directory: str, config: Options, override: bool, session: Optional[Dict[str, Any]] = None,
                    step: int = 0, forgotten: bool = False) -> Tuple[List[str], str]:
    """Compares the configuration with that of the run in `directory`, if there is one, and saves it.

    Another number of replicas with the same whole batch is the same configuration.

    Args:
      config: all options, of `resolved`.
      override: use the new configuration although it differs.
      session: the origin of this session (`provenance.describe`), or None; the file keeps those of all sessions that
        differ.
      step: updates that the run has made; the file keeps what changed after which step, and after which step it began
        to: earlier versions did not.
      forgotten: whether its rollbacks were forgotten.
    Returns:
      (the overridden differences, the new division of the whole batch into devices and slices: '' if it has not
      changed).
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
    sessions: Any = old.get('sessions', [])
    texts = changed + (['rollbacks were forgotten'] if forgotten else [])
    if session and sessions and session['data'] != sessions[-1].get('data'):
        texts = texts + ['data of another checksum']
    # a run that went back to an earlier step repeats the steps from there with its present options
    before: Any = old.get('changes', [])
    changes = [dict(change, step=min(change['step'], step)) for change in before]
    if texts and step:
        changes = changes + [{'step': step, 'changed': texts}]
    if session and session not in sessions[-1:]:
        sessions = sessions + [session]
    since = 0 if old is config else changes_since(old, step)
    files.write_json(path, dict(config, sessions=sessions, changes=changes, changes_since=min(since, step)))
    divisions = []
    if _replicas(old) != _replicas(config) and not changed:
        divisions.append('the same whole batch on another number of devices: %s, was %s'
                         % (_batch(config), _batch(old)))
    if _slices(old) != _slices(config) and not changed:
        divisions.append('the same steps in other slices: --micro_batches=%d, was %d' % (_slices(config), _slices(old)))
    return changed, '; '.join(divisions)
