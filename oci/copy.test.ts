import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesSource } from '../base/byte-source.ts';
import { startRegistry, type TestRegistry } from '../tests/support/registry.ts';
import { describeWith } from '../tests/support/tools.ts';
import { fetchBytes } from './content.ts';
import { blob, noise, pushImage, rejects } from './contract.ts';
import { copyContent } from './copy.ts';
import { MemoryTarget } from './memory-target.ts';
import { openRegistry } from './registry/registry-target.ts';
import { missing, scripted } from './registry/testing/scripted-target.ts';

const env = { HOME: '/nonexistent' };
const bytes = noise(100_000, 1);

describe('between backends', () => {
  test('the bytes are streamed once, then found to exist', async () => {
    const [from, to] = [new MemoryTarget('from'), new MemoryTarget('to')];
    await from.push(blob(bytes), bytesSource(bytes));
    expect(await copyContent(from, to, blob(bytes))).toBe('pushed');
    expect(await copyContent(from, to, blob(bytes))).toBe('existed');
    expect(Buffer.from(await fetchBytes(to, blob(bytes), 1e6)).equals(bytes)).toBe(true);
  });

  test('damaged content does not arrive', async () => {
    const to = new MemoryTarget();
    const from = { fetch: async () => bytesSource(noise(100_000, 2)).open() };
    await rejects(copyContent(from, to, blob(bytes)), 'digest-mismatch');
    expect(await to.exists(blob(bytes))).toBe(false);
  });

  test('what the source does not have is not-found', async () => {
    await rejects(copyContent(new MemoryTarget(), new MemoryTarget(), blob(bytes)), 'not-found');
  });
});

test('a registry that does not mount gets the bytes (Docker Hub across accounts)', async () => {
  let stored: Buffer | undefined;
  const { target, server } = await scripted(({ method, body }) => {
    if (method === 'HEAD') return missing;
    if (method === 'POST') return { status: 202, headers: { location: '/v2/app/blobs/uploads/s' } };
    if (method === 'PUT') stored = body;
    return { status: 201 };
  });
  const from = new MemoryTarget();
  await from.push(blob(bytes), bytesSource(bytes));
  expect(await copyContent(from, target, blob(bytes), { mountFrom: 'other/app' })).toBe('pushed');
  expect(stored?.equals(bytes)).toBe(true);
  expect(server.log().filter((line) => line.includes('mount=')).length).toBe(1);
});

describeWith({ tools: ['docker-registry'] }, 'between repositories of docker-registry', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
  });
  afterAll(() => registry?.stop());
  const open = (repository: string) => openRegistry({ registry: registry.host, repository }, { plain: true, env });

  test('blobs are mounted without being asked to, manifests are copied', async () => {
    const [from, to] = [await open('copy/from'), await open('copy/to')];
    await from.push(blob(bytes), bytesSource(bytes));
    expect(await copyContent(from, to, blob(bytes))).toBe('mounted');
    expect(await copyContent(from, to, blob(bytes))).toBe('existed');
    const { descriptor, bytes: manifest } = await pushImage(from, 'copied');
    const { config, layers } = JSON.parse(new TextDecoder().decode(manifest));
    expect(await copyContent(from, to, config)).toBe('mounted');
    expect(await copyContent(from, to, layers[0])).toBe('mounted');
    expect(await copyContent(from, to, descriptor)).toBe('pushed');
    expect((await to.resolve(descriptor.digest)).digest).toBe(descriptor.digest);
    await from.close();
    await to.close();
  });
});
