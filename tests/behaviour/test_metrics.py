# SPDX-License-Identifier: GPL-2.0-or-later
"""exim-quotactl stats for Prometheus, on standard output and over HTTP."""

import re
import socket
import subprocess
from typing import NamedTuple

from daemon import PATIENCE_SECONDS, SANITIZER_REPORT
from mailboxes import make_maildir, write_maildirsize
from test_ctl import ERROR, FITS, CtlTestCase, binary, environment

GET = b'GET /metrics HTTP/1.1\r\nHost: mx:9718\r\nAccept: */*\r\n\r\n'


class Response(NamedTuple):
    """What came over the connection, and how the program ended."""

    raw: bytes
    ended: int
    stderr: str

    @property
    def status(self) -> int:
        """The status of the response."""
        return int(re.match(rb'HTTP/1\.1 (\d{3}) [A-Z][A-Za-z ]+\r\n', self.raw)[1])

    @property
    def body(self) -> bytes:
        """What follows the head, as long as that says."""
        head, _, body = self.raw.partition(b'\r\n\r\n')
        length = int(re.search(rb'(?m)^Content-Length: (\d+)\r$', head + b'\r\n')[1])
        assert len(body) in (0, length), (len(body), length)
        return body


def samples(text: str) -> dict[str, float]:
    """Returns the values by name and labels. Every line is one, or about the one after it."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not re.match(r'# (HELP|TYPE) exim_quotad_\w+ ', line):
            name, value = line.rsplit(' ', 1)
            assert name not in found, line
            found[name] = float(value)
    return found


class MetricsTest(CtlTestCase):
    """A service that has been asked, and what is said of that."""

    def setUp(self) -> None:
        super().setUp()
        make_maildir(self.root / 'joe', [100, 23])
        write_maildirsize(make_maildir(self.root / 'full'), '1000S', '1001 9')
        self.daemon = self.start('--warn=90', f'--mailbox={self.root}/%n')
        for request in ('usage joe@x', 'check full@x', 'check full@x', 'check size=1001 full@x',
                        'check quota=130 joe@x', 'usage /etc', 'no such', 'check @@'):
            self.daemon.ask(request)

    def http(self, *pieces: bytes, shut: bool = False, options: tuple = ()) -> Response:
        """Sends a request piece by piece, as a client whose connection systemd has accepted."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            process = subprocess.Popen(
                [binary(), f'--socket={self.daemon.address}', *options, 'stats', '--http'],
                stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
            theirs.close()
            ours.settimeout(PATIENCE_SECONDS)
            for piece in pieces:
                ours.sendall(piece)
            if shut:
                ours.shutdown(socket.SHUT_WR)
            raw = b''
            while received := ours.recv(65536):
                raw += received
        stdout, stderr = process.communicate(timeout=PATIENCE_SECONDS)
        self.assertEqual(stdout, b'')
        self.assertNotRegex(stderr.decode(), SANITIZER_REPORT)
        return Response(raw, process.returncode, stderr.decode())

    def metrics(self) -> dict[str, float]:
        """Returns what --prometheus prints."""
        ended = self.ctl('stats', '--prometheus', address=self.daemon.address)
        self.assertEqual((ended.status, ended.stderr), (FITS, ''))
        return samples(ended.stdout)

    def test_the_values(self):
        [stats] = self.objects('stats', address=self.daemon.address)
        found = self.metrics()
        self.assertEqual(found['exim_quotad_queries_total'], stats['queries'] + 1)
        for name, key in (('scans_total', 'scans'), ('cache_hits_total', 'cache_hits'),
                          ('shared_queries_total', 'shared'), ('timeouts_total', 'timeouts'),
                          ('stuck_scans', 'stuck'), ('cached_mailboxes', 'mailboxes'),
                          ('watches', 'watches'), ('watch_hits_total', 'watch_hits'),
                          ('watch_invalidations_total', 'watch_invalidations'),
                          ('watch_overflows_total', 'watch_overflows')):
            self.assertEqual(found[f'exim_quotad_{name}'], stats[key], name)
        self.assertEqual(
            {name: value for name, value in found.items() if 'verdict' in name},
            {'exim_quotad_verdicts_total{verdict="ok"}': 1,
             'exim_quotad_verdicts_total{verdict="warn"}': 1,
             'exim_quotad_verdicts_total{verdict="over"}': 2,
             'exim_quotad_verdicts_total{verdict="toolarge"}': 1})
        errors = {name: value for name, value in found.items() if 'errors' in name}
        self.assertEqual({re.search('"(.*)"', name)[1]: value for name, value in errors.items()
                          if value}, {'bad-request': 1, 'bad-address': 1, 'outside-root': 1})
        self.assertEqual(len(errors), 12, 'a series begins with 0')
        self.assertEqual(sum(errors.values()), stats['errors'])
        self.assertEqual(stats['over'], 3)
        version = stats['version']
        self.assertEqual(found[f'exim_quotad_build_info{{version="{version}"}}'], 1)
        self.assertEqual(found['exim_quotad_misconfigured'], 0)

    def test_the_histogram(self):
        found = self.metrics()
        name = 'exim_quotad_query_duration_seconds'
        buckets = [(float(re.search('le="(.*)"', each)[1].replace('+', '')), value)
                   for each, value in found.items() if each.startswith(f'{name}_bucket')]
        self.assertEqual(buckets, sorted(buckets), 'both grow')
        self.assertEqual((len(buckets), buckets[0][0], buckets[-2][0], buckets[-1][0]),
                         (21, 0.000032, 16.777216, float('inf')))
        self.assertEqual(buckets[-1][1], 8, 'all that were asked about mailboxes')
        self.assertEqual(found[f'{name}_count'], 8)
        self.assertGreater(found[f'{name}_sum'], 0)
        most = sum(end * (value - before) for (end, value), (_, before)
                   in zip(buckets[:-1], [(0, 0), *buckets]))
        self.assertLessEqual(found[f'{name}_sum'], most)

    def test_no_name_of_a_mailbox(self):
        text = self.ctl('stats', '--prometheus', address=self.daemon.address).stdout
        for name in ('joe', 'full', '@', str(self.root), '/etc'):
            self.assertNotIn(name, text)

    def test_a_table_without_lists(self):
        self.assertNotIn(':', self.ctl('stats', address=self.daemon.address).stdout)

    def test_http(self):
        for pieces in ((GET,), [bytes((byte,)) for byte in GET],
                       (GET.replace(b'\r\n', b'\n'),),
                       (GET.replace(b'1.1', b'1.0').replace(b'Host: mx:9718\r\n', b''),),
                       (GET.replace(b'/metrics', b'/metrics?a=/b'),),
                       (GET[:-2] + b'X: ' + b'x' * 8000 + b'\r\n\r\n',)):
            with self.subTest(pieces=pieces):
                response = self.http(*pieces)
                self.assertEqual((response.status, response.ended, response.stderr), (200, 0, ''))
                self.assertIn(b'\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n',
                              response.raw)
                found, expected = samples(response.body.decode()), self.metrics()
                self.assertEqual(list(found), list(expected))

    def test_head(self):
        response = self.http(GET.replace(b'GET', b'HEAD'))
        self.assertEqual((response.status, response.body), (200, b''))

    def test_wrong_requests(self):
        for status, request in (
                (404, GET.replace(b'/metrics', b'/')),
                (404, GET.replace(b'/metrics', b'/metric')),
                (404, GET.replace(b'/metrics', b'/metrics/')),
                (404, GET.replace(b'/metrics', b'//metrics')),
                (404, b'POST / HTTP/1.1\r\n\r\n'),
                (405, GET.replace(b'GET', b'POST')[:-2] + b'Content-Length: 3\r\n\r\nabc'),
                (405, GET.replace(b'GET', b'get')),
                (400, GET.replace(b'/metrics', b'metrics')),
                (400, GET.replace(b' HTTP/1.1', b'')),
                (400, GET.replace(b'HTTP/1.1', b'HTTP/2')),
                (400, b'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
                (400, GET.replace(b'GET ', b' ')),
                (400, GET.replace(b'mx', b'm\0x')),
                (400, b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\n'),
                (400, b'\r\n\r\n'),
                (400, b'GET /metrics HTTP/1.1\r\nX: ' + b'x' * 8200),
                (400, b'x' * 60000)):
            with self.subTest(request=request[:100]):
                response = self.http(request)
                self.assertEqual((response.status, response.ended, response.stderr),
                                 (status, FITS, ''))
                self.assertEqual(response.body, b'There is only /metrics, for GET and HEAD.\n')
                self.assertEqual(b'\r\nAllow: GET, HEAD\r\n' in response.raw, status == 405)

    def test_half_a_request(self):
        self.assertEqual(self.http(GET[:-1], shut=True).status, 400)

    def test_clients_that_say_nothing(self):
        for how in ({'shut': True}, {'options': ('--timeout=50',)}):
            response = self.http(**how)
            self.assertEqual((response.raw, response.ended, response.stderr), (b'', FITS, ''))
        response = self.http(GET[:-2], options=('--timeout=50',))
        self.assertEqual((response.raw, response.ended, response.stderr), (b'', FITS, ''))

    def test_no_service(self):
        nobody = self.folder / 'nobody'
        response = self.http(GET, options=(f'--socket={nobody}',))
        self.assertEqual((response.status, response.ended), (503, ERROR))
        self.assertIn(b'there is no such socket', response.body)
        self.assertIn('there is no such socket', response.stderr)
        self.assert_fails(self.ctl('stats', '--prometheus', address=nobody),
                          'there is no such socket')

    def test_what_goes_with_it(self):
        for words, text in ((('--prometheus', 'ping'), '--prometheus needs the command stats'),
                            (('--http', 'check', '/x'), '--http needs the command stats'),
                            (('--http', 'stats'), 'standard input is not a socket')):
            with self.subTest(words=words):
                self.assert_fails(self.ctl(*words, address=self.daemon.address), text)
