import { describe, expect, test } from 'vitest';
import { rejects } from './contract.ts';
import type { Descriptor } from './descriptor.ts';
import { assertImageName, CONTAINERD_NAME, entriesNamed, imageNames, REF_NAME, tagPart } from './image-names.ts';
import { OCI } from './media-types.ts';

const HEX = '0123456789abcdef';

/** An entry of an index by its number: with a ref.name, and the name that containerd writes. */
function entry(number: number, ref?: string, containerd?: string): Descriptor {
  const annotations = {
    ...(ref === undefined ? {} : { [REF_NAME]: ref }),
    ...(containerd === undefined ? {} : { [CONTAINERD_NAME]: containerd }),
  };
  return { mediaType: OCI.manifest, digest: `sha256:${HEX[number]!.repeat(64)}`, size: 1, annotations };
}

const found = (entries: readonly Descriptor[], name: string): string =>
  entriesNamed(entries, name)
    .map(({ digest }) => digest.at(-1))
    .join('');

const ENTRIES = [
  entry(1, 'registry.example.org/team/app:v1'),
  entry(2, 'v2', 'docker.io/library/web:v2'),
  entry(3, undefined, 'localhost:5000/db:v3'),
  entry(4),
  entry(5, 'v5', 'ghcr.io/a/x:v5'),
  entry(6, 'v5', 'ghcr.io/b/x:v5'),
  entry(7, 'v7'),
  entry(8, 'other.example.org/app:v7'),
  entry(9, '1.0+build'),
];

test.each([
  ['a tag, by a ref.name that is a whole reference', 'v1', '1'],
  ['that whole reference', 'registry.example.org/team/app:v1', '1'],
  ['a tag, by the ref.name', 'v2', '2'],
  ['the name that containerd writes', 'docker.io/library/web:v2', '2'],
  ['the short form of Docker Hub’s name', 'web:v2', '2'],
  ['a tag, by the name that containerd writes alone', 'v3', '3'],
  ['a registry with a port', 'localhost:5000/db:v3', '3'],
  ['two of one tag', 'v5', '56'],
  ['one of two of one tag', 'ghcr.io/b/x:v5', '6'],
  ['a ref.name before a whole reference that ends so', 'v7', '7'],
  ['what no registry takes as a tag', '1.0+build', '9'],
  ['another repository of a tag', 'other.example.org/web:v2', ''],
  ['a repository without its tag', 'registry.example.org/team/app', ''],
  ['the end of a tag', '1', ''],
])('%s', (_, name, numbers) => expect(found(ENTRIES, name)).toBe(numbers));

test('names: the shortest that is one image’s alone, each once', () => {
  expect(imageNames([...ENTRIES, entry(2, 'v2')])).toEqual([
    '1.0+build',
    'ghcr.io/a/x:v5',
    'ghcr.io/b/x:v5',
    'localhost:5000/db:v3',
    'other.example.org/app:v7',
    'registry.example.org/team/app:v1',
    'v2',
    'v7',
  ]);
});

describe('a name of an image on disk', () => {
  test.each(['v1', 'app:v1', 'registry.example.org:5000/team/app:v1'])('%s', (name) =>
    expect(assertImageName(name)).toBe(name),
  );
  test.each([
    '',
    'app/',
    'registry.example.org/app',
    'app:',
    '../x:v1',
    'oci:dir:tag',
    'a b:c',
    `app:${'x'.repeat(129)}`,
  ])('%j is refused', async (name) => {
    const error = await rejects((async () => assertImageName(name))(), 'reference-invalid');
    expect(error.expected).toBeDefined();
  });
  test.each([
    ['v1', 'v1'],
    ['registry.example.org:5000/team/app:v1', 'v1'],
    ['registry.example.org:5000/team/app', undefined],
    ['<none>:<none>', undefined],
  ])('the tag of %s', (name, tag) => expect(tagPart(name)).toBe(tag));
});
