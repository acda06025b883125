import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { withLock } from '../disk/lock.ts';
import { ownIdentity, processMark } from '../disk/process-mark.ts';
import { describeWith, run } from '../tests/support/tools.ts';
import { fetchBytes } from './content.ts';
import { blob, noise, pieces, pushImage, rejects, storageContract } from './contract.ts';
import { REF_NAME } from './image-names.ts';
import { indexPath, tagInIndexFile } from './layout-index.ts';
import { openLayout } from './layout-target.ts';
import { openTarget } from './open.ts';
import { parseReference } from './reference.ts';

storageContract('layout', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'accel-layout-'));
  const target = await openLayout(directory, { create: true });
  return { target, dispose: () => rm(directory, { recursive: true, force: true }) };
});

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'accel-layout-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('what a killed run left of index.json goes, even when there is nothing but a tag to set', async () => {
  const first = await openLayout(directory, { create: true });
  const { descriptor } = await pushImage(first, 'x');
  const left = `.accel-${processMark({ ...ownIdentity(), pid: 999_999_999, start: '1' })}-1.tmp`;
  await writeFile(path.join(directory, left), '{');
  const target = await openLayout(directory);
  await target.resolve('v1').catch(() => undefined);
  expect(await readdir(directory)).toContain(left);
  await target.tag(descriptor, 'v1');
  expect((await readdir(directory)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
});

test('makes the folder of blobs that is missing, for what it writes and what it takes', async () => {
  const target = await openLayout(directory, { create: true });
  const missing = () => rm(path.join(directory, 'blobs'), { recursive: true });
  const [written, taken] = [noise(1000, 1), noise(1000, 2)];
  await missing();
  expect(await target.push(blob(written), bytesSource(written))).toBe('pushed');
  await writeFile(path.join(directory, '.taken'), taken);
  await missing();
  expect(await target.takeFile(blob(taken), path.join(directory, '.taken'))).toBe('pushed');
  expect((await target.fetchRange(blob(taken), 0, 1000)).every((byte, at) => byte === taken[at])).toBe(true);
});

test('a file to take that is not there is an error', async () => {
  const target = await openLayout(directory, { create: true });
  await rejects(target.takeFile(blob(noise(1000, 1)), path.join(directory, '.taken')), 'io-error');
});

test.each(['before index.json is written', 'while it is'])('an abort under the lock, %s, sets no tag', async (when) => {
  const target = await openLayout(directory, { create: true });
  const { descriptor } = await pushImage(target, 'x');
  const index = await readFile(indexPath(directory), 'utf8');
  const interrupt = new AbortController();
  const tagging = withLock(
    indexPath(directory),
    async (lock) => {
      if (when.startsWith('before')) interrupt.abort(new Error('enough'));
      const confirm = async (): Promise<void> => {
        await lock.confirm();
        // Its first look at the signal is past when this comes.
        queueMicrotask(() => queueMicrotask(() => interrupt.abort(new Error('enough'))));
      };
      await tagInIndexFile(directory, descriptor, 'v1', { signal: lock.signal, confirm });
    },
    { signal: interrupt.signal },
  );
  await expect(tagging).rejects.toThrow('enough');
  expect(await readFile(indexPath(directory), 'utf8')).toBe(index);
  expect((await readdir(directory)).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
});

/** All files below the layout, relative and sorted. */
async function files(): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(directory, path.join(entry.parentPath, entry.name)))
    .sort();
}

async function readIndex(): Promise<{ manifests: Record<string, unknown>[]; [field: string]: unknown }> {
  return JSON.parse(await readFile(path.join(directory, 'index.json'), 'utf8'));
}

async function writeIndex(content: unknown): Promise<void> {
  await writeFile(path.join(directory, 'index.json'), typeof content === 'string' ? content : JSON.stringify(content));
}

