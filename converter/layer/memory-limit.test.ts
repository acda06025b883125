import { describe, expect, it } from 'vitest';
import { DEFAULT_MAX_MEMORY } from '../settings.ts';
import { MIN_MAX_MEMORY, shareMemory } from './memory-limit.ts';

const MIB = 2 ** 20;

describe('shareMemory', () => {
  it.each([
    // [budget in MiB, asked images, asked workers, images, workers]
    ['the default on two processors', 512, 4, 1, 4, 1],
    ['the default on eight processors', 512, 4, 7, 2, 7],
    ['the default on two processors, both of them', 512, 4, 2, 3, 2],
    ['little: one image, fewer threads', 256, 4, 7, 1, 1],
    ['threads go before images', 400, 64, 64, 1, 8],
    ['a thread fewer than asked is never none', 256, 1, 1, 1, 1],
    ['no threads stay none', 256, 2, 0, 1, 0],
    ['much: what was asked', 8192, 16, 16, 16, 16],
  ])('%s', (_, budget, images, workers, fittingImages, fittingWorkers) => {
    expect(shareMemory(budget * MIB, { images, workers })).toEqual({ images: fittingImages, workers: fittingWorkers });
  });

  it.each([MIN_MAX_MEMORY - 1, 0, Number.NaN])('refuses %d', (budget) => {
    expect(() => shareMemory(budget, { images: 1, workers: 1 })).toThrow(
      expect.objectContaining({ code: 'usage', expected: 'at least 256 MiB' }),
    );
  });

  it('has a default that is allowed', () => {
    expect(DEFAULT_MAX_MEMORY).toBeGreaterThanOrEqual(MIN_MAX_MEMORY);
  });
});
