/** An error as one sentence of a report. */
import { asAccelError } from '../../../base/error.ts';

/** Says what happened, where, what was expected and found, and what to do. */
export function problemText(error: unknown): string {
  const { message, where, expected, found, hint } = asAccelError(error);
  const place = Object.entries(where).map(([key, value]) => `${key} ${value}`);
  const facts = [
    ...(expected === undefined ? [] : [`expected ${expected}`]),
    ...(found === undefined ? [] : [`found ${found}`]),
  ];
  return [[message, ...place, ...facts].join(', '), ...(hint === undefined ? [] : [hint])].join('. ');
}
