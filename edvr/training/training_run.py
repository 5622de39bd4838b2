"""A training run, from the state of its directory to its last step: sessions, rollbacks, resumes."""
import contextlib
import os
import sys
import typing

import tensorflow.compat.v1 as tf

from data_tools.base import files, staging
from data_tools.base.command_line import CommandLine
from data_tools.base.config import names_with
from data_tools.base.errors import UserError
from data_tools.media.clips import Clip
from data_tools.media.degradation import Degradation
from edvr import checkpoints
from edvr.config import DataConfig, ModelConfig, RanksConfig, RuntimeConfig, TrainingConfig
from edvr.config.data import PACKED
from edvr.data import damage
from edvr.data.input_meter import InputMeter
from edvr.data.input_pipeline import open_sets, train_dataset
from edvr.data.mixture import Mixture
from edvr.devices import device_of, startup_checks
from edvr.devices.base import Device
from edvr.launch import agreement
from edvr.tensorboard.run_record import RunRecord
from edvr.training import update_guard, validation_clips
from edvr.training.hooks import checkpoint_saver, input_wait, signals
from edvr.training.hooks.guard_hook import Guard
from edvr.training.hooks.log_line import LogLine
from edvr.training.hooks.pace import DeviceHours
from edvr.training.hooks.step_hook import Control, LoopHook
from edvr.training.hooks.summaries import Curves, End
from edvr.training.hooks.validation import Validation
from edvr.training.model_fn import make_model_fn
from edvr.training.rundir import configuration, provenance, run_state


