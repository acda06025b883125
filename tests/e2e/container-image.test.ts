/** The container image: built as a user builds it, small, without root; and accel in it converts the image that it runs from. */
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERSION } from '../../base/version.ts';
import { find, render } from '../../server/cluster/testing/helm.ts';
import { parseConfig } from '../../server/config/load.ts';
import { type BuiltImage, buildImage, missingBase } from '../support/container-image.ts';
import { describeWith, run, tempDirectory } from '../support/tools.ts';

const MINUTES = 60_000;
const reason = missingBase();

describe('the Dockerfile', () => {
  const text = readFileSync(join(import.meta.dirname, '../../Dockerfile'), 'utf8');

  it('names its base by digest', () => {
    expect(text).toMatch(/^ARG BASE=docker\.io\/library\/node:24-slim@sha256:[0-9a-f]{64}$/m);
    expect(text.match(/^FROM .*/gm)).toEqual([
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the Dockerfile
      'FROM --platform=${BUILDPLATFORM:-} ${BASE} AS build',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the Dockerfile
      'FROM ${BASE}',
    ]);
  });

  it('runs nothing in the stage that has a platform', () => {
    expect(text.slice(text.lastIndexOf('\nFROM '))).not.toMatch(/^RUN /m);
  });
});

describe.skipIf(reason !== undefined)(`the container image${reason === undefined ? '' : ` (${reason})`}`, () => {
  describeWith({ tools: ['buildah', 'tar', 'npm', 'helm', 'openssl'], root: true }, 'built by buildah', () => {
    let image: BuiltImage;

    beforeAll(async () => {
      image = await buildImage();
    }, 10 * MINUTES);
    afterAll(() => image?.remove(), MINUTES);

    it('runs accel, not as root', async () => {
      expect(image.config).toMatchObject({ User: '65532:65532', Entrypoint: ['accel'] });
      expect(await image.run(['accel', 'version'])).toBe(
        `accel ${VERSION}\nNode.js ${await nodeVersion()} on ${platform()}`,
      );
      expect(await image.run(['id', '-u'])).toBe('65532');
    });

    it('has the roles of the server', async () => {
      expect(await image.run(['accel', 'serve', '--help'])).toContain('admission');
      expect(await image.run(['accel', 'agent', 'setup', '--help'])).toContain('--root');
    });

    it('has production files alone', async () => {
      const files = (await image.run(['find', '/opt/accel', '-type', 'f'])).split('\n');
      expect(files.length).toBeGreaterThan(500);
      expect(
        files.filter((path) =>
          /\.test\.|\.d\.[cm]?ts$|\.map$|\/node_modules\/(vitest|typescript|esbuild)\//.test(path),
        ),
      ).toEqual([]);
      const kilobytes = Number((await image.run(['du', '-sk', '/opt/accel'])).split('\t')[0]);
      expect(kilobytes).toBeLessThan(64 * 1024);
    });

    it(
      'converts itself, and reads it back',
      async () => {
        await image.run(['accel', 'convert', '-r', 'oci:/layout', '-i', 'latest']);
        for (const tag of ['latest_accelerated', 'latest_containerd_accelerated']) {
          expect(await image.run(['accel', 'verify', `oci:/layout:${tag}`])).toContain(': identical to ');
        }
        const read = await image.run([
          'accel',
          'cat',
          'oci:/layout:latest_containerd_accelerated',
          '/opt/accel/package.json',
        ]);
        expect(JSON.parse(read.slice(0, read.lastIndexOf('}') + 1))).toMatchObject({
          name: 'accel-image',
          version: VERSION,
        });
      },
      5 * MINUTES,
    );

    it.each([
      ['asks the controller for its certificate', {}],
      ['makes its certificate itself', { controller: { enabled: false } }],
    ])("runs what the chart's pods run on a node that %s: configure, setup, cleanup", async (_, values) => {
      const { path: folder, remove } = await tempDirectory('accel-node-');
      try {
        const names = ['template', 'authority', 'config', 'tmp', 'containerd', 'setup'];
        await Promise.all(names.map((name) => mkdir(join(folder, name))));
        const folders = Object.fromEntries(
          [
            ['/template', 'template'],
            ['/authority', 'authority'],
            ['/etc/accel', 'config'],
            ['/tmp', 'tmp'],
            ['/host/etc/containerd', 'containerd'],
            ['/host/var/lib/accel/setup', 'setup'],
          ].map(([at = '', name = '']) => [at, join(folder, name)]),
        );
        const toml =
          'version = 2\n[plugins."io.containerd.grpc.v1.cri".registry]\n  config_path = "/etc/containerd/certs.d"\n';
        await writeFile(join(folder, 'containerd/config.toml'), toml);
        const manifests = await render({ acrInstances: 'registry.example.com', ...values });
        const makesItself = 'controller' in values;
        await writeFile(
          join(folder, 'template/accel.yaml'),
          find(manifests, 'ConfigMap', 'accel-agent').data['accel.yaml'],
        );
        if (makesItself) {
          const { data } = find(manifests, 'Secret', 'accel-agents-authority');
          for (const name of ['ca.pem', 'ca-key.pem'])
            await writeFile(join(folder, 'authority', name), Buffer.from(data[name], 'base64'));
        }
        const env = { NODE_IP: '10.1.2.3', NODE_ZONE: 'zone-a' };
        const inPod = async ({ command = ['accel'], args }: { readonly command?: string[]; readonly args: string[] }) =>
          image.run([...command, ...args], { asRoot: true, folders, env });
        const { initContainers } = find(manifests, 'DaemonSet', 'accel-agent').spec.template.spec;
        const [configure, setup] = initContainers;
        await inPod(configure);
        expect(
          parseConfig(await readFile(join(folder, 'config/accel.yaml'), 'utf8'), 'accel.yaml').agent,
        ).toMatchObject({
          advertise: '10.1.2.3:65002',
          zone: 'zone-a',
        });
        const certificate = join(folder, 'config/tls/cert.pem');
        expect(existsSync(certificate)).toBe(makesItself);
        if (makesItself) {
          const authority = join(folder, 'config/tls/ca.pem');
          await run('openssl', ['verify', '-CAfile', authority, '-verify_ip', '10.1.2.3', certificate]);
        }
        await inPod(setup);
        const hosts = join(folder, 'containerd/certs.d/registry.example.com/hosts.toml');
        expect(await readFile(hosts, 'utf8')).toContain('http://127.0.0.1:65001');
        const cleanup = find(manifests, 'DaemonSet', 'accel-cleanup').spec.template.spec.initContainers[0];
        await inPod(cleanup);
        expect(await readdir(join(folder, 'containerd'), { recursive: true })).toEqual(['config.toml']);
        expect(await readFile(join(folder, 'containerd/config.toml'), 'utf8')).toBe(toml);
      } finally {
        await remove();
      }
    });

    const nodeVersion = () => image.run(['node', '-p', 'process.versions.node']);
    const platform = () => `linux ${process.arch}`;
  });
});
