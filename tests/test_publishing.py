"""A reader finds the old export or the new one, whatever fails or is killed while files are replaced."""
import os

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.core.protobuf import saved_model_pb2

from data_tools.base import files
from data_tools.base.errors import UserError
from edvr.config import ModelConfig
from edvr.config.export import InterfaceConfig
from edvr.exporting import description, publishing
from edvr.exporting.formats import FORMATS

KINDS = ['frozen', 'parts', 'saved_model']


def files_of(folder, kind):
    path = os.path.join(str(folder), 'EDVR')
    return description.parts_files(path) if kind == 'parts' else description.whole_files(
        path + ('.pb' if kind == 'frozen' else ''))


def write(place, mark, kind):
    """An export of graphs without a network; `mark` is in each of its files."""
    graphs = {}
    for make, path in zip(place.kinds, place.graphs):
        graph = make(ModelConfig(), InterfaceConfig(batch_size=1))
        with tf.Graph().as_default() as built:
            tf.constant(0, name=mark)
            for name in graph.NODES:
                tf.placeholder(tf.float32, name=name)
        FORMATS['saved_model' if kind == 'saved_model' else 'frozen'].write(path, graph, built.as_graph_def())
        graphs[graph] = dict(sha256=description.checksum_of(path))
    files.write_json(place.sidecar, description.describe(graphs, dcn_impl='tf', mark=mark))


def mark_of(place):
    """The mark of an export, which is that of all its files."""
    exported = description.read(place.graphs[0])
    for graph_def in exported.graphs.values():
        assert exported.content['mark'] in {node.name for node in graph_def.node}
    return exported.content['mark']


def replace(folder, kind):
    with publishing.draft_folder(files_of(folder, kind).graphs[0]) as draft:
        write(files_of(draft, kind), 'new', kind)
        publishing.publish(files_of(draft, kind), files_of(folder, kind))


def interfere(monkeypatch, first, last, act):
    """Makes calls number `first` to `last` of os.replace do something else; returns the list of all calls."""
    calls, move = [], os.replace

    def interfered(old, new):
        if old.endswith(files.PARTIAL):   # a description is written
            return move(old, new)
        calls.append(new)
        return act() if first <= len(calls) <= last else move(old, new)

    monkeypatch.setattr(os, 'replace', interfered)
    return calls


def drafts(folder):
    return [name for name in os.listdir(str(folder)) if name.startswith(description.DRAFT)]


def fail():
    raise PermissionError(13, 'Permission denied')


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('existing', [True, False])
def test_replaces_all_files_and_leaves_no_others(tmp_path, kind, existing):
    if existing:
        write(files_of(tmp_path, kind), 'old', kind)
    replace(tmp_path, kind)
    assert mark_of(files_of(tmp_path, kind)) == 'new'
    assert sorted(os.listdir(str(tmp_path))) == sorted(map(os.path.basename, files_of(tmp_path, kind).entries))


@pytest.mark.parametrize('error', [PermissionError, KeyboardInterrupt])
@pytest.mark.parametrize('kind, position', [(kind, position) for kind, moves in zip(KINDS, (2, 3, 2))
                                            for position in range(1, moves + 1)])
def test_a_move_that_fails_leaves_the_old_export(tmp_path, monkeypatch, kind, position, error):
    place = files_of(tmp_path, kind)
    write(place, 'old', kind)
    before = sorted(os.listdir(str(tmp_path)))

    def act():
        raise error(13, 'Permission denied')

    monkeypatch.setattr(files, 'exchange', lambda *paths: False)   # as on a file system that cannot
    calls = interfere(monkeypatch, position, position, act)
    with pytest.raises(UserError if error is PermissionError else error):
        replace(tmp_path, kind)
    assert len(calls) >= position
    assert mark_of(place) == 'old' and sorted(os.listdir(str(tmp_path))) == before


@pytest.mark.parametrize('kind, moves', [('frozen', 2), ('parts', 3), ('saved_model', 1)])
def test_a_move_that_fails_without_an_old_export_leaves_nothing(tmp_path, monkeypatch, kind, moves):
    for position in range(1, moves + 1):
        with monkeypatch.context() as patch, pytest.raises(UserError):
            interfere(patch, position, position, fail)
            replace(tmp_path, kind)
        assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize('kind, position', [('frozen', 1), ('frozen', 2), ('parts', 1), ('parts', 2), ('parts', 3)])
