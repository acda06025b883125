import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  COMMIT_TAR_HEAD_SIZE,
  commitHeaderStruct,
  commitTarHead,
  commitTarTail,
  parseCommitTarHead,
} from './commit-tar.ts';

describe('the tar around a ZFile', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'commit-tar-'));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));

  // Where the decimal length of the pax record gains a digit, and past the 8 GiB of an octal field.
  const sizes = [0, 1, 9, 10, 511, 512, 513, 99_999_999, 100_000_000, 2 ** 33, 999_999_999_999_999];
  it.each(sizes)('says the size %d', (size) => {
    const head = commitTarHead(size);
    expect(head.length).toBe(COMMIT_TAR_HEAD_SIZE);
    expect(parseCommitTarHead(head)).toEqual({ zfileOffset: 1536, zfileSize: size });
    expect((COMMIT_TAR_HEAD_SIZE + size + commitTarTail(size).length) % 512).toBe(0);
  });

  it('is a tar for the system', async () => {
    const content = Buffer.from('a ZFile, as far as tar is concerned');
    const path = join(directory, 'layer.tar');
    await writeFile(path, Buffer.concat([commitTarHead(content.length), content, commitTarTail(content.length)]));
    expect(execFileSync('tar', ['-tf', path], { encoding: 'utf8' })).toBe('overlaybd.commit\n');
    expect(execFileSync('tar', ['-xOf', path], { encoding: 'utf8' })).toBe(content.toString());
  });

  const other = (change: (head: Uint8Array) => void): Uint8Array => {
    const head = commitTarHead(4096);
    change(head);
    for (const at of [0, 1024]) {
      head.fill(0x20, at + 148, at + 156);
      const sum = head.subarray(at, at + 512).reduce((a, b) => a + b, 0);
      head.set(Buffer.from(`${sum.toString(8).padStart(6, '0')}\0 `), at + 148);
    }
    return head;
  };
  const text = (value: string) => Buffer.from(value, 'latin1');
  it.each<[string, Uint8Array]>([
    ['cut short', commitTarHead(4096).subarray(0, 1535)],
    ['all zeros', new Uint8Array(1536)],
    ['no pax header', other((head) => head.set(text('0'), commitHeaderStruct.offsets.typeflag))],
    ['another file', other((head) => head.set(text('overlaybd.commie'), 1024))],
    ['a pax size of 0', other((head) => head.set(text('          0 '), commitHeaderStruct.offsets.size))],
    ['a pax size past its block', other((head) => head.set(text('       1001 '), commitHeaderStruct.offsets.size))],
    ['a pax record with a wrong length', other((head) => head.set(text('14 size=4096\n'), 512))],
    ['a pax record without a size', other((head) => head.set(text('13 sise=4096\n'), 512))],
    ['a size that is no number', other((head) => head.set(text('13 size=-096\n'), 512))],
  ])('refuses %s', (_name, head) => {
    expect(() => parseCommitTarHead(head)).toThrow(expect.objectContaining({ code: 'tar-invalid' }));
  });

  it('takes headers whose checksum is padded otherwise', () => {
    expect(parseCommitTarHead(other(() => {})).zfileSize).toBe(4096);
  });
});
