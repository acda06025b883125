#!/usr/bin/env python3
"""Lists a directory as the kernel shows it.   usage: walk_tree.py DIRECTORY"""
import os
import stat
import sys

from tree_records import emit, hash_stream

KINDS = {
    stat.S_IFREG: 'file', stat.S_IFDIR: 'directory', stat.S_IFLNK: 'symlink', stat.S_IFCHR: 'character',
    stat.S_IFBLK: 'block', stat.S_IFIFO: 'fifo', stat.S_IFSOCK: 'socket',
}


def main(root):
    pending = [(root, b'/')]
    while pending:
        real, path = pending.pop()
        # The times come first: reading the content or the directory may move the access time.
        try:
            info = os.lstat(real)
        except FileNotFoundError:
            continue  # overlayfs lists a whiteout in a directory that no lower layer has
        kind = KINDS[stat.S_IFMT(info.st_mode)]
        more = {}
        if kind == 'file':
            with open(real, 'rb') as stream:
                more['size'], more['sha256'] = hash_stream(stream)
        elif kind == 'symlink':
            more['target'] = os.readlink(real)
            more['size'] = len(more['target'])
        elif kind in ('character', 'block'):
            more['device'] = (os.major(info.st_rdev), os.minor(info.st_rdev))
        names = os.listxattr(real, follow_symlinks=False)
        xattrs = {os.fsencode(name): os.getxattr(real, name, follow_symlinks=False) for name in names}
        emit(path, kind, info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_nlink,
             '%d:%d' % (info.st_dev, info.st_ino), xattrs, atime=info.st_atime_ns, ctime=info.st_ctime_ns, **more)
        if kind == 'directory':
            for name in os.listdir(real):
                pending.append((os.path.join(real, name), path.rstrip(b'/') + b'/' + name))


main(os.fsencode(sys.argv[1]))
