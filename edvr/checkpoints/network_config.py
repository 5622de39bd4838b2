"""`model.json`: the configuration of the network whose checkpoints lie beside it."""
import dataclasses
import os

from data_tools.base import files, schema
from data_tools.base.errors import UserError
from edvr.config import ModelConfig

MODEL_FILE = 'model.json'
_ADDED = ('network',)   # since version 1.0.0; files without them mean their defaults
# ModelConfig checks types and limits
_FIELDS = schema.Record(dict.fromkeys(_ADDED, schema.Anything()), False, **{
    field.name: schema.Anything() for field in dataclasses.fields(ModelConfig) if field.name not in _ADDED})


def save_model_config(model_dir: str, config: ModelConfig) -> None:
    """Writes the ModelConfig as `<model_dir>/model.json`; creates the directory."""
    files.make_dir(model_dir)
    files.write_json(os.path.join(model_dir, MODEL_FILE), config.to_dict())


def load_model_config(path: str) -> ModelConfig:
    """Returns the ModelConfig saved beside the checkpoints of a model directory or of a prefix.

    Raises:
      UserError: the file is missing or is not a network's configuration.
    """
    directory = path if os.path.isdir(path) else os.path.dirname(path) or '.'
    name = os.path.join(directory, MODEL_FILE)
    if not os.path.exists(name):
        raise UserError('%s: cannot be read; it describes the network of the checkpoints beside it and is written by '
                        'edvr.train and edvr.import_weights' % name)
    values = schema.read(name, _FIELDS, 'restore it from a copy; edvr.train writes it again when it continues the run')
    try:
        return ModelConfig.from_dict(values)
    except UserError as error:
        raise UserError('%s: not a valid description of a network: %s' % (name, error)) from None
