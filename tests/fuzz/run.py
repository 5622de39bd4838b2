"""Coverage-guided fuzzing of the readers in harnesses.py with Atheris.

    pip install atheris                                          Python 3.11, an environment beside that of the tests
    python tests/fuzz/run.py --seconds=60 [NAME ...]             each harness in turn; without names all

Prints a line for each harness, and exits with 1 if one found an error. The input of a finding is kept and named.
"""
import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile

sys.path[:0] = [os.path.dirname(os.path.abspath(__file__)),
                os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]
ONE_INPUT_S = 20


def fuzz(name, corpus, arguments):
    """Fuzzes in this process, which ends with it."""
    import atheris
    with atheris.instrument_imports(include=['data_tools', 'edvr', 'zipfile']):
        import harnesses
        harness = harnesses.HARNESSES[name]
        for index, seed in enumerate(harness.seeds()):
            with open(os.path.join(corpus, 'seed%d' % index), 'wb') as file:
                file.write(seed)

        def one(data):
            with contextlib.suppress(*harness.errors):
                harness.read(data)
        one(b'')   # loads what is loaded on demand
    atheris.Setup([sys.argv[0], corpus] + arguments, one)
    atheris.Fuzz()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME')
    parser.add_argument('--seconds', type=int, default=60, help='time of each harness')
    parser.add_argument('--within', help=argparse.SUPPRESS)   # of a child: the folder of its corpus
    options = parser.parse_args()
    if options.within:
        fuzz(options.names[0], options.within, [
            '-max_total_time=%d' % options.seconds, '-timeout=%d' % ONE_INPUT_S, '-rss_limit_mb=4096', '-max_len=4096',
            '-artifact_prefix=%s-' % os.path.join(tempfile.gettempdir(), 'edvr-fuzz-' + options.names[0])])
        return 0
    import harnesses
    unknown = sorted(set(options.names) - set(harnesses.HARNESSES))
    if unknown:
        parser.error('no harness %s; there are %s' % (', '.join(unknown), ', '.join(sorted(harnesses.HARNESSES))))
    failed = 0
    for name in options.names or sorted(harnesses.HARNESSES):
        with tempfile.TemporaryDirectory() as corpus:
            done = subprocess.run([sys.executable, os.path.abspath(__file__), name, '--seconds=%d' % options.seconds,
                                   '--within=' + corpus], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  universal_newlines=True, errors='replace', check=False)
        runs = re.findall(r'^#(\d+)', done.stdout, re.M)
        print('%-12s %9s runs  %s' % (name, runs[-1] if runs else 0, 'no finding' if not done.returncode else
                                      'FINDING:\n' + done.stdout[-3000:]), flush=True)
        failed += done.returncode != 0
    return int(failed > 0)


if __name__ == '__main__':
    sys.exit(main())