def test_moves_that_fail_for_good_leave_a_whole_export_and_name_the_folder(tmp_path, monkeypatch, kind, position):
    write(files_of(tmp_path, kind), 'old', kind)
    interfere(monkeypatch, position, 99, fail)
    with pytest.raises(publishing.UnfinishedError) as error:
        replace(tmp_path, kind)
    folder, = drafts(tmp_path)
    assert folder in str(error.value)
    assert mark_of(files_of(tmp_path, kind)) == ('old' if position == 1 else 'new')


def in_a_child(action):
    """Calls `action()` in a process that it has to end with exit code 9."""
    child = os.fork()
    if not child:
        try:
            action()
        finally:
            os._exit(1)
    assert os.WEXITSTATUS(os.waitpid(child, 0)[1]) == 9


def die(*unused):
    os._exit(9)


@pytest.mark.parametrize('undoing', [False, True])
@pytest.mark.parametrize('kind', ['frozen', 'parts'])
def test_a_killed_process_leaves_a_whole_export(tmp_path, monkeypatch, kind, undoing):
    """Killed at each move in turn, and at each move of undoing the last one. The next export removes its draft."""
    place = files_of(tmp_path, kind)
    moves = len(place.entries)
    for position in range(1, moves + 1):
        write(place, 'old', kind)

        def replace_and_die(killed=moves - 1 + position if undoing else position):
            interfere(monkeypatch, killed, killed, die)
            if undoing:
                interfere(monkeypatch, moves, moves, fail)
            replace(tmp_path, kind)
        in_a_child(replace_and_die)
        assert mark_of(place) == ('new' if (position > 1) != undoing else 'old')
        assert len(drafts(tmp_path)) == 1
        replace(tmp_path, kind)
        assert mark_of(place) == 'new' and not drafts(tmp_path)


@pytest.mark.parametrize('exchanged', [False, True])
def test_a_killed_process_leaves_a_whole_saved_model(tmp_path, monkeypatch, exchanged):
    """Killed before and after the exchange with the old one."""
    place, exchange = files_of(tmp_path, 'saved_model'), files.exchange
    write(place, 'old', 'saved_model')
    for name in 'ab':
        (tmp_path / name).mkdir()
    if not exchange(str(tmp_path / 'a'), str(tmp_path / 'b')):
        pytest.skip('this file system does not exchange folders')

    def replace_and_die():
        monkeypatch.setattr(files, 'exchange', lambda *paths: die(exchanged and exchange(*paths)))
        replace(tmp_path, 'saved_model')
    in_a_child(replace_and_die)
    assert mark_of(place) == ('new' if exchanged else 'old') and len(drafts(tmp_path)) == 1
    replace(tmp_path, 'saved_model')
    assert mark_of(place) == 'new' and not drafts(tmp_path)


def test_a_draft_that_is_being_written_is_not_removed(tmp_path):
    place = files_of(tmp_path, 'frozen')
    with publishing.draft_folder(place.graphs[0]) as draft:
        write(files_of(draft, 'frozen'), 'other', 'frozen')
        replace(tmp_path, 'frozen')
        assert mark_of(place) == 'new'
        publishing.publish(files_of(draft, 'frozen'), place)
    assert mark_of(place) == 'other' and not drafts(tmp_path)


def test_a_destination_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match='is a folder'):
        publishing.check_destination(str(tmp_path), folder=False)
    with pytest.raises(UserError, match='not a SavedModel'):
        publishing.check_destination(str(tmp_path), folder=True)


def test_the_maps_of_a_saved_model_are_written_in_one_order(tmp_path):
    """TensorFlow 1.15 writes them in another order in each process."""
    place = files_of(tmp_path, 'saved_model')
    write(place, 'new', 'saved_model')
    with open(os.path.join(place.graphs[0], 'saved_model.pb'), 'rb') as file:
        data = file.read()
    assert data == saved_model_pb2.SavedModel.FromString(data).SerializeToString(deterministic=True)
