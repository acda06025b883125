/** Foreign clients pull through a real agent: containers-image (skopeo, podman, buildah; CRI-O pulls with the same library), Docker, containerd. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pack } from 'tar-stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeWith, run } from '../../tests/support/tools.ts';
import { type Cluster, startCluster } from '../demo/cluster.ts';
import { type DemoRegistry, startDemoRegistry } from '../demo/demo-registry.ts';
import { type MadeImage, writeImageLayout } from '../demo/image-layout.ts';

const MIB = 2 ** 20;
/** Where .ci/run keeps what it builds and unpacks. */
const TOOLS = join(
  process.env.ACCEL_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? '', '.cache'), 'accel'),
  'tools',
);

let folder: string;
let image: MadeImage;
let registry: DemoRegistry;
let cluster: Cluster;
/** The mirror as `host:port`. */
let agent: string;
const daemons: ChildProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'accel-runtimes-'));
  const layers = await Promise.all([tar('one', 5 * MIB), tar('two', 2 * MIB)]);
  image = await writeImageLayout(join(folder, 'layout'), layers);
  registry = await startDemoRegistry({ layout: join(folder, 'layout') });
  cluster = await startCluster({ size: 2, upstreams: [{ host: registry.host, plain: true, http: {} }] });
  agent = new URL(cluster.nodes[0]!.url).host;
});
afterEach(async () => {
  for (const daemon of daemons.splice(0)) {
    const gone = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await gone;
  }
  await cluster.close();
  await registry.close();
  await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
});

async function tar(name: string, bytes: number): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name, mtime: new Date(0) }, randomBytes(bytes));
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const layerBytes = () => image.layers.reduce((sum, { size }) => sum + size, 0);

/** Bytes that the first agent has sent to its clients. */
async function throughAgent(): Promise<number> {
  const { values } = await cluster.nodes[0]!.agent.metrics.toClients.get();
  return values.reduce((sum, { value }) => sum + value, 0);
}

/** All of the image went through the agent, and came once from the registry. */
async function expectPulled(times = 1): Promise<void> {
  expect(await throughAgent()).toBeGreaterThanOrEqual(times * layerBytes());
  // The config is a blob as well.
  expect(registry.blobBytes()).toBeLessThan(layerBytes() + 10_000);
}

async function start(program: string, args: readonly string[], ready: () => Promise<boolean>): Promise<void> {
  const log: Buffer[] = [];
  const daemon = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  daemon.stdout.on('data', (chunk: Buffer) => log.push(chunk));
  daemon.stderr.on('data', (chunk: Buffer) => log.push(chunk));
  daemons.push(daemon);
  for (let tries = 0; !(await ready()); tries++) {
    if (tries > 1200 || daemon.exitCode !== null) throw new Error(`${program}: ${Buffer.concat(log).toString()}`);
    await sleep(100);
  }
}

