import { access, readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { describeWith, run } from '../../tests/support/tools.ts';
import { readLibraryCache } from './library-cache.ts';
import { type ReadFile, readElf } from './reader.ts';
import { buildElf, buildLibraryCache } from './testing/elf-builder.ts';

function reading(bytes: Uint8Array): ReadFile {
  return async (offset, length) => bytes.subarray(offset, offset + length);
}

describe('an ELF file', () => {
  it.each([64, 32] as const)('of %i bits names its interpreter, libraries and paths', async (bits) => {
    const spec = {
      bits,
      machine: 3,
      interpreter: '/lib/ld.so',
      needed: ['liba.so.1', 'libb.so'],
      rpath: '/r:$ORIGIN',
      runpath: '/s',
    };
    expect(await readElf(reading(buildElf(spec)))).toEqual(spec);
  });

  it('that needs nothing has no libraries', async () => {
    expect(await readElf(reading(buildElf({})))).toEqual({ bits: 64, machine: 62, needed: [] });
  });

  it.each([
    ['a script', Buffer.from('#!/bin/sh\n')],
    ['nothing', new Uint8Array(0)],
    ['a big-endian file', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 2, 1, ...new Array<number>(57).fill(0)])],
    ['the head alone', buildElf({ needed: ['a'] }).subarray(0, 40)],
    ['a file without its program headers', buildElf({ needed: ['a'] }).subarray(0, 64)],
  ])('%s is not an ELF file', async (_name, bytes) => {
    expect(await readElf(reading(bytes))).toBeUndefined();
  });

  it('with any bytes changed ends in an answer, and soon', async () => {
    const whole = buildElf({ interpreter: '/lib/ld.so', needed: ['a', 'b'], runpath: '/x' });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 8 }), async (changes) => {
        const bytes = Uint8Array.from(whole);
        for (const [at, value] of changes) bytes[at] = value;
        await readElf(reading(bytes));
      }),
      { numRuns: 300 },
    );
  });
});

describe('a library cache', () => {
  const LIBRARIES = [
    { name: 'liba.so.1', path: '/lib/liba.so.1' },
    { name: 'liba.so.1', path: '/lib/fast/liba.so.1', hwcap: 1 },
    { name: 'libb.so', path: '/usr/lib/libb.so' },
  ];

  it('names its libraries, except those for certain processors', () => {
    expect(readLibraryCache(buildLibraryCache(LIBRARIES))).toEqual([LIBRARIES[0], LIBRARIES[2]]);
  });

  it('is found behind the old form', () => {
    const old = Buffer.alloc(16 + 12 + 4);
    old.write('ld.so-1.7.0', 'latin1');
    old.writeUInt32LE(1, 12);
    expect(readLibraryCache(Buffer.concat([old, buildLibraryCache(LIBRARIES)]))).toHaveLength(2);
  });

  it('cut short, or none at all, holds what is there', () => {
    const whole = buildLibraryCache(LIBRARIES);
    for (const length of [0, 20, 47, 48, 100, whole.length - 1])
      expect(readLibraryCache(whole.subarray(0, length)).length).toBeLessThanOrEqual(2);
    expect(readLibraryCache(Buffer.from('not a cache'))).toEqual([]);
  });
});

describeWith({ tools: ['readelf'] }, 'readelf', () => {
  it.each([process.execPath, '/bin/sh', '/usr/bin/env'])('says the same of %s', async (path) => {
    const elf = await readElf(reading(await readFile(path)));
    const { stdout } = await run('readelf', ['-W', '-d', '-l', path]);
    const text = stdout.toString('latin1');
    const all = (pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1]);
    expect(elf?.needed).toEqual(all(/\(NEEDED\)\s+Shared library: \[(.*)\]/g));
    expect(elf?.interpreter).toBe(all(/Requesting program interpreter: (.*)\]/g)[0]);
    expect([elf?.rpath]).toEqual([all(/\(RPATH\)\s+Library rpath: \[(.*)\]/g)[0]]);
    expect([elf?.runpath]).toEqual([all(/\(RUNPATH\)\s+Library runpath: \[(.*)\]/g)[0]]);
  });
});

describeWith({ tools: ['ldconfig'] }, 'ldconfig', () => {
  it('lists the same libraries of this machine, in the same order', async () => {
    const { stdout } = await run('ldconfig', ['-p']);
    const listed = [...stdout.toString('latin1').matchAll(/^\t(\S+) \((.*)\) => (\S+)$/gm)]
      .filter(([, , kind]) => !/hwcap/.test(kind!))
      .map(([, name, , path]) => ({ name, path }));
    await access('/etc/ld.so.cache');
    expect(readLibraryCache(await readFile('/etc/ld.so.cache'))).toEqual(listed);
  });
});
