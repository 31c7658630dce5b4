# SPDX-License-Identifier: GPL-2.0-or-later
"""The folder that everything is made in: it is gone afterwards, however the benchmark ends."""

import tempfile
import unittest
from pathlib import Path

import disk


class FolderTest(unittest.TestCase):
    """The folder, in a file system of its own or in one that was named."""

    def use(self, where: Path, ends_by: type) -> Path:
        """Makes a file in such a folder, ends by the exception, and returns where the folder was.
        """
        with self.assertRaises(ends_by), disk.folder(where) as (folder, file_system):
            self.assertNotEqual(file_system, '')
            (folder / 'mailbox').mkdir()
            (folder / 'mailbox' / 'maildirsize').write_text('1S\n')
            raise ends_by
        return folder

    def test_a_folder_that_was_named(self):
        with tempfile.TemporaryDirectory() as where:
            for ends_by in (ValueError, KeyboardInterrupt, SystemExit):
                self.assertEqual(self.use(Path(where), ends_by).parent, Path(where))
                self.assertEqual(list(Path(where).iterdir()), [])

    def test_a_file_system_of_its_own(self):
        for ends_by in (ValueError, KeyboardInterrupt):
            made = self.use(None, ends_by)
            self.assertFalse(made.exists())
            self.assertNotIn(f' {made} ', Path('/proc/self/mounts').read_text('utf-8'))
            self.assertFalse(any(made.name == each.name or made.parent == each
                                 for each in Path('/var/tmp').iterdir()))


if __name__ == '__main__':
    unittest.main()
