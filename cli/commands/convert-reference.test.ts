import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { ConvertFlags } from './convert-flags.ts';
import { namedImage } from './convert-reference.ts';

const digest = `sha256:${'0'.repeat(64)}`;
const none = {} as ConvertFlags;

it.each([
  ['tag', 'host.test/team/app:1.2', { repository: 'host.test/team/app', inputTag: '1.2' }],
  ['port', '127.0.0.1:5000/app:1', { repository: '127.0.0.1:5000/app', inputTag: '1' }],
  ['digest', `host.test/app@${digest}`, { repository: 'host.test/app', inputDigest: digest }],
  ['both', `host.test/app:1@${digest}`, { repository: 'host.test/app', inputTag: '1', inputDigest: digest }],
  ['docker_hub', 'debian:12', { repository: 'docker.io/library/debian', inputTag: '12' }],
  ['latest', 'host.test/app', { repository: 'host.test/app', inputTag: 'latest' }],
  ['layout', 'oci:./dir:1', { repository: 'oci:./dir', inputTag: '1' }],
])('%s', async (_, text, expected) => expect(await namedImage(text, none)).toEqual(expected));

it.each<[string, Partial<ConvertFlags>, string]>([
  ['repository', { repository: 'host.test/app' }, '-r'],
  ['tag', { inputTag: '1' }, '-i'],
  ['digest', { inputDigest: digest }, '-g'],
  ['repository_and_tag', { repository: 'host.test/app', inputTag: '1' }, '-r and -i'],
])('a reference beside the %s is a mistake', async (_, flags, named) => {
  await expect(namedImage('host.test/app:1', { ...none, ...flags })).rejects.toMatchObject({
    code: 'usage',
    message: `the reference does not go with ${named}`,
  });
});

it('a layout without a tag says what it has', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'accel-reference-'));
  try {
    await expect(namedImage(`oci:${directory}`, none)).rejects.toMatchObject({ code: 'not-found' });
  } finally {
    await rm(directory, { recursive: true });
  }
});

it('what is no reference is refused as such', async () => {
  await expect(namedImage('https://host.test/app', none)).rejects.toMatchObject({ code: 'reference-invalid' });
});
