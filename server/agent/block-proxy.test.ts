/** The block proxy leads to configured hosts alone, whatever the path says. Requests are raw: no client tidies them up. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';

const HEX = 'a'.repeat(64);
let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster;
/** A server that nobody configured; it must not hear of anything. */
let bystander: http.Server;
let heard = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-block-'));
  image = await writeImageLayout(folder, [randomBytes(3_000_000)]);
  registry = await startDemoRegistry({ layout: folder });
  bystander = http.createServer((_, response) => {
    heard += 1;
    response.end('secret');
  });
  await new Promise<void>((resolve) => bystander.listen(0, '127.0.0.1', resolve));
  cluster = await startCluster({
    size: 1,
    upstreams: [
      { host: registry.host, plain: true, http: {} },
      { host: 'reg.example', plain: false, http: {} },
    ],
  });
});
afterAll(async () => {
  await cluster.close();
  await registry.close();
  await new Promise((resolve) => bystander.close(resolve));
  await rm(folder, { recursive: true, force: true });
});

/** The status of a request whose line is sent as it is. */
function raw(path: string, headers = ''): Promise<{ status: number; head: string }> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(cluster.nodes[0]!.url);
    const socket = connect(Number(port), '127.0.0.1', () =>
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\n\r\n`),
    );
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => {
      const head = Buffer.concat(chunks).toString('latin1').split('\r\n\r\n')[0]!;
      resolve({ status: Number(head.split(' ')[1]), head });
    });
  });
}

function port(): number {
  return (bystander.address() as { port: number }).port;
}

describe('nothing but configured hosts is reached', () => {
  const blob = `v2/a/blobs/sha256:${HEX}`;
  it.each([
    ['another port', () => `http://127.0.0.1:${port()}/${blob}`],
    ['a name of loopback', () => `http://localhost:${port()}/${blob}`],
    ['decimal IPv4', () => `http://2130706433:${port()}/${blob}`],
    ['octal IPv4', () => `http://0177.0.0.1:${port()}/${blob}`],
    ['short IPv4', () => `http://127.1:${port()}/${blob}`],
    ['hexadecimal IPv4', () => `http://0x7f000001:${port()}/${blob}`],
    ['IPv6', () => `http://[::1]:${port()}/${blob}`],
    ['IPv4 in IPv6', () => `http://[::ffff:127.0.0.1]:${port()}/${blob}`],
    ['unspecified', () => `http://0.0.0.0:${port()}/${blob}`],
    ['the metadata service', () => `http://169.254.169.254/${blob}`],
    ['a user that looks like the host', () => `http://${registry.host}@127.0.0.1:${port()}/${blob}`],
    ['a user at the host', () => `http://user:password@${registry.host}/${blob}`],
    ['a backslash', () => `http://127.0.0.1:${port()}\\@${registry.host}/${blob}`],
    ['an encoded at sign', () => `http://${registry.host}%40127.0.0.1:${port()}/${blob}`],
    ['a fragment', () => `http://127.0.0.1:${port()}#${registry.host}/${blob}`],
    ['a question mark', () => `http://127.0.0.1:${port()}?${registry.host}/${blob}`],
    ['another scheme', () => `https://${registry.host}/${blob}`],
    ['plain HTTP where HTTPS is configured', () => `http://reg.example/${blob}`],
    ['a longer name', () => `https://reg.example.evil.example/${blob}`],
    ['a final dot', () => `https://reg.example./${blob}`],
    ['more slashes', () => `http:////127.0.0.1:${port()}/${blob}`],
    ['one slash', () => `http:/127.0.0.1:${port()}/${blob}`],
    ['ftp', () => `ftp://${registry.host}/${blob}`],
    ['file', () => `file:///etc/passwd?sha256:${HEX}`],
    ['no scheme', () => `${registry.host}/${blob}`],
    ['an encoded URL', () => encodeURIComponent(`http://127.0.0.1:${port()}/${blob}`)],
    ['a path out of the blobs', () => `http://${registry.host}/v2/a/blobs/sha256:${HEX}/../../../../admin`],
    ['encoded slashes', () => `http://${registry.host}/v2/a%2fblobs%2fsha256:${HEX}`],
    ['something after the digest', () => `http://${registry.host}/v2/a/blobs/sha256:${HEX}/other`],
    ['a digest in the query', () => `http://${registry.host}/admin?x=/v2/a/blobs/sha256:${HEX}`],
    ['no digest', () => `http://${registry.host}/v2/a/manifests/latest`],
    ['a folder that is not of the digest', () => `http://${registry.host}/sha256/bb/${HEX}/data`],
    ['nothing', () => ''],
  ])('%s', async (_, target) => {
    const asked = registry.requests.size;
    const { status, head } = await raw(`/dadip2p/${target()}`);
    expect([400, 403]).toContain(status);
    expect(head).not.toContain('secret');
    expect(heard).toBe(0);
    expect(registry.requests.size).toBe(asked);
  });

  it('the mirror and the prefix with more slashes lead nowhere', async () => {
    for (const path of [`//dadip2p/http://127.0.0.1:${port()}/x`, '/dadip2p', `http://127.0.0.1:${port()}/`, '*'])
      expect([400, 404]).toContain((await raw(path)).status);
    expect(heard).toBe(0);
  });
});

describe('a device reads', () => {
  const url = () => `/dadip2p/http://${registry.host}/v2/team/app/blobs/${image.layers[0]!.digest}`;
  it.each([
    ['bytes=0-0', 206, 'bytes 0-0/3000000'],
    ['bytes=0-', 206, 'bytes 0-2999999/3000000'],
    ['bytes=262144-524287', 206, 'bytes 262144-524287/3000000'],
    ['bytes=2097000-2097300', 206, 'bytes 2097000-2097300/3000000'],
    ['bytes=2999999-4000000', 206, 'bytes 2999999-2999999/3000000'],
    ['bytes=3000000-', 416, 'bytes */3000000'],
  ])('%s', async (range, status, said) => {
    const got = await raw(url(), `Range: ${range}\r\n`);
    expect(got.status).toBe(status);
    expect(got.head.toLowerCase()).toContain(`content-range: ${said}`);
  });

  it('with one slash after the scheme, as some clients fold it', async () => {
    expect((await raw(url().replace('http://', 'http:/'), 'Range: bytes=0-0\r\n')).status).toBe(206);
  });
});
