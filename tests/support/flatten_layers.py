#!/usr/bin/env python3
"""What the layers of an image say its root file system is, worked out in memory with Python's own tar reader.
usage: flatten_layers.py [--prefixes] LAYER...        each a tar, plain, gzip or zstd, lowest first
With --prefixes it prints the tree after every layer, each followed by an empty line; else the last one alone.

Rules (OCI image-spec, layer.md): whiteouts take away what lower layers put and nothing else, so all of a layer's are
applied before its entries; a missing parent is 0755 root at time 0; parents that are symlinks are followed inside the
root, and `..` leaves a missing directory without making it; of two entries for one path the later one counts; an entry
for an existing directory sets its attributes and adds to its xattrs, and one for a hard link does so to its file; what
Linux does not store on a kind of inode is left out, and the mode has the last word over an access ACL. Deliberately shares no code with accel: two readers that agree are worth more than one."""
import decimal
import gzip
import io
import struct
import subprocess
import sys
import tarfile

from tree_records import emit, hash_stream

WHITEOUT = b'.wh.'
OPAQUE = b'.wh..wh..opq'
KINDS = {
    tarfile.REGTYPE: 'file', tarfile.AREGTYPE: 'file', tarfile.CONTTYPE: 'file', tarfile.GNUTYPE_SPARSE: 'file',
    tarfile.DIRTYPE: 'directory', tarfile.SYMTYPE: 'symlink', tarfile.CHRTYPE: 'character', tarfile.BLKTYPE: 'block',
    tarfile.FIFOTYPE: 'fifo',
}
XATTR = 'SCHILY.xattr.'
ACL_ACCESS, ACL_DEFAULT = b'system.posix_acl_access', b'system.posix_acl_default'


class Node:
    """An inode; `children` maps names to inodes in a directory."""

    def __init__(self, kind, mode=0o755, uid=0, gid=0, mtime=0):
        self.kind, self.mode, self.uid, self.gid, self.mtime = kind, mode, uid, gid, mtime
        self.xattrs, self.more = {}, {}
        self.children = {}


def raw(text):
    """tarfile's text as the bytes that stood in the archive."""
    return text.encode('utf-8', 'surrogateescape')


def parts_of(path):
    parts = [part for part in path.split(b'/') if part not in (b'', b'.')]
    if b'..' in parts:
        sys.exit('path leaves the root: %r' % path)
    return parts


def directory_at(root, parts, create):
    """The directory that the components lead to, symlinks followed inside the root; None if it is not there."""
    trail, missing, pending, followed = [root], [], list(reversed(parts)), 0
    while pending:
        part = pending.pop()
        if part == b'..':
            if missing:
                missing.pop()
            elif len(trail) > 1:
                trail.pop()
            continue
        if part in (b'', b'.'):
            continue
        node = None if missing else trail[-1].children.get(part)
        if node is None:
            missing.append(part)
            continue
        if node.kind == 'symlink':
            followed += 1
            if followed > 40:
                sys.exit('too many symlinks')
            target = node.more['target']
            if target.startswith(b'/'):
                trail = [root]
            pending.extend(reversed(target.split(b'/')))
            continue
        if node.kind != 'directory':
            if create:
                sys.exit('%r is not a directory' % part)
            return None
        trail.append(node)
    if missing and not create:
        return None
    for part in missing:
        trail.append(trail[-1].children.setdefault(part, Node('directory')))
    return trail[-1]


def mtime_of(member):
    text = member.pax_headers.get('mtime')
    if text is None:
        return int(member.mtime) * 10 ** 9
    return int((decimal.Decimal(text) * 10 ** 9).to_integral_value(decimal.ROUND_FLOOR))


def xattrs_of(member):
    return {raw(key[len(XATTR):]): raw(value) for key, value in member.pax_headers.items() if key.startswith(XATTR)}


def is_stored(name, kind):
    """Whether Linux stores an attribute on that kind of inode."""
    if name.startswith(b'user.'):
        return kind in ('file', 'directory')
    if name == ACL_ACCESS:
        return kind != 'symlink'
    return name.startswith((b'trusted.', b'security.')) or name == ACL_DEFAULT and kind == 'directory'


