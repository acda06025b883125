/**
 * Debian's dockerd on what setup wrote: it pulls Docker Hub's images through the agent after a reload, goes on without an agent
 * that is down, and pulls directly after cleanup. A server with a certificate for registry-1.docker.io is the hub.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildLayout } from '../../../fixtures/image-builder.ts';
import { TarBuilder } from '../../../fixtures/tar-builder.ts';
import { type HostProxy, startHostProxy } from '../../../tests/support/host-proxy.ts';
import { describeWith, run } from '../../../tests/support/tools.ts';
import { type Cluster, startCluster } from '../../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../../demo/demo-registry.ts';
import { cleanupNode } from './cleanup.ts';
import { setupNode } from './setup.ts';
import { configOf, NodeRoot } from './testing/node-root.ts';

const CACHE = process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'accel');
/** Where .ci/run unpacks Debian's package. */
const DOCKERD = join(CACHE, 'tools/docker/usr/sbin/dockerd');
const DOCKER = join(CACHE, 'tools/docker/usr/bin/docker');
const HUB = 'registry-1.docker.io';
const DAEMON_JSON = '/etc/docker/daemon.json';
/** Bytes of the image's one file, which do not compress. */
const SIZE = 50_000;
/** Not as setup would write it. */
const BEFORE = '{ "log-level": "warn",\r\n  "registry-mirrors" : [] }\r\n';

const isThere = existsSync(DOCKERD) || process.env.CI !== undefined;

describeWith({ tools: ['containerd', 'runc', 'openssl'], root: true }, 'dockerd', () => {
  let folder: string;
  let node: NodeRoot;
  let registry: DemoRegistry;
  let hub: https.Server;
  let proxy: HostProxy;
  let cluster: Cluster;
  let daemon: ChildProcess;
  let log = '';
  const docker = (...args: string[]) => run(DOCKER, ['-H', `unix://${folder}/docker.sock`, ...args]);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'accel-dockerd-'));
    const tar = new TarBuilder({ mtime: '1700000000' }).file('hello', randomBytes(SIZE)).build();
    await buildLayout(join(folder, 'layout'), 'latest', [{ tar }]);
    registry = await startDemoRegistry({ layout: join(folder, 'layout') });
    hub = await startHub(folder, registry.host);
    proxy = await startHostProxy(`127.0.0.1:${(hub.address() as AddressInfo).port}`);
    const settings = { env: { https_proxy: proxy.url }, rootCa: join(folder, 'hub.pem') };
    cluster = await startCluster({ size: 1, upstreams: [{ host: 'docker.io', plain: false, http: settings }] });
    node = await NodeRoot.make({ [DAEMON_JSON]: { text: BEFORE, mode: 0o640 } });
  });
  afterAll(async () => {
    if (daemon !== undefined && daemon.exitCode === null) {
      daemon.kill('SIGTERM');
      await once(daemon, 'exit');
    }
    await cluster?.close();
    await proxy?.stop();
    hub?.closeAllConnections();
    hub?.close();
    await registry?.close();
    await node?.remove();
    await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  });

  /** A daemon of the test's own, with the node's daemon.json. */
  async function startDaemon(): Promise<void> {
    const folders = ['data-root', 'exec-root', 'pidfile'].flatMap((name) => [`--${name}`, join(folder, name)]);
    const network = ['--iptables=false', '--ip6tables=false', '--bridge=none', '--storage-driver', 'vfs'];
    const socket = ['-H', `unix://${folder}/docker.sock`, '--config-file', join(node.path, DAEMON_JSON)];
    const env = { ...process.env, HTTPS_PROXY: proxy.url, SSL_CERT_FILE: join(folder, 'hub.pem') };
    daemon = spawn(DOCKERD, [...folders, ...network, ...socket], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    daemon.stderr!.on('data', (chunk: Buffer) => {
      log += chunk.toString();
    });
    await expect.poll(() => docker('version').catch(() => log)).toMatchObject({ exitCode: 0 });
  }

  /** As systemctl reload does; waits until dockerd has these mirrors. */
  async function reload(...mirrors: readonly string[]): Promise<void> {
    daemon.kill('SIGHUP');
    const info = async () => (await docker('info', '-f', '{{json .RegistryConfig.Mirrors}}')).stdout.toString();
    await expect.poll(async () => (JSON.parse(await info()) as string[] | null) ?? []).toEqual(mirrors);
  }

  async function pull(): Promise<{ readonly throughAgent: number; readonly fromHub: number }> {
    const sent = async () => {
      const { values } = await cluster.nodes[0]!.agent.metrics.toClients.get();
      return values.reduce((sum, { value }) => sum + value, 0);
    };
    const [agent, direct] = [await sent(), registry.blobBytes()];
    await docker('pull', '-q', 'team/app:latest');
    await docker('rmi', 'team/app:latest');
    return { throughAgent: (await sent()) - agent, fromHub: registry.blobBytes() - direct };
  }

  it.runIf(isThere)('pulls through what setup wrote, and directly after cleanup', async () => {
    const before = await node.hash();
    const request = { root: node.path, restart: false };
    const configured = (listen: string) => configOf({ registries: [{ host: 'docker.io' }], agent: { listen } });
    await startDaemon();
    expect((await pull()).throughAgent).toBe(0);

    const { problems, restarts } = await setupNode(configured(new URL(cluster.nodes[0]!.url).host), request);
    expect(problems).toEqual([]);
    expect(restarts).toMatchObject([{ service: 'docker', action: 'reload' }]);
    await reload(`${cluster.nodes[0]!.url}/`);
    const through = await pull();
    expect(through.throughAgent).toBeGreaterThan(SIZE);
    // Again, and the hub sends none of it.
    expect(await pull()).toMatchObject({ throughAgent: through.throughAgent, fromHub: 0 });

    // Nothing listens on the discard port.
    await setupNode(configured('127.0.0.1:9'), request);
    await reload('http://127.0.0.1:9/');
    expect((await pull()).fromHub).toBeGreaterThan(SIZE);

    await cleanupNode(request);
    expect(await node.hash()).toBe(before);
    expect(await readFile(join(node.path, DAEMON_JSON), 'utf8')).toBe(BEFORE);
    await reload();
    const direct = await pull();
    expect(direct.throughAgent).toBe(0);
    expect(direct.fromHub).toBeGreaterThan(SIZE);
    expect(proxy.hosts).toContain(HUB);
  });
});

/** An HTTPS server with a certificate for the hub, in hub.pem, in front of a registry. */
async function startHub(folder: string, registry: string): Promise<https.Server> {
  const [key, cert] = [join(folder, 'hub.key'), join(folder, 'hub.pem')];
  const subject = ['-subj', `/CN=${HUB}`, '-addext', `subjectAltName=DNS:${HUB}`];
  const files = ['-keyout', key, '-out', cert, '-days', '2', '-nodes'];
  await run('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', ...subject, ...files]);
  const [host, port] = registry.split(':');
  const server = https.createServer({ key: await readFile(key), cert: await readFile(cert) }, (request, response) => {
    const { method, url, headers } = request;
    const onward = http.request({ host, port, method, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    onward.end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