class Run:
    """One run; `train` performs its remaining steps."""

    def __init__(self, model: ModelConfig, data: DataConfig, training: TrainingConfig, runtime: RuntimeConfig,
                 ranks: typing.Optional[RanksConfig] = None, command: typing.Optional[CommandLine] = None) -> None:
        """Checks the options, the data and the device.

        Args:
          model, data, training, runtime: the configuration.
          ranks: None for the defaults.
          command: saved with the run, or None.
        Raises:
          UserError: names all problems.
        """
        self.command = command
        self.model, self.data, self.training = model, data, training
        self.runtime = runtime
        self.device = device_of(runtime)
        self.ranks = ranks or RanksConfig()
        self.directory = training.model_dir
        self.mixture: typing.Optional[Mixture] = None
        self.val_clips: typing.List[Clip] = []
        self.notes: typing.List[str] = []
        self._counts = {name: getattr(training, name) for name in sorted(names_with('counts_steps', TrainingConfig))}
        startup_checks.check(self.device, self._counts, training.loss_reduction, [
            self._check_options, self._check_data, self._check_start, self._find_clips])
        self.rank, self.size = self.device.rank_and_size()
        self.writes = self.device.is_writer
        self.replicas = self.device.num_replicas()
        self.hosts = 1   # known when all ranks have met

    def train(self) -> int:
        """Trains up to `training.steps`.

        Returns:
          The exit code: 0 at the last step; 128 + the signal's number when a signal ended it earlier.
        Raises:
          UserError: input that does not fit, another run in the directory, disk full, too many rollbacks.
        """
        control = Control()
        with signals.signals(control, None if self.writes else self.ranks.stop_timeout), self._held_directory():
            self.state = run_state.RunState(self.directory, self.writes)
            forgotten = self.training.override_config and bool(self.state.rollbacks)
            if forgotten:
                # on every rank, because the offset rate, and so the update, depends on the rollbacks
                self.state.forget_rollbacks()
            self._prepare_directory(forgotten)
            with signals.waiting(control):
                self._agree()
            while self._step() < self.training.steps and control.signal is None:
                control.rollback = None
                try:
                    self._session(control)
                except (tf.errors.OpError, UserError) as error:
                    if control.following is None:
                        raise
                    print('%s: the step failed, as it does when rank 0 has ended: %s' % (
                        signals.name(control.following), _first_line(error)), file=sys.stderr, flush=True)
                    control.signal = control.following
                if not control.rollback:
                    # a rank that does not write may be ahead of the last checkpoint, so it must not read the directory
                    break
                self._roll_back(control.rollback)
        if control.signal is None and control.steps and control.skipped >= control.steps:
            raise UserError('all %d updates of this run were skipped, so nothing was trained: %s. %s' % (
                control.steps, control.reason, update_guard.advice(control.reason)))
        if self.writes:   # the other ranks may end before the last checkpoint is written
            print(self._outcome(control.signal), flush=True)
        return 0 if control.signal is None else 128 + control.signal

    def _outcome(self, signal):
        if signal is None:
            return 'trained %d steps: %s' % (self._step(), checkpoints.latest(self.directory))
        return ('%s: stopped at step %d of %d; the same command continues from there'
                % (signals.name(signal), self._step(), self.training.steps))

    def _check_options(self, rank, size):
        check_options(self.model, self.data, self.training)

    def _check_data(self, rank, size):
        if self.data.input == 'tfrecords':
            self.mixture = open_sets(self.data, self.model.num_frames, self.model.upscale, size)
            self.notes += ['note: %s has no checksums of its records, as sets of older versions: shards that are '
                           'exchanged while the training runs are not noticed; pack the set again to have them'
                           % part.folder for part in self.mixture.parts if not part.manifest.has_record_crcs]

    def _check_start(self, rank, size):
        training = self.training
        checkpoints.check_path(self.directory)
        if training.init_from and not checkpoints.prefixes(self.directory):
            checkpoints.chosen(training.init_from)
        step = self._step()
        wrong = self.device.resume_problems(step, self._counts) if step < training.steps else []
        if wrong:
            raise UserError('; '.join(wrong))

    def _find_clips(self, rank, size):
        if rank == 0:
            made = self.data.degradation
            sets = [(part.folder, Degradation.from_job(part.manifest.job) if made == PACKED
                     else Degradation(made, self.model.upscale, seed=self.data.seed))
                    for part in (self.mixture.parts if self.mixture else ())]
            self.val_clips, notes = validation_clips.find(self.training, sets, self.model.upscale)
            self.notes += notes

    def _held_directory(self):
        if not self.writes:
            return contextlib.nullcontext()   # only rank 0 writes the directory
        files.make_dir(self.directory)
        return run_state.lock(self.directory)

    def _prepare_directory(self, forgotten):
        """Prepares the directory: compares configurations, removes partial files, names the latest whole checkpoint."""
        self.config = configuration.resolved(self.model, self.data, self.training, self.runtime, self.size,
                                             self.replicas)
        if not self.writes:
            print('rank %d of %d; rank 0 reports' % (self.rank, self.size), flush=True)
            return
        for note in self.device.placement(self.model, training=True) + self.notes:
            print(note, flush=True)
        trained = bool(checkpoints.prefixes(self.directory))
        # the options of a run that ended before its first checkpoint are not compared: they may be why it ended
        self.origin = provenance.describe(self.runtime.device, self.replicas, self._manifest_checksum(), self.command,
                                          self.device.versions())
        changed, division = configuration.save_run_config(
            self.directory, self.config, self.training.override_config or not trained, self.origin, self._step(),
            forgotten)
        if changed and trained:
            print('configuration overridden: ' + '; '.join(changed), flush=True)
        if division and trained:
            print(division, flush=True)
        self._report_damage()
        checkpoints.save_model_config(self.directory, self.model)
        files.remove_partials(self.directory)
        if trained:
            checkpoints.write_state(self.directory)
            print('continuing %s at step %d' % (self.directory, self._step()), flush=True)

    def _report_damage(self):
        """Prints a line for each small file of the directory that is damaged; they are written again."""
        problem = checkpoints.state_problem(self.directory)
        problems = ['%s; this run goes on from step %d' % (problem, self._step())] if problem else []
        if os.path.lexists(os.path.join(self.directory, checkpoints.MODEL_FILE)):
            try:
                checkpoints.load_model_config(self.directory)
            except UserError as error:
                problems.append('%s; it is written again from the options' % error)
        for problem in problems:
            print('warning: ' + problem, file=sys.stderr, flush=True)

    def _agree(self):
        """Waits until all ranks have started and rank 0 has prepared the directory; compares what the ranks train."""
        if self.size > 1:
            values = dict(configuration.shared(self.config), **{
                'step of the last checkpoint': self._step(), 'manifest of --data_dir': self._manifest_checksum()})
            self.hosts = agreement.check(values, self.rank, self.size,
                                         self.device.rendezvous_address(self.ranks.port), self.ranks.start_timeout)

    @property
    def sets(self) -> typing.Tuple[str, ...]:
        """Returns the names of the sets that the data mixes; none of a single set."""
        return self.mixture.names if self.mixture and len(self.mixture.parts) > 1 else ()

    def _manifest_checksum(self):
        return self.mixture.checksum() if self.mixture else None

    def _step(self):
        """Returns the updates done, according to the directory."""
        if not checkpoints.prefixes(self.directory):
            return 0
        return checkpoints.step_of(checkpoints.latest(self.directory))

    def _offset_rate(self):
        return self.training.offset_rate * self.training.rollback_factor ** len(self.state.rollbacks)

    def _session(self, control):
        """Runs one session, from the latest checkpoint to the last step, a signal or a rollback."""
        step = self._step()
        self.state.begin_session(step)
        resumes = bool(checkpoints.prefixes(self.directory))
        training = self.training.replace(init_from='') if resumes else self.training
        model_fn = make_model_fn(self.model, training, self.device, self._offset_rate(), len(self.sets),
                                 self.data.micro_batches)
        estimator = self.device.make_estimator(model_fn, self.directory, seed=self.data.seed)
        with contextlib.ExitStack() as stack:
            # a strategy in one process takes one batch for each of its replicas
            meter = InputMeter(self.data.batch_size, self.replicas // self.size) if self.mixture else None
            hook = LoopHook(self._callbacks(control, step, stack, meter), control, self.sets)
            with explained_failures(self.data, self.device):
                self.device.train(estimator, lambda: self._dataset(step, meter), [hook], self.training.steps)

    def _callbacks(self, control, step, stack, meter):
        skips = Guard(self.training, control, self.writes)
        if not self.writes:
            return [skips]
        record = stack.enter_context(RunRecord(self.directory, step))
        record.text(step, 'configuration', _as_table(self.config))
        record.text(step, 'origin', provenance.as_text(self.origin))
        record.hparams(step, configuration.hparams(self.config), os.path.basename(os.path.abspath(self.directory)))
        batch = self.data.batch_size * self.replicas
        patch = self.data.patch_size * self.model.upscale
        values = batch * patch * patch * 3 if self.training.loss_reduction == 'sum' else 1
        hours = DeviceHours(self.replicas, record.last.get('watch_speed/device_hours') or 0.)
        store = checkpoint_saver.CheckpointStore(
            self.directory, self.training.keep_last, self.training.keep_every_hours, self.state)
        listeners = [Validation(self.val_clips, self.training, self.device.VALIDATION_DEVICE, record, store)
                     ] if self.val_clips else []
        return [skips, LogLine(self.training, batch, hours, values_in_loss=values, meter=meter),
                Curves(self.training, batch, values, record, hours, self.runtime, meter),
                checkpoint_saver.Checkpoints(self.training, control, store, listeners), End(self.training, record)]

    def _dataset(self, step, meter):
        data = self.data.replace(seed=self.state.data_seed(self.data.seed))
        per_step = self.replicas // self.size
        dataset = train_dataset(data, self.model.num_frames, self.model.upscale, data.batch_size, self.rank, self.size,
                                step * per_step, meter, per_step)
        return input_wait.timed(dataset) if self._waits_measured() else dataset

    def _waits_measured(self):
        return self.device.MEASURES_INPUT_WAIT and self.replicas == 1

    def _roll_back(self, reason):
        """Records a rollback; the next session starts from the latest checkpoint, which is older than the fault."""
        done, step = len(self.state.rollbacks), self._step()
        if done >= self.training.max_rollbacks:
            raise UserError(
                'training keeps failing: %s. It went back %d time(s), lowering the offset rate to %g. %s; then '
                'continue with --override_config' % (reason, done, self._offset_rate(), update_guard.advice(reason)))
        self.state.add_rollback(reason=reason, to=step)
        if self.writes:
            print('GUARD: ROLLBACK %d of %d: %s. Back to step %d, with DCN-offset rate %g and other batches' % (
                done + 1, self.training.max_rollbacks, reason, step, self._offset_rate()), file=sys.stderr, flush=True)
        if self.hosts > 1 and staging.is_copy(self.directory):
            raise UserError('%s: the run goes back, but other hosts have no checkpoints of rank 0, because --model_dir '
                            'is a copy of obs:// on each: start the job again, it continues from there' % reason)


def check_options(model: ModelConfig, data: DataConfig, training: TrainingConfig) -> None:
    """Raises UserError naming the options of a run that do not fit each other, whatever the device."""
    wrong = []
    if not training.model_dir:
        wrong.append('--model_dir is not given; it is where checkpoints and logs go')
    if data.patch_size % model.size_multiple:
        wrong.append('patch_size is %d; it must be a multiple of %d for this network'
                     % (data.patch_size, model.size_multiple))
    if training.tsa_only_steps and not model.with_tsa:
        wrong.append('--tsa_only_steps is %d, but the network has no TSA (--with_tsa=false)' % training.tsa_only_steps)
    if wrong:
        raise UserError('; '.join(wrong))


@contextlib.contextmanager
def explained_failures(data: DataConfig, device: typing.Optional[Device] = None) -> typing.Iterator[None]:
    """Converts the errors of TensorFlow that the user can fix into UserError.

    Args:
      data: to find the damaged record.
      device: to explain its failures.
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        raise UserError('out of memory: raise --micro_batches (up to --batch_size), lower --patch_size, or use '
                        '--recompute_alignment (%s)' % _first_line(error)) from error
    except tf.errors.OpError as error:
        meaning = device.explain(error) if device else ''
        if meaning:
            raise UserError('%s (%s)' % (meaning, _first_line(error))) from error
        damaged = damage.explain(error, data)
        if damaged:
            raise damaged from error
        if 'RestoreV2' in str(error):
            raise UserError('a checkpoint was damaged between its check and its use (%s): start again; then it is '
                            'checked again' % _first_line(error)) from error
        if isinstance(error, tf.errors.DataLossError):
            raise UserError('a TFRecord is damaged (%s): run data_tools.check_tfrecords on --data_dir'
                            % _first_line(error)) from error
        raise


def _first_line(error):
    return str(error).split('\n')[0]


def _as_table(config):
    """Returns the configuration as Markdown tables for TensorBoard."""
    lines = []
    for topic, values in sorted(config.items()):
        lines += ['', '### ' + topic, '', '| option | value |', '|---|---|']
        lines += ['| %s | %s |' % (name, os.fspath(value) if isinstance(value, str) else value)
                  for name, value in sorted(values.items())]
    return '\n'.join(lines)