describeWith(
  { tools: ['skopeo', 'podman', 'buildah'], root: true },
  'containers-image with a mirror in registries.conf',
  () => {
    let env: Record<string, string>;
    let reference: string;
    let storage: readonly string[];
    beforeEach(async () => {
      const mirror = `[[registry.mirror]]\nlocation = "${agent}"\ninsecure = true\n`;
      const conf = join(folder, 'registries.conf');
      await writeFile(conf, `[[registry]]\nlocation = "${registry.host}"\ninsecure = true\n\n${mirror}`);
      await writeFile(join(folder, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
      env = { CONTAINERS_REGISTRIES_CONF: conf };
      reference = `${registry.host}/team/app:latest`;
      storage = ['--root', join(folder, 'root'), '--runroot', join(folder, 'runroot'), '--storage-driver', 'vfs'];
    });
    const policy = () => ['--signature-policy', join(folder, 'policy.json')];
    const skopeo = () => ['--insecure-policy', '--registries-conf', join(folder, 'registries.conf')];

    it('skopeo copies', async () => {
      const target = join(folder, 'copy');
      await run('skopeo', [...skopeo(), 'copy', '--src-tls-verify=false', `docker://${reference}`, `dir:${target}`], {
        env,
      });
      for (const { digest, size } of image.layers)
        expect((await readFile(join(target, digest.slice('sha256:'.length)))).length).toBe(size);
      await expectPulled();
    });

    it('podman pulls by tag and by digest, and skopeo after it for nothing', async () => {
      await run('podman', [...storage, 'pull', '--quiet', ...policy(), reference], { env });
      const byDigest = `${registry.host}/team/app@${image.manifest}`;
      const { stdout } = await run('podman', [...storage, 'pull', '--quiet', ...policy(), byDigest], { env });
      expect(stdout.toString()).toMatch(/^[0-9a-f]{64}\n$/);
      await run(
        'skopeo',
        [...skopeo(), 'copy', '--src-tls-verify=false', `docker://${reference}`, `dir:${folder}/copy`],
        { env },
      );
      await expectPulled(2);
    });

    it('buildah pulls', async () => {
      await run('buildah', [...storage, 'pull', '--quiet', ...policy(), reference], { env });
      await expectPulled();
    });
  },
);

describe('Docker with a registry mirror', () => {
  const dockerd = join(TOOLS, 'docker/usr/sbin/dockerd');
  const docker = join(TOOLS, 'docker/usr/bin/docker');

  it.runIf(existsSync(dockerd) && process.getuid?.() === 0)('pulls', async () => {
    const socket = `unix://${folder}/docker.sock`;
    const flags = [
      '--data-root',
      join(folder, 'data'),
      '--exec-root',
      join(folder, 'exec'),
      '--pidfile',
      join(folder, 'pid'),
    ];
    const network = ['--iptables=false', '--ip6tables=false', '--bridge=none', '--storage-driver', 'vfs'];
    await start(dockerd, [...flags, ...network, '-H', socket, '--registry-mirror', `http://${agent}`], () =>
      run(docker, ['-H', socket, 'version'], { accept: 'any' }).then(({ exitCode }) => exitCode === 0),
    );
    const { stdout } = await run(docker, ['-H', socket, 'pull', 'team/app:latest']);
    expect(stdout.toString()).toContain(`Digest: ${image.manifest}`);
    await expectPulled();
  });
});

describeWith({ tools: ['containerd', 'ctr'], root: true }, 'containerd with a mirror in hosts.toml', () => {
  /** Starts a containerd of the test's own; how to pull with it. */
  async function startContainerd(
    bin: string,
    settings: readonly string[],
  ): Promise<(...more: string[]) => Promise<void>> {
    const hosts = join(folder, 'certs.d', registry.host);
    await mkdir(hosts, { recursive: true });
    // Without the registry as a second host: nothing but the agent can have served the pull.
    const toml = `server = "http://${agent}"\n[host."http://${agent}"]\n  capabilities = ["pull", "resolve"]\n`;
    await writeFile(join(hosts, 'hosts.toml'), toml);
    const socket = join(folder, 'containerd.sock');
    const config = join(folder, 'containerd.toml');
    const lines = [
      `root = "${folder}/root"`,
      `state = "${folder}/state"`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      '[grpc]',
      `  address = "${socket}"`,
    ];
    await writeFile(config, [...settings.slice(0, 1), ...lines, ...settings.slice(1)].join('\n'));
    const ctr = join(bin, 'ctr');
    await start(join(bin, 'containerd'), ['-c', config], () =>
      run(ctr, ['-a', socket, 'version'], { accept: 'any' }).then(({ exitCode }) => exitCode === 0),
    );
    return async (...more) => {
      const flags = ['--hosts-dir', join(folder, 'certs.d'), ...more];
      await run(ctr, ['-a', socket, 'images', 'pull', ...flags, `${registry.host}/team/app:latest`]);
    };
  }

  /** Reads all layers as a device does, through both agents. */
  async function readLazily(): Promise<void> {
    for (const { digest, size } of image.layers) {
      const whole = await readFile(join(folder, 'layout/blobs', digest.replace(':', '/')));
      for (let at = 0; at < size; at += MIB / 4) {
        const headers = { range: `bytes=${at}-${Math.min(size, at + MIB / 4) - 1}` };
        const { url } = cluster.nodes[(at / MIB) % 2 < 1 ? 0 : 1]!;
        const got = await fetch(`${url}/dadip2p/http://${registry.host}/v2/team/app/blobs/${digest}`, { headers });
        expect(got.status).toBe(206);
        expect(Buffer.from(await got.arrayBuffer()).equals(whole.subarray(at, at + MIB / 4))).toBe(true);
      }
    }
  }

  it('1.6 pulls, and lazy reads after it cost the registry nothing', async () => {
    const pull = await startContainerd('/usr/bin', ['version = 2']);
    await pull();
    await expectPulled();
    const before = registry.blobBytes();
    await readLazily();
    expect(registry.blobBytes()).toBe(before);
  });

  it('1.6 pulls what was read lazily before, and the registry sends only the config', async () => {
    await readLazily();
    expect(registry.blobBytes()).toBe(layerBytes());
    const pull = await startContainerd('/usr/bin', ['version = 2']);
    await pull();
    await expectPulled();
  });

  const built = join(TOOLS, 'containerd-2.4.2');
  const transfer = () => ['[plugins."io.containerd.transfer.v1.local"]', `  config_path = "${folder}/certs.d"`];
  it.runIf(existsSync(join(built, 'ctr')))('2.4 pulls', async () => {
    const pull = await startContainerd(built, ['version = 3', ...transfer()]);
    await pull();
    await expectPulled();
  });

  it.runIf(existsSync(join(built, 'ctr')))('2.4 pulls each layer in ranges at the same time', async () => {
    const parallel = ['  concurrent_layer_fetch_buffer = 524288', '  max_concurrent_downloads = 8'];
    const pull = await startContainerd(built, ['version = 3', ...transfer(), ...parallel]);
    const ranges = new Set<string>();
    cluster.nodes[0]!.agent.metrics.requests.inc = ((labels: { status: string }) => ranges.add(labels.status)) as never;
    await pull();
    expect([...ranges]).toContain('206');
    await expectPulled();
  });
});
