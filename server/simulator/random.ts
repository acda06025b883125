/** Repeatable randomness for the simulator: the same seed gives the same run on every machine. */
import { combine } from '../agent/peers/hash.ts';

/** The next number, at least 0 and below 1. */
export type Random = () => number;

/** Numbers that depend on the seed alone. */
export function random(seed: number): Random {
  let count = 0;
  return () => combine({ hi: 0, lo: seed >>> 0 }, { hi: 0, lo: count++ }).hi / 2 ** 32;
}
