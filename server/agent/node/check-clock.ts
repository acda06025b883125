/** The check of clocks against those of others. */
import { type Check, failed, ok, warning } from './node-check.ts';

/** Milliseconds: tokens and certificates fail with minutes, logs mislead with seconds. */
const SKEW = { warning: 5_000, failed: 60_000 };

/** Judges how far clocks are apart, in milliseconds; nothing without a clock to compare with. */
export function checkSkew(name: string, skews: readonly number[]): readonly Check[] {
  if (skews.length === 0) return [];
  const worst = Math.max(...skews.map((skew) => Math.abs(skew)));
  const found = `${(worst / 1000).toFixed(1)} s apart`;
  const fix = 'Set the clocks by NTP: tokens and certificates hold for limited times.';
  if (worst > SKEW.failed) return [failed(name, found, fix)];
  return [worst > SKEW.warning ? warning(name, found, fix) : ok(name, found)];
}
