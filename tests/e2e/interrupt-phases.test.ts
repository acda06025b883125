/** Ctrl-C and SIGTERM in the phases in which accel waits for others or writes for long: a real process, and its traces. */
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { LOCK_PATTERN, withLock } from '../../disk/lock.ts';
import { buildLayout } from '../../fixtures/image-builder.ts';
import { ACCEL, convert, requireBuild } from '../support/accel.ts';
import { listen } from '../support/loopback.ts';
import { blobPath, readTags } from '../support/oci-layout.ts';
import { withTempDirectory } from '../support/tools.ts';
import { noisyLayers } from './noisy-image.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Starts accel, signals it once `ready` is true, and expects 130 and an empty temporary directory. */
async function interrupted(
  directory: string,
  args: readonly string[],
  { signal, ready }: { readonly signal: NodeJS.Signals; ready(): Promise<boolean> | boolean },
): Promise<void> {
  await requireBuild();
  const scratch = join(directory, 'scratch');
  await mkdir(scratch);
  const child = spawn(process.execPath, [ACCEL, ...args], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: { ...process.env, TMPDIR: scratch, DOCKER_CONFIG: scratch },
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = new Promise((resolve) => child.on('close', (code, by) => resolve(by ?? code)));
  while (!(await ready())) {
    if (child.exitCode !== null) throw new Error(`ended before it could be interrupted: ${stderr}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  child.kill(signal);
  expect(await ended, stderr).toBe(130);
  expect(await readdir(scratch)).toEqual([]);
}

/** A registry that takes the start of an upload and then reads no further. */
async function withStalledUpload(body: (host: string, state: { taken: number; tags: number }) => Promise<void>) {
  const state = { taken: 0, tags: 0 };
  const server = createServer(({ method = '', url = '', socket, ...request }, response: ServerResponse) => {
    void request;
    if (url.includes('/manifests/') && method === 'PUT') state.tags += 1;
    if (method === 'POST') {
      response.writeHead(202, { location: `${url.split('?')[0]}one`, 'content-length': 0 }).end();
    } else if (method === 'PATCH' || (method === 'PUT' && url.includes('/uploads/'))) {
      state.taken += 1;
      socket.pause();
    } else if (method === 'GET' && url === '/v2/') {
      response.writeHead(200).end('{}');
    } else if (method === 'DELETE') {
      response.writeHead(204).end();
    } else {
      response.writeHead(404, { 'content-length': 0 }).end();
    }
  });
  const { host, stop } = await listen(server);
  try {
    await body(host, state);
  } finally {
    server.closeAllConnections();
    await stop();
  }
}

/** A layout with the image `latest` of two layers that do not compress well. */
async function layoutIn(directory: string): Promise<string> {
  const layout = join(directory, 'layout');
  await buildLayout(layout, 'latest', noisyLayers(2, 4_500_000));
  return layout;
}

test.each(SIGNALS)('%s while a blob goes to a registry that does not read on', async (signal) => {
  await withTempDirectory(async (directory) => {
    const layout = await layoutIn(directory);
    await withStalledUpload(async (host, state) => {
      const target = ['--target-repository', `${host}/team/app`, '--plain', '--overlaybd', 'full', '--no-cache'];
      await interrupted(directory, ['convert', '-r', `oci:${layout}`, '-i', 'latest', ...target], {
        signal,
        ready: () => state.taken > 0,
      });
      expect(state.tags).toBe(0);
    });
  });
});

test.each(SIGNALS)('%s while another holds the lock of the layout', async (signal) => {
  await withTempDirectory(async (directory) => {
    const layout = await layoutIn(directory);
    const index = await readFile(join(layout, 'index.json'), 'utf8');
    const locks = async () => (await readdir(layout)).filter((name) => new RegExp(LOCK_PATTERN).test(name)).length;
    await withLock(join(layout, 'index.json'), async () => {
      const held = await locks();
      const args = ['convert', '-r', `oci:${layout}`, '-i', 'latest', '--overlaybd', 'full'];
      await interrupted(directory, args, { signal, ready: async () => (await locks()) > held });
      expect(await locks()).toBe(held);
    });
    expect(await readFile(join(layout, 'index.json'), 'utf8')).toBe(index);
  });
});

test.each(SIGNALS)('%s while an archive is written: the old one stays, nothing beside it', async (signal) => {
  await withTempDirectory(async (directory) => {
    const layout = await layoutIn(directory);
    const folder = join(directory, 'archives');
    await mkdir(folder);
    const args = ['convert', '-r', `oci:${layout}`, '-i', 'latest', '--overlaybd', 'full'];
    const target = ['--target-repository', `oci-archive:${join(folder, 'app.tar')}`];
    await interrupted(directory, [...args, ...target], {
      signal,
      ready: async () => (await readdir(folder)).length > 0,
    });
    expect(await readdir(folder)).toEqual([]);
  });
});

test.each(SIGNALS)('%s while an image is verified whose blob never ends', async (signal) => {
  await withTempDirectory(async (directory) => {
    const layout = await layoutIn(directory);
    await convert(['-r', `oci:${layout}`, '-i', 'latest', '--overlaybd', 'full']);
    let stalled = 0;
    const { host, stop } = await listen(
      createServer(async ({ url = '' }, response) => {
        const name = url.split('/').at(-1) ?? '';
        const tags = await readTags(layout);
        const digest = tags.get(name)?.digest ?? name;
        const bytes = digest.startsWith('sha256:') ? await readFile(blobPath(layout, digest)) : Buffer.from('{}');
        const type = 'application/vnd.docker.distribution.manifest.v2+json';
        response.writeHead(200, { 'content-type': type, 'content-length': bytes.length });
        if (bytes.length < 100_000) return response.end(bytes);
        stalled += 1;
        return response.write(bytes.subarray(0, 65_536));
      }),
    );
    await interrupted(directory, ['verify', '--plain', `${host}/app:full`], { signal, ready: () => stalled > 0 });
    await stop();
  });
});

test.each(SIGNALS)('%s while prefetch record waits for its standard input', async (signal) => {
  await withTempDirectory(async (directory) => {
    const layout = await layoutIn(directory);
    await convert(['-r', `oci:${layout}`, '-i', 'latest', '--overlaybd', 'full']);
    const since = Date.now();
    const args = ['prefetch', 'record', '--from', '-', `oci:${layout}:full`];
    await interrupted(directory, args, { signal, ready: () => Date.now() > since + 1500 });
  });
});
