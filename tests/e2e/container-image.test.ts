/** The container image: built as a user builds it, small, without root; and accel in it converts the image that it runs from. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { VERSION } from '../../base/version.ts';
import { type BuiltImage, buildImage, missingBase } from '../support/container-image.ts';
import { describeWith } from '../support/tools.ts';

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
  describeWith({ tools: ['buildah', 'tar', 'npm'], root: true }, 'built by buildah', () => {
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

    const nodeVersion = () => image.run(['node', '-p', 'process.versions.node']);
    const platform = () => `linux ${process.arch}`;
  });
});
