#!/usr/bin/env python3
"""Lists an ext4 image through debugfs, for machines that may not mount.   usage: debugfs_tree.py DEBUGFS IMAGE SCRATCH

Every question is asked by inode number, many to one run of debugfs; the answers are told apart by the prompt that
debugfs prints before each command that it reads from a file."""
import os
import re
import subprocess
import sys

from tree_records import emit, hash_stream

DEBUGFS, IMAGE, SCRATCH = sys.argv[1:4]
ROOT = 2
PROMPT = b'debugfs: '
BATCH = 256
KINDS = {b'regular': 'file', b'FIFO': 'fifo'}  # the rest are called as the records call them


def ask(commands):
    """The answer to each command, as bytes."""
    script = os.path.join(SCRATCH, 'commands')
    with open(script, 'w') as out:
        out.write(''.join(command + '\n' for command in commands))
    run = subprocess.run([DEBUGFS, '-f', script, IMAGE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    answers, output, at = [], run.stdout, 0
    for position, command in enumerate(commands):
        start = output.index(PROMPT + command.encode() + b'\n', at) + len(PROMPT) + len(command) + 1
        if position + 1 == len(commands):
            at = len(output)
        else:
            following = PROMPT + commands[position + 1].encode() + b'\n'
            # The prompt opens a line, right away where the answer is empty.
            at = start if output.startswith(following, start) else output.index(b'\n' + following, start) + 1
        answers.append(output[start:at])
    return answers


def children(answer):
    """Name and inode of each entry in an answer to `ls -p`: /inode/mode/uid/gid/name/size/ a line."""
    for line in answer.split(b'\n'):
        found = re.fullmatch(rb'/(\d+)/\d*/\d*/\d*/(.*)/\d*/', line, re.DOTALL)
        if found and int(found.group(1)) and found.group(2) not in (b'.', b'..'):
            yield found.group(2), int(found.group(1))


def nanoseconds(answer, name):
    """A time out of an answer to `stat`: seconds in hex, and the extra word of two epoch and thirty nanosecond bits."""
    found = re.search(rb'\s' + name + rb': 0x([0-9a-f]{8})(?::([0-9a-f]{8}))?', answer)
    seconds, extra = int(found.group(1), 16), int(found.group(2) or b'0', 16)
    if seconds >= 1 << 31:
        seconds -= 1 << 32
    return (seconds + ((extra & 3) << 32)) * 10 ** 9 + (extra >> 2)


def acl(value):
    """An ACL with id -1 where an entry names nobody: the kernel says so, libext2fs says 0."""
    fixed = bytearray(value)
    for start in range(4, len(value), 8):
        if int.from_bytes(value[start:start + 2], 'little') not in (2, 8):
            fixed[start + 4:start + 8] = b'\xff' * 4
    return bytes(fixed)


def find_inodes():
    """Every inode with its paths and its answer to `stat`, directories level by level."""
    paths, stats, level = {ROOT: [b'/']}, {}, [ROOT]
    while level:
        stats.update(zip(level, ask(['stat <%d>' % inode for inode in level])))
        directories = [inode for inode in level if is_a(stats[inode], b'directory')]
        level = []
        if not directories:
            break
        for inode, answer in zip(directories, ask(['ls -p <%d>' % inode for inode in directories])):
            for name, child in children(answer):
                if child not in paths:
                    level.append(child)
                paths.setdefault(child, []).append(paths[inode][0].rstrip(b'/') + b'/' + name)
    return paths, stats


def is_a(answer, kind):
    return re.search(rb'Type: (\S+)', answer).group(1) == kind


def find_xattrs(inodes):
    """Extended attributes by inode. Values go through files: only there are they bytes and nothing but bytes."""
    found, wanted = {inode: {} for inode in inodes}, []
    for inode, answer in zip(inodes, ask(['ea_list <%d>' % inode for inode in inodes])):
        wanted.extend((inode, name) for name in re.findall(rb'^  ([a-z]+\.\S+) \(\d+\)', answer, re.MULTILINE))
    if wanted:
        ask(['ea_get -f %s/x%d <%d> %s' % (SCRATCH, n, inode, name.decode()) for n, (inode, name) in enumerate(wanted)])
    for n, (inode, name) in enumerate(wanted):
        with open('%s/x%d' % (SCRATCH, n), 'rb') as stream:
            value = stream.read()
        found[inode][name] = acl(value) if name.startswith(b'system.posix_acl_') else value
    return found


def hash_contents(inodes):
    """Length and hash by inode. A few at a time, so that the scratch directory never holds more than these files."""
    found = {}
    for start in range(0, len(inodes), BATCH):
        batch = inodes[start:start + BATCH]
        ask(['dump <%d> %s/c%d' % (inode, SCRATCH, inode) for inode in batch])
        for inode in batch:
            with open('%s/c%d' % (SCRATCH, inode), 'rb') as stream:
                found[inode] = hash_stream(stream)
            os.unlink('%s/c%d' % (SCRATCH, inode))
    return found


def link_target(inode, answer):
    fast = re.search(rb'Fast link dest: "(.*)"\n', answer, re.DOTALL)
    return fast.group(1) if fast else ask(['cat <%d>' % inode])[0]


def main():
    paths, stats = find_inodes()
    xattrs = find_xattrs(list(paths))
    contents = hash_contents([inode for inode in paths if is_a(stats[inode], b'regular')])
    for inode, answer in stats.items():
        kind = re.search(rb'Type: (\S+)', answer).group(1)
        more = {}
        if inode in contents:
            more['size'], more['sha256'] = contents[inode]
        elif kind == b'symlink':
            more['target'] = link_target(inode, answer)
            more['size'] = len(more['target'])
        elif kind in (b'character', b'block'):
            device = re.search(rb'Device major/minor number: (\d+):(\d+)', answer)
            more['device'] = (int(device.group(1)), int(device.group(2)))
        number = {name: int(re.search(name + rb':\s+(\d+)', answer).group(1)) for name in (b'User', b'Group', b'Links')}
        mode = int(re.search(rb'Mode:\s+(\d+)', answer).group(1), 8)
        for path in paths[inode]:
            emit(path, KINDS.get(kind, kind.decode()), mode, number[b'User'], number[b'Group'],
                 nanoseconds(answer, b'mtime'), number[b'Links'], inode, xattrs[inode],
                 atime=nanoseconds(answer, b'atime'), ctime=nanoseconds(answer, b'ctime'), **more)


main()
