"""The record that every tree script of this folder prints: one JSON document a line, bytes as latin-1 text."""
import hashlib
import json
import sys

CHUNK = 1 << 20


def text(raw):
    """Bytes as a string of one character per byte."""
    return raw.decode('latin-1')


def hash_stream(stream):
    """Length and SHA-256 (hex) of what is left of a binary stream."""
    digest, size = hashlib.sha256(), 0
    while True:
        chunk = stream.read(CHUNK)
        if not chunk:
            return size, digest.hexdigest()
        digest.update(chunk)
        size += len(chunk)


def emit(path, kind, mode, uid, gid, mtime, nlink, inode, xattrs, size=0, atime=None, ctime=None, device=None,
         target=None, sha256=None):
    """Prints one record. Times are integers of nanoseconds; `inode` is any text that paths of one inode share."""
    record = {
        'path': text(path), 'type': kind, 'mode': mode & 0o7777, 'uid': uid, 'gid': gid, 'size': size,
        'mtime': str(mtime), 'nlink': nlink, 'inode': str(inode),
        'xattrs': [[text(name), value.hex()] for name, value in sorted(xattrs.items())],
    }
    if atime is not None:
        record['atime'] = str(atime)
    if ctime is not None:
        record['ctime'] = str(ctime)
    if device is not None:
        record['device'] = list(device)
    if target is not None:
        record['target'] = text(target)
    if sha256 is not None:
        record['sha256'] = sha256
    sys.stdout.write(json.dumps(record) + '\n')
