#!/usr/bin/env python3
"""The same question as flatten_layers.py, answered by GNU tar and the kernel: extracts layer on layer and lists the
result.   usage: system_tar_tree.py DIRECTORY LAYER.tar...        needs root; DIRECTORY is empty, the layers plain tars

Between the layers this script does what tar knows nothing of: whiteouts, and the times and modes of directories that a
layer changes without naming them. A layer that would write through a symlink is refused, because here that link may
lead out of DIRECTORY."""
import os
import shutil
import stat
import subprocess
import sys

OPAQUE = b'.wh..wh..opq'
# Delayed: a layer need not hold a directory's entries together, and its time is set when all of them are there.
EXTRACT = ['tar', '--extract', '--preserve-permissions', '--same-owner', '--numeric-owner', '--xattrs',
           '--xattrs-include=*', '--acls', '--exclude=.wh.*', '--delay-directory-restore', '--directory']


def real_directory(root, relative):
    """The directory at a relative path if it is one without following a symlink anywhere, else None."""
    path = root
    for part in relative.split(b'/') if relative else []:
        path = os.path.join(path, part)
        if os.path.islink(path):
            sys.exit('a layer writes through the symlink %r' % path)
        if not os.path.isdir(path):
            return None
    return path


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def names_of(layer):
    """Path of each member without slashes at either end, and whether it is a directory."""
    listing = subprocess.run(['tar', '--list', '--quoting-style=literal', '--file', layer],
                             stdout=subprocess.PIPE, check=True).stdout
    for line in listing.split(b'\n')[:-1]:
        yield os.path.normpath(line.lstrip(b'/')), line.endswith(b'/')


def apply(root, layer):
    names = list(names_of(layer))
    named = {name for name, _ in names}
    # Python's os.walk and stat see the tree as it is before the layer; unnamed directories get their times back after.
    before = {}
    for directory, _, _ in os.walk(root):
        before[directory] = os.lstat(directory)
    for name, _ in names:
        parent, base = os.path.split(name)
        if not base.startswith(b'.wh.'):
            continue
        holder = real_directory(root, parent)
        if holder is None:
            continue
        if base == OPAQUE:
            for child in os.listdir(holder):
                remove(os.path.join(holder, child))
        else:
            remove(os.path.join(holder, base[len(b'.wh.'):]))
    missing = set()
    for name, is_directory in names:
        parent, base = os.path.split(name)
        if base.startswith(b'.wh.') or name == b'.':
            continue
        holder = parent
        while holder and real_directory(root, holder) is None:
            missing.add(holder)
            holder = os.path.dirname(holder)
        path = os.path.join(root, name)
        # tar would keep a directory for a file of its name, and a file for a directory of its name.
        if os.path.lexists(path) and (stat.S_ISDIR(os.lstat(path).st_mode) != is_directory):
            remove(path)
    subprocess.run(EXTRACT + [root, '--file', layer], check=True)
    for directory, info in before.items():
        relative = os.path.relpath(directory, root)
        if relative not in named and os.path.isdir(directory) and os.lstat(directory).st_ino == info.st_ino:
            os.utime(directory, ns=(info.st_atime_ns, info.st_mtime_ns))
    for holder in missing - named:
        path = os.path.join(root, holder)
        if os.path.isdir(path):
            os.chmod(path, 0o755)
            os.chown(path, 0, 0)
            os.utime(path, ns=(0, 0))


def main(root, layers):
    os.umask(0)
    os.chmod(root, 0o755)
    os.utime(root, ns=(0, 0))
    for layer in layers:
        apply(root, os.path.abspath(layer))
    walker = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'walk_tree.py')
    os.execv(sys.executable, [sys.executable, walker, root])


main(os.fsencode(os.path.abspath(sys.argv[1])), [os.fsencode(layer) for layer in sys.argv[2:]])