def set_attributes(node, member):
    """What an entry says of an inode: chown, setxattr, chmod and utimes, in this order."""
    if node.kind != 'directory':
        node.xattrs.pop(b'security.capability', None)
    for name, value in xattrs_of(member).items():
        if not is_stored(name, node.kind):
            continue
        tags = [tag for tag, _, _ in struct.iter_unpack('<HHI', value[4:])] if b'posix_acl' in name else []
        if value == b'' and tags == [] and b'posix_acl' in name or name == ACL_ACCESS and set(tags) <= {1, 4, 0x20}:
            node.xattrs.pop(name, None)
        else:
            node.xattrs[name] = value
    mode = 0o777 if node.kind == 'symlink' else member.mode & 0o7777
    if ACL_ACCESS in node.xattrs:
        acl = node.xattrs[ACL_ACCESS]
        entries = [list(entry) for entry in struct.iter_unpack('<HHI', acl[4:])]
        shifts = {1: 6, 0x10 if any(entry[0] == 0x10 for entry in entries) else 4: 3, 0x20: 0}
        for entry in entries:
            if entry[0] in shifts:
                entry[1] = mode >> shifts[entry[0]] & 7
        node.xattrs[ACL_ACCESS] = acl[:4] + b''.join(struct.pack('<HHI', *entry) for entry in entries)
    node.mode, node.uid, node.gid, node.mtime = mode, member.uid, member.gid, mtime_of(member)


def open_layer(path):
    """The plain tar of a layer as a binary stream."""
    stream = open(path, 'rb')
    magic = stream.read(4)
    stream.seek(0)
    if magic[:2] == b'\x1f\x8b':
        return gzip.GzipFile(fileobj=stream)
    if magic == b'\x28\xb5\x2f\xfd':
        return io.BufferedReader(subprocess.Popen(['zstd', '-dc', path], stdout=subprocess.PIPE).stdout)
    return stream


def members(path):
    """Each entry of a layer with its content's length and hash, read in one go from start to end."""
    with tarfile.open(fileobj=open_layer(path), mode='r|', encoding='utf-8', errors='surrogateescape') as archive:
        for member in archive:
            content = None
            if KINDS.get(member.type) == 'file':
                content = hash_stream(archive.extractfile(member))
            yield member, content


def in_aufs_directory(parts):
    """AUFS kept directories such as .wh..wh.plnk for itself; nothing in them belongs to the image."""
    return any(part.startswith(b'.wh..wh.') for part in parts[:-1])


def apply_whiteouts(root, entries):
    for member, _ in entries:
        parts = parts_of(raw(member.name))
        if not parts or not parts[-1].startswith(WHITEOUT) or in_aufs_directory(parts):
            continue
        directory = directory_at(root, parts[:-1], create=False)
        if directory is None:
            continue
        if parts[-1] == OPAQUE:
            directory.children.clear()
        elif not parts[-1].startswith(b'.wh..wh.'):
            directory.children.pop(parts[-1][len(WHITEOUT):], None)


def apply_entry(root, member, content):
    parts = parts_of(raw(member.name))
    if parts and (parts[-1].startswith(WHITEOUT) or in_aufs_directory(parts)):
        return
    if not parts:
        if member.type != tarfile.DIRTYPE:
            sys.exit('the root is not a directory')
        node = root
    else:
        directory, name = directory_at(root, parts[:-1], create=True), parts[-1]
        existing = directory.children.get(name)
        if member.type == tarfile.LNKTYPE:
            target = parts_of(raw(member.linkname))
            holder = directory_at(root, target[:-1], create=False)
            node = holder and holder.children.get(target[-1])
            if node is None or node.kind == 'directory':
                sys.exit('%r: bad hard link target %r' % (member.name, member.linkname))
            directory.children[name] = node
            set_attributes(node, member)
            return
        kind = KINDS.get(member.type) or sys.exit('%r: unknown type %r' % (member.name, member.type))
        if kind == 'directory' and existing is not None and existing.kind == 'directory':
            node = existing
        else:
            node = directory.children[name] = Node(kind)
    set_attributes(node, member)
    if node.kind == 'file':
        node.more['size'], node.more['sha256'] = content
    elif node.kind == 'symlink':
        node.more['target'] = raw(member.linkname)
        node.more['size'] = len(node.more['target'])
    elif node.kind in ('character', 'block'):
        node.more['device'] = (member.devmajor, member.devminor)


def print_tree(root):
    links, listing, pending = {}, [], [(b'/', root)]
    while pending:
        path, node = pending.pop()
        listing.append((path, node))
        links[id(node)] = links.get(id(node), 0) + 1
        for name, child in node.children.items():
            pending.append((path.rstrip(b'/') + b'/' + name, child))
    for path, node in listing:
        count = links[id(node)]
        if node.kind == 'directory':
            count = 2 + sum(child.kind == 'directory' for child in node.children.values())
        emit(path, node.kind, node.mode, node.uid, node.gid, node.mtime, count, id(node), node.xattrs, **node.more)


def main(arguments):
    prefixes = arguments[:1] == ['--prefixes']
    layers = arguments[1:] if prefixes else arguments
    root = Node('directory')
    for number, layer in enumerate(layers, 1):
        entries = list(members(layer))
        apply_whiteouts(root, entries)
        for member, content in entries:
            apply_entry(root, member, content)
        if prefixes or number == len(layers):
            print_tree(root)
            print()


main(sys.argv[1:])
