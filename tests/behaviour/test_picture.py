# SPDX-License-Identifier: GPL-2.0-or-later
"""The picture in README.md shows what exim-quotactl prints today."""

import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PICTURE = PROJECT / 'man' / 'exim-quotactl.svg'


class PictureTest(unittest.TestCase):
    """The picture, made again."""

    def test_it_is_what_is_printed_today(self):
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, 'made.svg')
            subprocess.run([sys.executable, PROJECT / 'tests' / 'picture', made], check=True)
            self.assertEqual(made.read_text('utf-8'), PICTURE.read_text('utf-8'),
                             'run tests/picture')

    def test_it_can_be_read(self):
        texts = [''.join(each.itertext()) for each in xml.etree.ElementTree.parse(PICTURE).iter()
                 if each.tag.endswith('}text')]
        self.assertIn('# exim-quotactl report --top=7', texts)
        self.assertIn('over', texts)
        self.assertIn('(man/exim-quotactl.svg)', (PROJECT / 'README.md').read_text('utf-8'))
