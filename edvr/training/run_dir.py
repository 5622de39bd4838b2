"""The directory of a run: one process at a time, one configuration, and what must be remembered beside checkpoints.

`config.json`: the resolved configuration. `run_state.json`: rollbacks, checkpoints kept for good, the best one.
"""
import os

from data_tools.base import files, schema
from data_tools.base import lock as locks
from data_tools.base.errors import UserError

CONFIG_FILE, STATE_FILE, LOCK_FILE = 'config.json', 'run_state.json', 'lock'
CONFIG = schema.MapOf(schema.MapOf(schema.Anything()))   # topic -> option -> value; the options are compared
STATE = schema.Record(_optional={
    'rollbacks': schema.ListOf(schema.Record({'reason': schema.Text()}, to=schema.Integer(0))),
    'best': schema.Nullable(schema.Record(step=schema.Integer(0), psnr=schema.Number())),
    'kept': schema.MapOf(schema.Number()), 'kept_since': schema.Nullable(schema.Number())})
# options that may change between sessions of one run: they say where, how fast and how often, not what is computed
FREE = {
    'data': {'data_dir', 'read_threads', 'map_threads', 'read_buffer_kb', 'prefetch', 'shuffle_buffer'},
    'training': {'model_dir', 'override_config', 'steps', 'save_every', 'keep_last', 'keep_every_hours', 'log_every',
                 'summary_every', 'val_dir', 'val_clips', 'eval_every', 'eval_frames', 'image_every',
                 'recompute_alignment'},
}
# of the machine's options, only those that change what is computed are compared
RUNTIME = {'mixed_precision', 'precision_mode', 'loss_scale', 'loss_scale_value'}


def lock(directory):
    """A context manager that holds the directory for this process, see `data_tools.base.lock.hold`.

    Raises:
      UserError: another process holds it, or the directory is remote.
    """
    path = os.path.join(directory, LOCK_FILE)
    if files.is_remote(path):
        raise UserError('--model_dir=%s: a training directory must be on a file system with locks' % directory)
    return locks.hold(path, directory, '--model_dir')


def resolved(model, data, training, runtime, ranks):
    """All options with their defaults filled in, as a dict of dicts for JSON; ranks: int, processes of the job."""
    values = {'model': model.to_dict(), 'data': data.to_dict(), 'training': training.to_dict(),
              'runtime': runtime.to_dict(), 'job': {'ranks': ranks}}
    # the default period follows `steps`, which may change, but the schedule may not
    values['training'].update(cosine_periods=training.periods, restart_weights=training.weights)
    return _plain(values)


def _plain(value):
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def differences(old, new):
    """Texts of the options in which two resolved configurations differ, except those free to change: list of str."""
    texts = []
    for topic in sorted(new):
        before, after = old.get(topic, {}), new[topic]
        for name in sorted(set(before) | set(after)):
            if name in FREE.get(topic, ()) or (topic == 'runtime' and name not in RUNTIME):
                continue
            if before.get(name) != after.get(name):
                texts.append('%s was %r, is %r' % (name, before.get(name), after.get(name))
                             + _hint(name, before, after))
    return texts


def _hint(name, before, after):
    """What to say to whoever raised --steps and never named the periods."""
    if name != 'cosine_periods' or after[name] != [after['steps']] or not isinstance(before.get(name), list):
        return ''
    return (' (left empty, it is all --steps: --cosine_periods=%s keeps the schedule, whose rate then stays at its '
            'minimum; more periods are restarts)' % ','.join(map(str, before[name])))


def settle_config(directory, config, override):
    """Compares the configuration with that of the run in `directory`, if there is one, and saves it.

    Args:
      config: dict of `resolved`.
      override: bool, take the new one although it differs.
    Returns:
      list of str, the differences overridden.
    Raises:
      UserError: naming the options that differ.
    """
    path = os.path.join(directory, CONFIG_FILE)
    changed = []
    if os.path.exists(path):
        old = schema.read(path, CONFIG, 'restore it from a copy, or remove it to go on with the options given now')
        changed = differences(old, config)
    if changed and not override:
        raise UserError('%s was trained with another configuration: %s. Use the same options, another --model_dir, or '
                        '--override_config to go on with the new ones' % (directory, '; '.join(changed)))
    files.write_json(path, config)
    return changed


class RunState:
    """What the run remembers. Only rank 0 writes it.

    Attributes:
      rollbacks: list of dict, each return of the guard.
      best: dict(step, psnr), or None.
    """

    def __init__(self, directory, writes=True):
        self._path, self._writes = os.path.join(directory, STATE_FILE), writes
        values = schema.read(self._path, STATE, 'restore it from a copy, or remove it: rollbacks, the best checkpoint '
                             'and those kept for good are then forgotten') if os.path.exists(self._path) else {}
        self.rollbacks = values.get('rollbacks', [])
        self.best = values.get('best')
        self._kept = values.get('kept', {})   # step -> time, of checkpoints kept for good
        self._kept_since = values.get('kept_since')

    def add_rollback(self, **facts):
        self.rollbacks.append(facts)
        self._save()

    def forget_rollbacks(self):
        self.rollbacks = []
        self._save()

    def set_best(self, step, psnr):
        self.best = {'step': step, 'psnr': psnr}
        self._save()

    def is_kept(self, step):
        return str(step) in self._kept

    def due_to_keep(self, written, interval):
        """Whether a checkpoint is `interval` seconds younger than the last one kept (or the first ever judged)."""
        if self._kept_since is None:
            self._kept_since = written
            self._save()
        return written - self._kept_since >= interval

    def keep(self, step, written):
        self._kept[str(step)] = self._kept_since = written
        self._save()

    def _save(self):
        if self._writes:
            files.write_json(self._path, {'rollbacks': self.rollbacks, 'best': self.best, 'kept': self._kept,
                                          'kept_since': self._kept_since})
