import { readdir } from 'node:fs/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MemoryTarget } from '../../oci/memory-target.ts';
import { CountingTarget, request, smallTar, type TestLayout, testLayout } from '../../tests/support/converter.ts';
import { convertBetween } from '../convert.ts';
import type { ConvertEvent } from '../events.ts';
import type { ConvertRequest, ConvertResult } from '../options.ts';

let layout: TestLayout;

beforeEach(async () => {
  layout = await testLayout([{ tar: smallTar(1) }, { tar: smallTar(2) }]);
});

afterEach(() => layout.remove());

interface Run {
  readonly result: ConvertResult;
  readonly target: CountingTarget;
  readonly events: readonly string[];
}

async function run(overrides: Partial<ConvertRequest>): Promise<Run> {
  const memory = new MemoryTarget();
  const target = Object.assign(new CountingTarget(memory), {
    pushReferrer: memory.pushReferrer.bind(memory),
    referrers: memory.referrers.bind(memory),
  });
  const events: string[] = [];
  const onEvent = (event: ConvertEvent): number => events.push(event.type);
  const endpoints = { source: layout.target, target, mountFrom: undefined };
  const result = await convertBetween(endpoints, request(overrides), { onEvent });
  return { result, target, events };
}

const prefetch = { lines: ['/d1/text', '/d2/text'], format: 'trace' } as const;

it.each<[string, Partial<ConvertRequest>]>([
  ['both tags', {}],
  ['an index-only image', { outputs: [{ tag: 'lazy', kind: 'index-only' }] }],
  ['a prefetch trace', { prefetch }],
  ['a prefetch trace over index-only layers', { prefetch, outputs: [{ tag: 'lazy', kind: 'index-only' }] }],
  ['referrers', { artifact: { ...request().artifact, referrer: true } }],
  ['the record of layers', { cache: true }],
])(
  '%s: a run without upload into another repository reports what an upload makes and writes nothing',
  async (_, it) => {
    const dry = await run({ ...it, noUpload: true, workDirectory: layout.directory });
    const wet = await run(it);
    expect(dry.result.tags).toEqual(wet.result.tags);
    expect(dry.result.warnings).toEqual(wet.result.warnings);
    expect([dry.target.pushed, dry.target.tagged]).toEqual([[], []]);
    expect(wet.target.pushed).not.toEqual([]);
    const uploads = ['layer-pushed', 'referrer', 'tagged'];
    expect(dry.events.filter((type) => uploads.includes(type))).toEqual([]);
    expect(new Set(dry.events)).toEqual(new Set(wet.events.filter((type) => !uploads.includes(type))));
    expect((await readdir(layout.directory)).filter((name) => name.includes('spool'))).toEqual([]);
  },
);
