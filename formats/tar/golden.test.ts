/** The input layers of the goldens, compared with the script that made them and against Python's tarfile. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { type CollectedEntry, collectTar } from '../../fixtures/collect-tar.ts';
import { describeWith } from '../../tests/support/tools.ts';

const goldens = fileURLToPath(new URL('../../fixtures/goldens/', import.meta.url));
const layer = (path: string) => gunzipSync(readFileSync(join(goldens, path)));
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Every field as Python's tarfile reads it, one line of JSON an entry. */
const PYTHON = `
import hashlib, json, sys, tarfile
kinds = {b'0': 'file', b'1': 'link', b'2': 'symlink', b'3': 'character', b'4': 'block', b'5': 'directory', b'6': 'fifo'}
with tarfile.open(sys.argv[1]) as t:
    for i in t:
        print(json.dumps({
            'name': i.name, 'type': kinds[i.type], 'link': i.linkname, 'mode': i.mode, 'uid': i.uid, 'gid': i.gid,
            'size': i.size if i.isreg() else 0, 'mtime': i.pax_headers.get('mtime', str(i.mtime)),
            'major': i.devmajor, 'minor': i.devminor, 'header': i.offset, 'data': i.offset_data,
            'xattrs': sorted(k[13:] for k in i.pax_headers if k.startswith('SCHILY.xattr.')),
            'sha256': hashlib.sha256(t.extractfile(i).read()).hexdigest() if i.isreg() else '',
        }))
`;

function asPython(entry: CollectedEntry): Record<string, unknown> {
  const { seconds, nanoseconds } = entry.mtime;
  const fraction = String(nanoseconds).padStart(9, '0').replace(/0+$/, '');
  return {
    // tarfile drops the slash behind a directory and decodes what PAX records hold as UTF-8.
    name: Buffer.from(entry.name, 'latin1').toString('utf8').replace(/\/$/, ''),
    type: entry.type,
    link: entry.linkName,
    mode: entry.mode,
    uid: entry.uid,
    gid: entry.gid,
    size: entry.size,
    mtime: fraction === '' ? `${seconds}` : `${seconds}.${fraction}`,
    major: entry.devMajor,
    minor: entry.devMinor,
    header: entry.headerOffset,
    data: entry.dataOffset,
    xattrs: [...entry.xattrs.keys()].sort(),
    sha256: entry.type === 'file' ? sha256(entry.data) : '',
  };
}

describeWith({ tools: ['python3'] }, 'the input of the goldens', () => {
  test('is what make-input.py makes', () => {
    const directory = mkdtempSync(join(tmpdir(), 'accel-golden-'));
    try {
      execFileSync('python3', [join(goldens, 'make-input.py'), directory]);
      for (const name of ['layer1', 'layer2']) {
        expect(sha256(readFileSync(join(directory, `${name}.tar`)))).toBe(sha256(layer(`input/${name}.tar.gz`)));
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  const edges = readdirSync(join(goldens, 'edge')).flatMap((edge) =>
    readdirSync(join(goldens, 'edge', edge))
      .filter((name) => name.endsWith('.tar.gz'))
      .map((name) => `edge/${edge}/${name}`),
  );
  for (const path of ['input/layer1.tar.gz', 'input/layer2.tar.gz', ...edges]) {
    test(`${path}, entry by entry as tarfile reads it`, () => {
      const lines = execFileSync('python3', ['-c', PYTHON, join(goldens, path)])
        .toString()
        .trim()
        .split('\n');
      const expected = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
      // A time without PAX record is a float in Python.
      for (const entry of expected) entry.mtime = String(entry.mtime).replace(/\.0$/, '');
      expect(collectTar(layer(path), 4096).map(asPython)).toEqual(expected);
    });
  }
});

describe('what the reference reads wrong', () => {
  const entries = new Map(collectTar(layer('input/layer1.tar.gz')).map((entry) => [entry.name, entry]));
  test('ids past 2^21', () => {
    expect(entries.get('home/user/hugeid')).toMatchObject({ uid: 3_000_000, gid: 3_000_001 });
  });
  test('nanoseconds', () => {
    expect(entries.get('etc/passwd')!.mtime).toEqual({ seconds: 1_700_000_000, nanoseconds: 123_456_789 });
  });
  test('symlink text', () => {
    expect(entries.get('etc/dotlink')!.linkName).toBe('./passwd');
    expect(entries.get('etc/updown')!.linkName).toBe('../etc/../etc//passwd');
  });
  test('a capability, byte for byte', () => {
    expect(Buffer.from(entries.get('bin/ping')!.xattrs.get('security.capability')!).toString('hex')).toBe(
      '0100000200200000000000000000000000000000',
    );
  });
});
