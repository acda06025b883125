/** Annotations that say what a start reads are understood; one that cannot be true counts as absent. */
import { expect, it } from 'vitest';
import { STARTUP_RANGES_ANNOTATION } from '../formats/overlaybd/annotations.ts';
import { startupRangesOf } from './startup-size.ts';

const rangesOf = (text: string) => startupRangesOf({ annotations: { [STARTUP_RANGES_ANNOTATION]: text } }, 1000);

it('ranges are read', () => {
  expect(rangesOf('0+10')).toEqual([{ offset: 0, length: 10 }]);
  expect(rangesOf('5+10,15+1,900+100')).toEqual([
    { offset: 5, length: 10 },
    { offset: 15, length: 1 },
    { offset: 900, length: 100 },
  ]);
});

it.each([
  '',
  '10',
  '10+',
  '-1+5',
  '5+0',
  '900+101',
  '50+10,40+5',
  '50+10,55+10',
  '1+1,',
  '0x1+1',
  '1+1 ',
  `1+${'0'.repeat(9000)}1`,
])('%j gives no ranges', (text) => {
  expect(rangesOf(text)).toEqual([]);
});

it('no annotation gives no ranges', () => {
  expect(startupRangesOf({}, 1000)).toEqual([]);
});