describe('opening', () => {
  test('a directory without a layout is not-found and says what is missing', async () => {
    const error = await rejects(openLayout(directory), 'not-found');
    expect(error.found).toBe('no oci-layout');
    await rejects(openLayout(path.join(directory, 'nowhere')), 'not-found');
  });

  test('create makes the files of an empty layout, and leaves an existing one alone', async () => {
    await openLayout(directory, { create: true });
    expect(await files()).toEqual(['index.json', 'oci-layout']);
    const target = await openLayout(directory);
    const { descriptor } = await pushImage(target, 'kept');
    await target.tag(descriptor, 'kept');
    await openLayout(directory, { create: true });
    expect(await target.tags()).toEqual(['kept']);
  });

  test('by reference: tag and digest play no part, and only create makes one', async () => {
    const reference = parseReference(`oci:${directory}/new:v1`);
    await rejects(openTarget(reference), 'not-found');
    expect((await openTarget(reference, { create: true })).name).toBe(`oci:${directory}/new`);
    expect((await openTarget(reference)).name).toBe(`oci:${directory}/new`);
  });

  test.each([
    ['a version from the future', 'oci-layout', '{"imageLayoutVersion":"2.0.0"}'],
    ['no version', 'oci-layout', '{}'],
    ['not JSON', 'index.json', '{'],
    ['an empty file', 'index.json', ''],
    ['a list', 'index.json', '[]'],
    ['schema 1', 'index.json', '{"schemaVersion":1,"manifests":[]}'],
    ['too large', 'index.json', ' '.repeat(5 * 1024 * 1024)],
    ['nested too deeply', 'index.json', '['.repeat(100_000)],
  ])('%s is layout-invalid', async (_, name, content) => {
    await openLayout(directory, { create: true });
    await writeFile(path.join(directory, name), content);
    const error = await rejects(openLayout(directory), 'layout-invalid');
    expect(error.where.path).toBe(path.join(directory, name));
  });

  test('a digest that is a path never becomes one', async () => {
    await openLayout(directory, { create: true });
    await writeIndex({
      schemaVersion: 2,
      manifests: [{ mediaType: 'x', digest: 'sha256:../../../etc/passwd', size: 1 }],
    });
    await rejects(openLayout(directory), 'manifest-invalid');
  });
});

describe('tags in index.json', () => {
  test('unknown fields, other entries and a platform stay', async () => {
    const target = await openLayout(directory, { create: true });
    const one = await pushImage(target, 'one');
    const two = await pushImage(target, 'two');
    const platform = { os: 'linux', architecture: 'arm64' };
    await writeIndex({
      schemaVersion: 2,
      extra: { kept: true },
      manifests: [{ ...one.descriptor, platform, annotations: { [REF_NAME]: 'one', mine: 'x' } }, two.descriptor],
    });
    await target.tag(one.descriptor, 'again');
    const index = await readIndex();
    expect(index.extra).toEqual({ kept: true });
    expect(index.manifests).toEqual([
      { ...one.descriptor, platform, annotations: { [REF_NAME]: 'one', mine: 'x' } },
      two.descriptor,
      { ...one.descriptor, annotations: { [REF_NAME]: 'again' }, platform },
    ]);
  });

  test('two tags may name one digest, and a repeated tag writes nothing', async () => {
    const target = await openLayout(directory, { create: true });
    const { descriptor } = await pushImage(target, 'x');
    await target.tag(descriptor, 'a');
    await target.tag(descriptor, 'b');
    const before = await readFile(path.join(directory, 'index.json'), 'utf8');
    await target.tag(descriptor, 'a');
    expect(await readFile(path.join(directory, 'index.json'), 'utf8')).toBe(before);
    expect(await target.tags()).toEqual(['a', 'b']);
  });

  test('a missing tag lists the tags there are', async () => {
    const target = await openLayout(directory, { create: true });
    const { descriptor } = await pushImage(target, 'x');
    await target.tag(descriptor, 'v2');
    await target.tag(descriptor, 'v1');
    expect((await rejects(target.resolve('v3'), 'not-found')).found).toBe('v1, v2');
  });

  test('one tag on two digests is layout-invalid', async () => {
    const target = await openLayout(directory, { create: true });
    const annotations = { [REF_NAME]: 'twice' };
    const one = { ...(await pushImage(target, 'one')).descriptor, annotations };
    const two = { ...(await pushImage(target, 'two')).descriptor, annotations };
    await writeIndex({ schemaVersion: 2, manifests: [one, two] });
    await rejects(target.resolve('twice'), 'layout-invalid');
  });

  test('two targets on one directory do not lose each other’s tags', async () => {
    const targets = [await openLayout(directory, { create: true }), await openLayout(`${directory}/.`)];
    const { descriptor } = await pushImage(targets[0]!, 'x');
    const tags = Array.from({ length: 20 }, (_, index) => `t${index}`);
    await Promise.all(tags.map((tag, index) => targets[index % 2]!.tag(descriptor, tag)));
    expect(await targets[0]!.tags()).toEqual(tags.sort());
  });
});

