import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectedTrees } from '../../tests/support/expected-tree.ts';
import { FUZZ_TIMEOUT, fuzzRuns } from '../../tests/support/fuzz-runs.ts';
import { describeWith } from '../../tests/support/tools.ts';
import { diffTrees, type TreeEntry } from '../../tests/support/tree.ts';
import { SMALL, withImage } from './testing/image-box.ts';
import { type RandomEntry, randomStack, tarOf, whiteoutsFirst, withoutRefused } from './testing/random-layers.ts';

/** Stacks for each property. */
const STACKS = 30;

/** Applies the layers one by one: e2fsck after each, and the tree as Python's model has it. */
async function holdAgainstModel(stack: readonly RandomEntry[][]): Promise<void> {
  const tars = stack.map(tarOf);
  const expected = await treesOfModel(tars);
  await withImage(SMALL, async (box) => {
    for (const [i, tar] of tars.entries()) {
      const model = expected[i];
      if (model === undefined) {
        expect(() => box.layer(tar)).toThrow();
        return;
      }
      box.layer(tar, [1, 321, 4096][i % 3]);
      await box.check();
      expect(diffTrees(model, await box.tree())).toEqual([]);
    }
  });
}

/** The trees of the prefixes, up to the layer that the model refuses. */
async function treesOfModel(tars: readonly Uint8Array[]): Promise<TreeEntry[][]> {
  for (let count = tars.length; count > 0; count--) {
    try {
      return await expectedTrees(tars.slice(0, count));
    } catch (error) {
      // The model ends with a message of its own; a defect of it would leave a traceback.
      if (String(error).includes('Traceback')) throw error;
    }
  }
  return [];
}

describeWith({ tools: ['e2fsck', 'python3'] }, 'random stacks of layers', () => {
  const hold = (stacks: fc.Arbitrary<RandomEntry[][]>): Promise<void> =>
    fc.assert(fc.asyncProperty(stacks, holdAgainstModel), fuzzRuns(STACKS));

  test('are refused where the rules refuse them', { timeout: FUZZ_TIMEOUT }, () =>
    hold(randomStack({ symlinks: true }).map((layers) => layers.map(whiteoutsFirst))),
  );

  test('are what the rules say, through symlinks too, when whiteouts come first', { timeout: FUZZ_TIMEOUT }, () =>
    hold(randomStack({ symlinks: true }).map((layers) => withoutRefused(layers.map(whiteoutsFirst)))),
  );

  test('are what the rules say wherever the whiteouts are', { timeout: FUZZ_TIMEOUT }, () =>
    hold(randomStack({ symlinks: false }).map(withoutRefused)),
  );
});
