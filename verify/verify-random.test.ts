/** Random stacks of layers, converted and verified: two walks that share no code agree, or both refuse. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { buildLayout } from '../fixtures/image-builder.ts';
import { openLayout } from '../oci/layout-target.ts';
import { BOTH, convertWithin, request } from '../tests/support/converter.ts';
import { buildStack, type Step, stacks } from './source-tree/testing/stacks.ts';
import { verifyReference } from './verify-reference.ts';

async function check(stack: readonly (readonly Step[])[]): Promise<boolean> {
  const directory = await mkdtemp(join(tmpdir(), 'accel-verify-random-'));
  try {
    await buildLayout(
      directory,
      'base',
      buildStack(stack).map((tar) => ({ tar })),
    );
    const target = await openLayout(directory);
    const refusal = await convertWithin(target, request()).then(
      () => undefined,
      (error: Error) => error.message,
    );
    if (refusal !== undefined) return false;
    for (const { tag } of BOTH) {
      const result = await verifyReference({ accelerated: { target, tagOrDigest: tag }, platforms: [], quick: false });
      expect(result.images.flatMap((image) => image.differences)).toEqual([]);
    }
    return true;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

test('what was converted verifies', async () => {
  let verified = 0;
  const property = fc.asyncProperty(stacks, async (stack) => {
    if (await check(stack)) verified++;
  });
  await fc.assert(property, {
    numRuns: Number(process.env.FUZZ_RUNS ?? 100),
    interruptAfterTimeLimit: 60_000,
    markInterruptAsFailure: false,
  });
  // About a third of the stacks is sound; were it none, nothing would have been compared.
  expect(verified).toBeGreaterThan(0);
});
