# SPDX-License-Identifier: GPL-2.0-or-later
"""The metrics, as the real Prometheus scrapes and reads them."""

import json
import re
import socket
import urllib.parse
from functools import partial

from harness import readme
from harness.container import wait_until
from harness.image import PACKAGES_FOLDER
from harness.scenario import Scenario
from harness.service import CONFIG_FILE, SOCKET, Service, answer_of, configuration

METRICS_SOCKET = 'exim-quotad-metrics.socket'
METRICS_PORT = 9718
EXAMPLES = '/usr/share/doc/exim-quotad/examples'

PROMETHEUS = '/opt/prometheus/usr/bin'
PROMETHEUS_PORT = 9090

# What grows with each scrape, or with time.
MOVING = ('queries_total', 'connections_total', 'uptime_seconds')


class Metrics(Scenario):
    """A service that has been asked, its metrics' socket, and a Prometheus that scrapes it."""

    service: Service

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.service = Service(cls.container)
        cls.service.make_maildirs(['/var/mail/joe', '/var/mail/ann'], 1000)
        for command in readme.block('Day to day', METRICS_SOCKET).splitlines():
            if command.startswith('systemctl'):
                cls.container.run(command)
        cls._start_prometheus()

    def setUp(self) -> None:
        super().setUp()
        if self.container.is_active(SOCKET):
            return
        self.service.start()
        for request in ('check /var/mail/joe', 'check quota=999 /var/mail/joe',
                        'check size=7 quota=5 /var/mail/ann', 'usage /etc/passwd', 'nonsense'):
            self.service.ask(request)
        wait_until(lambda: self._query('exim_quotad_query_duration_seconds_count == 5 and '
                                       'exim_quotad_uptime_seconds > 2'), 'it is scraped')

    @classmethod
    def _start_prometheus(cls) -> None:
        cls.container.run(f'for package in {PACKAGES_FOLDER}/prom*.deb; do '
                          'dpkg -x $package /opt/prometheus; done')
        job = re.search(r'(?m)(^# {5}scrape_configs:\n(?:# {5}.*\n)+)',
                        cls.container.read_file(f'{EXAMPLES}/alerts.yml'))[1]
        cls.container.put_file('/etc/prometheus.yml', (
            'global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\n'
            f'rule_files: ["{EXAMPLES}/alerts.yml"]\n' + re.sub('(?m)^# {5}', '', job)))
        cls.container.run([
            'systemd-run', '--unit=prometheus', f'{PROMETHEUS}/prometheus',
            '--config.file=/etc/prometheus.yml', '--storage.tsdb.path=/var/tmp/prometheus',
            f'--web.listen-address=127.0.0.1:{PROMETHEUS_PORT}'])
        cls.container.wait_for_tcp(PROMETHEUS_PORT)

    @classmethod
    def _get(cls, port: int, path: str, method: str = 'GET') -> tuple[int, str]:
        """Returns the status and the body of the response to an HTTP request."""
        connection = cls.container.connect_tcp(port)
        connection.sendall(f'{method} {path} HTTP/1.0\r\nHost: mx\r\n\r\n'.encode())
        head, _, body = answer_of(connection).partition('\n\n')
        return int(head.split()[1]), body

    @classmethod
    def _api(cls, path: str) -> dict:
        status, body = cls._get(PROMETHEUS_PORT, f'/api/v1/{path}')
        assert status == 200, (path, status, body)
        return json.loads(body)['data']

    @classmethod
    def _query(cls, expression: str) -> list[dict]:
        """Returns the samples that an expression of Prometheus has now."""
        return cls._api('query?query=' + urllib.parse.quote(expression))['result']

    def _scraped(self) -> dict[str, float]:
        """Returns what Prometheus knows, by name and labels, as the metrics show it."""
        found = {}
        for sample in self._query('{job="exim-quotad",__name__=~"exim_quotad_.*"}'):
            labels = {name: value for name, value in sample['metric'].items()
                      if name not in ('__name__', 'job', 'instance')}
            shown = ','.join(f'{name}="{value}"' for name, value in labels.items())
            name = sample['metric']['__name__'] + (f'{{{shown}}}' if shown else '')
            found[name] = float(sample['value'][1])
        return found

    def _printed(self) -> dict[str, float]:
        """Returns what exim-quotactl prints."""
        lines = self.container.run(['exim-quotactl', 'stats', '--prometheus']).stdout
        return {name: float(value) for name, value in re.findall(r'(?m)^([^#].*) (\S+)$', lines)}

    def test_prometheus_has_the_values_of_stats(self):
        before, scraped, after = self._printed(), self._scraped(), self._printed()
        print(f'{len(scraped)} series')
        self.assertEqual(set(scraped), set(after))
        stats = json.loads(self.container.run(['exim-quotactl', '--json', 'stats']).stdout)[0]
        for name, value in scraped.items():
            if name.removeprefix('exim_quotad_') in MOVING:
                # What was scraped before we asked may be read after it.
                self.assertLessEqual(value, after[name], name)
            else:
                self.assertEqual((value, before[name]), (after[name], after[name]), name)
        for verdict in ('ok', 'over', 'toolarge'):
            self.assertEqual(scraped[f'exim_quotad_verdicts_total{{verdict="{verdict}"}}'], 1)
        for reason in ('outside-root', 'bad-request'):
            self.assertEqual(scraped[f'exim_quotad_errors_total{{reason="{reason}"}}'], 1)
        self.assertEqual((stats['over'], stats['errors'], stats['scans']), (2, 2, 1))
        self.assertEqual(scraped['exim_quotad_scans_total'], 1)
        self.assertEqual(scraped['exim_quotad_query_duration_seconds_count'], 5)

    def test_promtool_is_silent(self):
        status, body = self._get(METRICS_PORT, '/metrics')
        self.assertEqual(status, 200)
        checked = self.container.run([f'{PROMETHEUS}/promtool', 'check', 'metrics'], input=body,
                                     check=False)
        self.assertEqual((checked.returncode, checked.stdout, checked.stderr), (0, '', ''))

    def test_promtool_finds_a_fault(self):
        """It can: a counter must have a name that ends with _total."""
        checked = self.container.run([f'{PROMETHEUS}/promtool', 'check', 'metrics'], check=False,
                                     input='# TYPE exim_quotad_x counter\nexim_quotad_x 1\n')
        self.assertIn('_total', checked.stdout + checked.stderr)

    def test_wrong_requests(self):
        for status, method, path in ((404, 'GET', '/'), (405, 'POST', '/metrics'),
                                     (400, 'GET', 'x')):
            self.assertEqual(self._get(METRICS_PORT, path, method)[0], status)
        connection = self.container.connect_tcp(METRICS_PORT)
        connection.sendall(b'\x16\x03\x01\n\n')
        self.assertIn(' 400 ', answer_of(connection).splitlines()[0])

    def test_scrapes_leave_no_entries(self):
        """And a dynamic user asks, which is in Exim's group."""
        with self.container.connect_tcp(METRICS_PORT) as connection:
            def instance() -> str:
                listed = self.container.run('systemctl list-units --plain --no-legend '
                                            '"exim-quotad-metrics@*"').stdout.splitlines()
                return next((line.split()[0] for line in listed), '')
            unit = wait_until(instance, 'an instance runs')
            found = self.container.unit(unit, 'MainPID', 'DynamicUser')
            ids = wait_until(lambda: self.container.run(
                f'grep -E "^(Uid:.[^0]|Groups)" /proc/{found["MainPID"]}/status | grep -A1 Uid',
                check=False).stdout, 'it has a user')
            connection.shutdown(socket.SHUT_WR)
        print(ids)
        self.assertEqual(found['DynamicUser'], 'yes')
        self.assertGreater(int(re.search(r'Uid:\t(\d+)', ids)[1]), 60000)
        group = self.container.run(['getent', 'group', 'Debian-exim']).stdout.split(':')[2]
        self.assertIn(group, ids.split())
        for _ in range(10):
            self.assertEqual(self._get(METRICS_PORT, '/metrics')[0], 200)
        entries = self.container.journal(self._journal_start).splitlines()
        self.assertEqual([line for line in entries if 'metrics' in line], [])

    def test_without_the_service(self):
        self.container.run(['systemctl', 'stop', SOCKET, 'exim-quotad.service'])
        status, body = self._get(METRICS_PORT, '/metrics')
        self.assertEqual((status, body.count('\n')), (503, 1))
        self.assertIn('is exim-quotad.socket started?', body)
        wait_until(lambda: self._query('up{job="exim-quotad"} == 0'), 'Prometheus notices')
        self.assertIn('is exim-quotad.socket started?', self.journal())

    def test_the_alert_rules(self):
        checked = self.container.run([f'{PROMETHEUS}/promtool', 'check', 'rules',
                                      f'{EXAMPLES}/alerts.yml'])
        self.assertIn('6 rules found', checked.stdout)
        [group] = wait_until(lambda: [each for each in self._api('rules')['groups'] if all(
            rule['health'] == 'ok' for rule in each['rules'])], 'each rule is evaluated')
        self.assertEqual(len(group['rules']), 6)
        for rule in group['rules']:
            for name in re.findall(r'exim_quotad_\w+', rule['query']):
                self.assertTrue(self._query(name), f'{rule["name"]}: {name}')

    def test_an_alert(self):
        """A misconfigured service says so, and Prometheus alerts."""
        self.container.put_file(CONFIG_FILE, configuration() + 'warn = much\n')
        self.addCleanup(self.service.reset)
        self.container.run(['systemctl', 'restart', 'exim-quotad.service'])
        firing = wait_until(lambda: [alert for alert in self._api('alerts')['alerts']
                                     if alert['state'] == 'firing'], 'an alert')
        self.assertEqual([alert['labels']['alertname'] for alert in firing],
                         ['EximQuotadMisconfigured'])

    def test_the_dashboard(self):
        """Each of its curves has values."""
        dashboard = json.loads(self.container.read_file(f'{EXAMPLES}/dashboard.json'))
        expressions = [target['expr'] for panel in dashboard['panels']
                       for target in panel['targets']]
        self.assertGreater(len(expressions), 8)
        for expression in expressions:
            asked = expression.replace('$__rate_interval', '1m').replace('$instance', '.*')
            wait_until(partial(self._query, asked), asked)
