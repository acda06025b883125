/** The service and `accel convert --rules` read the same section: one by the schema, the other by its own reader. */
import { expect, it } from 'vitest';
import { readRules } from '../../triggers/rules/read-rules.ts';
import { ruleSources } from '../../triggers/rules/rule-entries.ts';
import { parseConfig } from './load.ts';

const rule = (more: object) => ({ rules: [{ repositories: ['r.test/team/*'], ...more }] });

it.each([
  rule({}),
  rule({ tags: {} }),
  rule({ tags: { include: ['v*'], exclude: ['*-debug'] }, excludeRepositories: ['r.test/team/old'] }),
  rule({ mode: 'index-only', platforms: ['linux/arm64'], verify: 'quick', algorithm: 'zstd', blockSize: 65_536 }),
  rule({ blockSize: '16Ki', prefetch: ['/bin/sh'], targetRepository: 'r.test/fast/app' }),
  rule({ blockSize: '64K', verify: 'full' }),
  rule({ level: 3 }),
  rule({ algorithm: 'zstd', level: 22 }),
  rule({ algorithm: 'lz4', level: 12 }),
  rule({ layout: 'startup' }),
  rule({ layout: 'source' }),
  { rules: [...rule({}).rules, ...rule({ mode: 'index-only' }).rules], drain: '10s' },
])('both understand %j alike', async (document) => {
  const text = JSON.stringify(document);
  const [service, command] = await Promise.all([
    ruleSources(parseConfig(text, 'accel.yaml').rules),
    ruleSources(readRules(JSON.parse(text), 'accel.yaml')),
  ]);
  expect(command).toEqual(service);
});

it.each([
  rule({ mode: 'ful' }),
  rule({ tag: {} }),
  rule({ tags: { includes: ['v*'] } }),
  rule({ tags: { include: [] } }),
  rule({ tags: ['v*'] }),
  rule({ repositories: [] }),
  rule({ repositories: 'r.test/a' }),
  rule({ repositories: ['r.test/a', 7] }),
  rule({ repositories: [''] }),
  rule({ platforms: 'linux/amd64' }),
  rule({ prefetch: [''] }),
  rule({ prefetchFile: '' }),
  rule({ verify: true }),
  rule({ algorithm: 'gzip' }),
  rule({ blockSize: 100 }),
  rule({ level: 0 }),
  rule({ level: 23 }),
  rule({ level: 1.5 }),
  rule({ level: '3' }),
  rule({ layout: 'random' }),
  rule({ blockSize: '5Ki' }),
  rule({ blockSize: 70_000 }),
  { rules: [{ mode: 'full' }] },
  { rules: ['r.test/a'] },
  { rules: {} },
])('both refuse %j', (document) => {
  const text = JSON.stringify(document);
  expect(() => parseConfig(text, 'accel.yaml')).toThrow();
  expect(() => readRules(JSON.parse(text), 'accel.yaml')).toThrow('the rules cannot be used');
});

it.each([2, 13])('neither takes level %i of LZ4', async (level) => {
  const text = JSON.stringify(rule({ algorithm: 'lz4', level }));
  const refused = { code: 'usage', where: { rule: 1, key: 'level' }, found: level };
  await expect(ruleSources(parseConfig(text, 'accel.yaml').rules)).rejects.toMatchObject(refused);
  await expect(ruleSources(readRules(JSON.parse(text), 'accel.yaml'))).rejects.toMatchObject(refused);
});
