/** The call before the tags: it sees what will be tagged, which can be read by then, and where it fails nothing is tagged. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { BOTH, convertWithin, request, smallTar, type TestLayout, testLayout } from '../tests/support/converter.ts';
import { verifyReference } from '../verify/verify-reference.ts';

let layout: TestLayout;
beforeEach(async () => {
  layout = await testLayout([{ tar: smallTar(1) }]);
});
afterEach(() => layout.remove());

const accelerated = async (): Promise<string[]> => {
  const found: string[] = [];
  for (const { tag } of BOTH) {
    const exists = await layout.target.resolve(tag).catch(() => undefined);
    if (exists !== undefined) found.push(tag);
  }
  return found;
};

it('comes when the results can be verified by their digests, and before the tags', async () => {
  const seen: unknown[] = [];
  await convertWithin(layout.target, request({ outputs: BOTH }), {
    beforeTags: async (made) => {
      expect(await accelerated()).toEqual([]);
      for (const { tag, digest } of made) {
        const image = { target: layout.target, tagOrDigest: digest };
        seen.push([tag, (await verifyReference({ accelerated: image, platforms: [], quick: false })).identical]);
      }
    },
  });
  expect(seen).toEqual(BOTH.map(({ tag }) => [tag, true]));
  expect(await accelerated()).toEqual(BOTH.map(({ tag }) => tag));
});

it('ends the conversion without a tag where it fails', async () => {
  const refusing = convertWithin(layout.target, request({ outputs: BOTH }), {
    beforeTags: () => Promise.reject(new Error('not this one')),
  });
  await expect(refusing).rejects.toThrow('not this one');
  expect(await accelerated()).toEqual([]);
});

it('does not come where everything is up to date', async () => {
  await convertWithin(layout.target, request({ outputs: BOTH }));
  const again = await convertWithin(layout.target, request({ outputs: BOTH }), {
    beforeTags: () => Promise.reject(new Error('nothing was made')),
  });
  expect(again.tags.map(({ upToDate }) => upToDate)).toEqual([true, true]);
});
