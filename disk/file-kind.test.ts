import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rejects } from '../oci/contract.ts';
import { openLayout } from '../oci/layout-target.ts';
import { OCI } from '../oci/media-types.ts';
import { openArchive } from '../oci/open-archive.ts';
import { run } from '../tests/support/tools.ts';
import { DiskFile, readFile } from './disk-file.ts';
import { danglingLink } from './file-kind.ts';
import { readSmallFile } from './small-file.ts';

const HEX = 'a'.repeat(64);
let home: string;
const server = createServer();
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'accel-kind-'));
  await run('mkfifo', [join(home, 'fifo')]);
  await mkdir(join(home, 'folder'));
  await new Promise<void>((resolve) => server.listen(join(home, 'socket'), resolve));
});
afterAll(async () => {
  await new Promise((resolve) => server.close(resolve));
  await rm(home, { recursive: true, force: true });
});

const KINDS = [
  ['fifo', 'a FIFO'],
  ['socket', 'a socket'],
  ['folder', 'a directory'],
  ['/dev/zero', 'a character device'],
] as const;

test.each(KINDS)('%s is refused as %s, without waiting for it', async (name, found) => {
  const path = name.startsWith('/') ? name : join(home, name);
  const reading = async () => {
    for await (const _ of readFile(path));
  };
  for (const one of [() => DiskFile.open(path), reading, () => readSmallFile(path, 100)]) {
    expect(await rejects(one(), 'io-error')).toMatchObject({ where: { path }, found });
  }
  for (const format of ['oci', 'docker'] as const) {
    expect(await rejects(openArchive(path, format), 'layout-invalid')).toMatchObject({ found });
  }
});

test.each([...KINDS.slice(0, 3)])('%s as a file of a layout', async (name, found) => {
  const layout = join(home, `layout-${name}`);
  for (const file of ['oci-layout', 'index.json']) {
    await openLayout(layout, { create: true });
    await rm(join(layout, file));
    await symlink(join(home, name), join(layout, file));
    expect(await rejects(openLayout(layout), 'io-error')).toMatchObject({ where: { path: join(layout, file) }, found });
    await rm(layout, { recursive: true });
  }
  const target = await openLayout(layout, { create: true });
  await symlink(join(home, name), join(layout, 'blobs', 'sha256', HEX));
  const blob = { mediaType: OCI.layer, digest: `sha256:${HEX}`, size: 5 };
  expect((await rejects(target.fetch(blob), 'not-found')).found).toBe(`${found} in its place`);
  expect(await target.exists(blob)).toBe(false);
});

test('links that lead nowhere: the error says where to', async () => {
  const layout = join(home, 'linked');
  const target = await openLayout(layout, { create: true });
  await symlink('../../gone', join(layout, 'blobs', 'sha256', HEX));
  const blob = { mediaType: OCI.layer, digest: `sha256:${HEX}`, size: 5 };
  expect((await rejects(target.fetch(blob), 'not-found')).found).toContain('to ../../gone');
  await rm(join(layout, 'index.json'));
  await symlink('elsewhere.json', join(layout, 'index.json'));
  expect((await rejects(openLayout(layout), 'not-found')).found).toContain('to elsewhere.json');
  await symlink('no.tar', join(home, 'archive.tar'));
  const error = await rejects(openArchive(join(home, 'archive.tar'), 'oci'), 'not-found');
  expect(error.found).toBe('a link that leads nowhere: to no.tar');
  expect(await danglingLink(join(home, 'archive.tar'))).toBe('no.tar');
  expect(await danglingLink(home)).toBeUndefined();
});

test('small files: the limit, an empty one, and one that announces no size', async () => {
  const file = join(home, 'small');
  await writeFile(file, 'abc');
  expect(Buffer.from(await readSmallFile(file, 3)).toString()).toBe('abc');
  await rejects(readSmallFile(file, 2), 'limit-exceeded');
  await writeFile(file, '');
  expect((await readSmallFile(file, 2)).length).toBe(0);
  if (process.platform !== 'linux') return;
  expect((await readSmallFile('/proc/self/status', 1 << 20)).length).toBeGreaterThan(100);
  await rejects(readSmallFile('/proc/self/status', 10), 'limit-exceeded');
});
