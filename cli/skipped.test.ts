import { expect, it } from 'vitest';
import { groupSkipped, skippedNames } from './skipped.ts';
import { sampleDigest } from './testing/sample.ts';

const manifest = (platform: string, reason: string) => ({ digest: sampleDigest('c'), platform, reason });

it('says each reason once, whatever the order', () => {
  const groups = groupSkipped([
    manifest('unknown/unknown', 'an attestation'),
    manifest('windows/amd64', 'not for Linux'),
    manifest('unknown/unknown', 'an attestation'),
  ]);
  expect(groups.map((group) => `${skippedNames(group)}: ${group.reason}`)).toEqual([
    '2 manifests (unknown/unknown): an attestation',
    'windows/amd64 cccccccccccc: not for Linux',
  ]);
});

it('names six platforms and counts the others', () => {
  const many = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', '\u001b[31m'].map((name) => manifest(name, 'not asked for'));
  expect(groupSkipped(many).map(skippedNames)).toEqual(['9 manifests (a, b, c, d, e, f, and 3 more)']);
});
