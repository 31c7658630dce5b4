# SPDX-License-Identifier: GPL-2.0-or-later
"""Numbers and tables: what is written, and that nothing is lost."""

import unittest

import counting
import figures
import table
from bench import in_turn
from figures import CannotMeasure
from results import Results, Section

# As tests/bench/scan.c prints it.
SCANNED = '''\
100 messages in 2 folders, 1 rounds, milliseconds

                                        median     least      most processor     ratio processor
bare getdents64 walk                     0.117     0.083     0.472     0.052
tagged, first count                      0.143     0.141     0.145     0.132    1.2200    1.3000  of the walk (at most 1.3)

1000000 messages: peak memory grew by 248 KiB (less than 8192)
'''


class FiguresTest(unittest.TestCase):
    """How numbers are written."""

    def test_microseconds(self):
        for number, text in ((0.04, '0.0 µs'), (31.25, '31.2 µs'), (312.5, '312 µs'),
                             (1250, '1.2 ms'), (12500, '12 ms'), (1234567, '1,235 ms')):
            self.assertEqual(figures.usec(number), text)

    def test_ratio(self):
        self.assertEqual(figures.ratio([0.5, 0.9, 0.25]), '0.50 (0.25 to 0.90)')

    def test_taking_turns(self):
        order = []
        measured = in_turn(3, {name: lambda name=name: order.append(name) or len(order)
                               for name in 'abc'})
        self.assertEqual(''.join(order), 'abcbcacab')
        self.assertEqual(measured, {'a': [1, 6, 8], 'b': [2, 4, 9], 'c': [3, 5, 7]})


class TableTest(unittest.TestCase):
    """The table."""

    def test_columns(self):
        section = Section('Title', ('what', 'rate', 'added'))
        section.rows = [('a|b', '1,000', ''), ('c', '10', '5 µs')]
        section.notes = ['A note.']
        self.assertEqual(table.of(Results(sections=[section]), ['Heading']), '''\
Heading

**Title**

| what |  rate | added |
| ---- | ----: | ----: |
| a\\|b | 1,000 |       |
| c    |    10 |  5 µs |

A note.
''')

    def test_bounds(self):
        results = Results()
        results.at_least('speed', 0.8, 0.8, '0.80')
        results.at_least('speed', 0.8, 0.79, '0.79')
        results.at_most('memory', 4, 4, '4.0 MiB', ' MiB')
        results.at_most('memory', 4, 4.1, '4.1 MiB', ' MiB')
        lines = table.of(results, []).splitlines()
        verdicts = [line.rsplit('|', 2)[1].strip() for line in lines if '| at ' in line]
        self.assertEqual(verdicts, ['met', '**missed**', 'met', '**missed**'])
        self.assertIn('at most 4 MiB', '\n'.join(lines))

    def test_what_is_missing_is_said(self):
        written = table.of(Results(left_out=['rcpt'], missed=['calls: no strace']), [])
        self.assertIn('Left out:\n\n- rcpt\n', written)
        self.assertIn('Could not be measured:\n\n- calls: no strace\n', written)


class CountingTest(unittest.TestCase):
    """Taking over what bench-scan prints."""

    def test_rows_and_notes(self):
        section = counting.parse(SCANNED)
        self.assertEqual(section.title, 'Counting a Maildir: 100 messages in 2 folders, 1 rounds, '
                                        'milliseconds')
        self.assertEqual(section.rows, [
            ['bare getdents64 walk', '0.117', '0.083', '0.472', '0.052', '', '', ''],
            ['tagged, first count', '0.143', '0.141', '0.145', '0.132', '1.2200', '1.3000',
             'of the walk (at most 1.3)']])
        self.assertEqual(section.notes, ['1000000 messages: peak memory grew by 248 KiB (less than '
                                         '8192)'])

    def test_another_table(self):
        for printed in ('', 'a\n', 'a\nb\nc\n'):
            with self.assertRaisesRegex(CannotMeasure, 'another table'):
                counting.parse(printed)


if __name__ == '__main__':
    unittest.main()
