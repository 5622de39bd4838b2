"""The files of an exported graph: written to a folder beside their destination, and moved after verification."""
import contextlib
import os
import shutil
import tempfile

import tensorflow.compat.v1 as tf

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.exporting import signature
from edvr.exporting.loading import no_deprecations


def check_destination(destination, kind):
    """Raises UserError if the destination holds something other than an export of this kind."""
    if kind != 'saved_model' and os.path.isdir(destination):
        raise UserError('%s is a folder: give the name of a file' % destination)
    if kind == 'saved_model' and os.path.exists(destination) and not os.path.isfile(
            os.path.join(destination, 'saved_model.pb')):
        raise UserError('%s exists and is not a SavedModel: give another --output' % destination)
    files.make_dir(os.path.dirname(destination) or '.')


@contextlib.contextmanager
def draft_folder(destination):
    """A temporary folder beside the destination."""
    with files.explained(destination):
        folder = tempfile.mkdtemp(prefix='.export-', dir=os.path.dirname(destination) or '.')
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_graph(path, graph_def):
    """Writes a GraphDef; returns the checksum of its bytes, str."""
    data = graph_def.SerializeToString()
    with open(path, 'wb') as file:
        file.write(data)
    return signature.checksum(data)


def write_frozen(path, graph_def, model, interface, facts):
    content = signature.describe(model, interface, sha256=write_graph(path, graph_def), **facts)
    files.write_json(signature.sidecar_path(path), content)
    return content


def write_saved_model(path, graph_def, model, interface, facts):
    with no_deprecations(), tf.Graph().as_default() as graph, tf.Session() as session:
        tf.import_graph_def(graph_def, name='')
        ends = [{name: tf.saved_model.build_tensor_info(graph.get_tensor_by_name(name + ':0'))}
                for name in (signature.INPUT, signature.OUTPUT)]
        serving = tf.saved_model.build_signature_def(*ends, method_name=tf.saved_model.PREDICT_METHOD_NAME)
        builder = tf.saved_model.Builder(path)
        builder.add_meta_graph_and_variables(session, [tf.saved_model.SERVING],
                                             {tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: serving})
        builder.save()
    with open(os.path.join(path, 'saved_model.pb'), 'rb') as file:
        content = signature.describe(model, interface, sha256=signature.checksum(file.read()), **facts)
    os.mkdir(os.path.dirname(signature.sidecar_path(path)))
    files.write_json(signature.sidecar_path(path), content)
    return content


def publish(draft, destination, folder):
    """Moves the verified graph and its description to the destination; between the two moves their checksums differ."""
    if os.path.isdir(draft):
        if os.path.exists(destination):
            os.replace(destination, os.path.join(folder, 'replaced'))
        os.replace(draft, destination)
        return
    os.replace(signature.sidecar_path(draft), signature.sidecar_path(destination))
    os.replace(draft, destination)


def publish_parts(draft, destination):
    """Moves two verified graphs and their description to the destination; between the moves their checksums differ.

    Args:
      draft, destination: parts.Paths.
    """
    for old, new in zip(draft, destination):
        os.replace(old, new)
