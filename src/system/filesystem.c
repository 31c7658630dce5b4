/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "system/filesystem.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* These two have no name in <linux/magic.h>. */
#define ZFS_MAGIC 0x2fc12fc1
#define JFS_MAGIC 0x3153464a

enum filesystem_kind filesystem_kind(int fd)
{
    struct statfs fs;

    if (fstatfs(fd, &fs) < 0)
        return FILESYSTEM_UNKNOWN;
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
        return FILESYSTEM_MEMORY;
    case BTRFS_SUPER_MAGIC:
    case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
    case F2FS_SUPER_MAGIC:
    case JFS_MAGIC:
    case REISERFS_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case ZFS_MAGIC:
        return FILESYSTEM_DISK;
    default:
        return FILESYSTEM_UNKNOWN;
    }
}

bool filesystem_reports_changes(int fd)
{
    struct statfs fs;
    struct statx st;

    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) < 0 ||
        (st.stx_attributes & STATX_ATTR_ENCRYPTED) || fstatfs(fd, &fs) < 0)
        return false;
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case EXT4_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}