describe('blobs on disk', () => {
  test('a damaged blob is found while it is read, before its last chunk', async () => {
    const target = await openLayout(directory, { create: true });
    const bytes = noise(3_000_000, 3);
    const descriptor = blob(bytes);
    await target.push(descriptor, bytesSource(bytes));
    const file = path.join(directory, 'blobs', 'sha256', descriptor.digest.slice(7));
    const damaged = Buffer.from(bytes);
    damaged.writeUInt8(damaged.readUInt8(12_345) ^ 0x10, 12_345);
    await writeFile(file, damaged);
    let seen = 0;
    const reading = (async () => {
      for await (const chunk of await target.fetch(descriptor)) seen += chunk.length;
    })();
    await rejects(reading, 'digest-mismatch');
    expect(seen).toBeLessThan(bytes.length);
  });

  test('a truncated blob does not exist, and a push repairs it', async () => {
    const target = await openLayout(directory, { create: true });
    const bytes = noise(1000, 4);
    const descriptor = blob(bytes);
    const file = path.join(directory, 'blobs', 'sha256', descriptor.digest.slice(7));
    await writeFile(file, bytes.subarray(0, 500));
    expect(await target.exists(descriptor)).toBe(false);
    await rejects(target.fetch(descriptor), 'size-mismatch');
    expect(await target.push(descriptor, bytesSource(bytes))).toBe('pushed');
    expect(Buffer.from(await fetchBytes(target, descriptor, 2000)).equals(bytes)).toBe(true);
  });

  test('no temporary file stays after a failed push', async () => {
    const target = await openLayout(directory, { create: true });
    const before = await files();
    const bytes = noise(100_000, 5);
    await rejects(target.push(blob(bytes), pieces(noise(100_000, 6), 1000)), 'digest-mismatch');
    await rejects(target.push(blob(bytes), pieces(bytes.subarray(9), 1000)), 'size-mismatch');
    expect(await files()).toEqual(before);
  });

  test('a disk that cannot be written is an io-error', async () => {
    const target = await openLayout(directory, { create: true });
    const bytes = noise(10, 5);
    await rm(path.join(directory, 'blobs'), { recursive: true });
    await writeFile(path.join(directory, 'blobs'), 'a file where a directory belongs');
    await rejects(target.push(blob(bytes), bytesSource(bytes)), 'io-error');
  });

  test('an image below an index resolves by digest though index.json does not list it', async () => {
    const target = await openLayout(directory, { create: true });
    const { descriptor } = await pushImage(target, 'inner');
    expect(await target.resolve(descriptor.digest)).toEqual(descriptor);
    await mkdir(path.join(directory, 'blobs', 'sha256', 'f'.repeat(64)));
    await rejects(target.resolve(`sha256:${'f'.repeat(64)}`), 'not-found');
  });
});

describeWith({ tools: ['skopeo'] }, 'skopeo as the judge', () => {
  test('reads what we wrote', async () => {
    const target = await openLayout(directory, { create: true });
    const { descriptor } = await pushImage(target, 'judged');
    await target.tag(descriptor, 'v1');
    const { stdout } = await run('skopeo', ['inspect', '--raw', `oci:${directory}:v1`]);
    expect(JSON.parse(stdout.toString('utf8')).config.mediaType).toBe('application/vnd.oci.image.config.v1+json');
  });
});
