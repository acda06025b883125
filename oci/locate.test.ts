import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { withTempDirectory } from '../tests/support/tools.ts';
import { rejects } from './contract.ts';
import { parseLocated } from './locate.ts';

test('a path that is there wins, with colons in it; the rest is the name', () =>
  withTempDirectory(async (home) => {
    const at = (name: string) => join(home, name);
    await mkdir(at('layout'));
    await mkdir(at('with:colon'));
    await writeFile(at('images.tar'), '');
    await writeFile(at('images.tar:db'), '');
    const layout = { kind: 'layout', directory: at('layout') };
    const digest = `sha256:${'a'.repeat(64)}`;
    for (const [text, reference] of [
      [`oci:${at('layout')}`, layout],
      [`oci:${at('layout')}:v1`, { ...layout, tag: 'v1' }],
      [`oci:${at('layout')}:web:latest`, { ...layout, tag: 'web:latest' }],
      [`oci:${at('layout')}:localhost:5000/a/web:latest`, { ...layout, tag: 'localhost:5000/a/web:latest' }],
      [`oci:${at('layout')}:web:latest@${digest}`, { ...layout, tag: 'web:latest', digest }],
      [`oci:${at('with:colon')}:v1`, { kind: 'layout', directory: at('with:colon'), tag: 'v1' }],
      [`oci:${at('none')}:web:v1`, { kind: 'layout', directory: at('none:web'), tag: 'v1' }],
      [
        `docker-archive:${at('images.tar')}:web:v1`,
        { kind: 'archive', format: 'docker', file: at('images.tar'), tag: 'web:v1' },
      ],
      [
        `oci-archive:${at('images.tar')}:db:v1`,
        { kind: 'archive', format: 'oci', file: at('images.tar:db'), tag: 'v1' },
      ],
      ['localhost:5000/a:b', { kind: 'registry', registry: 'localhost:5000', repository: 'a', tag: 'b' }],
    ] as const) {
      expect(await parseLocated(text)).toEqual(reference);
    }
    await rejects(parseLocated(`oci:${at('layout')}:../x:v1`), 'reference-invalid');
  }));
