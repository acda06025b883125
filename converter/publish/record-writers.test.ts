/** Processes that save the record of layers of one place at the same time: the entries of none are lost. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openTarget } from '../../oci/open.ts';
import { parseReference } from '../../oci/reference.ts';
import { requireBuild } from '../../tests/support/accel.ts';
import { startRegistry } from '../../tests/support/registry.ts';
import { describeWith, withTempDirectory } from '../../tests/support/tools.ts';
import { DEFAULT_ARTIFACT } from '../options.ts';
import { LayerCache } from './layer-record.ts';

const DIST = join(import.meta.dirname, '../../dist');
const PROCESSES = 8;
const ROUNDS = 2;

/** Saves one entry of its own a round, each with the record as another run would see it. */
const WRITER = `
  import { openTarget } from '${DIST}/oci/open.js';
  import { parseReference } from '${DIST}/oci/reference.js';
  import { LayerCache } from '${DIST}/converter/publish/layer-record.js';
  import { DEFAULT_ARTIFACT } from '${DIST}/converter/options.js';
  const [place, name, rounds] = process.argv.slice(1);
  const signal = new AbortController().signal;
  for (let round = 0; round < Number(rounds); round++) {
    const target = await openTarget(parseReference(place), { create: true });
    const cache = LayerCache.open(target, signal);
    const key = { chainId: name + '-' + round, virtualSize: 1, artifact: DEFAULT_ARTIFACT, sourceDigest: 'x' };
    cache.add('index-only', key, { notIndexable: name });
    await cache.save();
    await target.close?.();
  }
`;

/** Lets the processes write, and answers the entries that are not in the record afterwards. */
async function lostEntries(place: string): Promise<string[]> {
  const names = Array.from({ length: PROCESSES }, (_, i) => `w${i}`);
  const ends = names.map(async (name) => {
    const args = ['--input-type=module', '-e', WRITER, place, name, String(ROUNDS)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (data: Buffer) => {
      errors += data.toString();
    });
    const [code] = await once(child, 'close');
    return { code: code as number | null, errors };
  });
  expect(await Promise.all(ends)).toEqual(names.map(() => ({ code: 0, errors: '' })));
  const target = await openTarget(parseReference(place));
  const cache = LayerCache.open(target, new AbortController().signal);
  const lost: string[] = [];
  for (const name of names) {
    for (let round = 0; round < ROUNDS; round++) {
      const key = { chainId: `${name}-${round}`, virtualSize: 1, artifact: DEFAULT_ARTIFACT, sourceDigest: 'x' };
      if ((await cache.find('index-only', key)) === undefined) lost.push(key.chainId);
    }
  }
  await target.close?.();
  return lost;
}

test(`${PROCESSES} processes at one layout`, async () => {
  await requireBuild();
  await withTempDirectory(async (directory) => {
    expect(await lostEntries(`oci:${join(directory, 'place')}`)).toEqual([]);
  });
});

test(`${PROCESSES} processes at one archive`, async () => {
  await requireBuild();
  await withTempDirectory(async (directory) => {
    expect(await lostEntries(`oci-archive:${join(directory, 'place.tar')}`)).toEqual([]);
  });
});

describeWith({ tools: ['docker-registry'] }, 'a registry', () => {
  test(`${PROCESSES} processes at one repository`, async () => {
    await requireBuild();
    const registry = await startRegistry();
    try {
      expect(await lostEntries(`${registry.host}/app`)).toEqual([]);
    } finally {
      await registry.stop();
    }
  });
});
