/** Names, lists and patterns against the catalogue of a real registry. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { buildLayout } from '../fixtures/image-builder.ts';
import { smallTar } from '../tests/support/converter.ts';
import { startRegistry, type TestRegistry } from '../tests/support/registry.ts';
import { describeWith, run, type TempDirectory, tempDirectory } from '../tests/support/tools.ts';
import { findRepositoryNames } from './repository-names.ts';

const signal = new AbortController().signal;
const lines = async function* (text: string): AsyncGenerator<string> {
  yield text;
};

describeWith({ tools: ['docker-registry', 'skopeo'] }, 'repositories of a command', () => {
  let registry: TestRegistry;
  let folder: TempDirectory;
  beforeAll(async () => {
    registry = await startRegistry();
    folder = await tempDirectory();
    const layout = join(folder.path, 'layout');
    await buildLayout(layout, 'latest', [{ tar: smallTar(1) }]);
    for (const name of ['team/a', 'team/b', 'team/deep/c', 'other'])
      await run('skopeo', [
        'copy',
        '--dest-tls-verify=false',
        `oci:${layout}:latest`,
        `docker://${registry.host}/${name}:1`,
      ]);
  });
  afterAll(async () => {
    await registry?.stop();
    await folder?.remove();
  });

  const find = async (names: readonly string[], list = '', from: readonly string[] = ['-']): Promise<string[]> => {
    const options = { plain: true, env: { HOME: '/nonexistent' }, signal };
    const found = await findRepositoryNames({ names, from, stdin: lines(list) }, options);
    return found.map((name) => name.replace(`${registry.host}/`, ''));
  };

  it.each([
    ['named, each once, in their order', ['HOST/z', 'HOST/a', 'HOST/z'], '', ['z', 'a']],
    ['by a pattern within a part', ['HOST/team/*'], '', ['team/a', 'team/b']],
    ['by a pattern over parts', ['HOST/**'], '', ['other', 'team/a', 'team/b', 'team/deep/c']],
    ['both', ['HOST/{other,team/a}', 'HOST/team/b'], '', ['team/b', 'other', 'team/a']],
    ['listed, with comments', [], '# all\n\nHOST/x # here\r\n"HOST/team/*"\n', ['x', 'team/a', 'team/b']],
    ['of Docker Hub', ['alpine', 'docker.io/library/alpine'], '', ['docker.io/library/alpine']],
    ['a layout', ['oci:./layout'], '', ['oci:./layout']],
  ])('%s', async (_, names, list, expected) => {
    const fill = (text: string): string => text.replaceAll('HOST', registry.host);
    expect(await find(names.map(fill), fill(list))).toEqual(expected);
  });

  it('from files', async () => {
    const file = join(folder.path, 'list');
    await writeFile(file, `${registry.host}/one\n`);
    expect(await find([], '', [file, file])).toEqual(['one']);
    await expect(find([], '', [join(folder.path, 'gone')])).rejects.toThrow(/ENOENT|read/);
  });

  it.each([
    ['nothing', [], '# nothing', /no repository is named/],
    ['an image', ['HOST/team/a:1'], '', /a whole repository/],
    ['an image by digest', [`HOST/team/a@sha256:${'a'.repeat(64)}`], '', /a whole repository/],
    ['two on a line', [], 'a b', /a line has one repository/],
    ['a pattern that matches nothing', ['HOST/nothing/*'], '', /no repository matches/],
    ['a pattern without a host', ['team/*'], '', /begins with the host/],
    ['a pattern of hosts', ['**/team/*'], '', /needs the name of a registry/],
    ['a name in upper case', ['HOST/UPPER'], '', /not a valid reference/],
  ])('refuses %s', async (_, names, list, message) => {
    const fill = (text: string): string => text.replaceAll('HOST', registry.host);
    await expect(find(names.map(fill), list)).rejects.toThrow(message);
  });
});
