/** Counts the outcomes of a run, and sums them up for people and for the exit code. */
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import type { ImageOutcome, ImageState } from '../../triggers/many/image-orders.ts';
import { EXIT_CODES } from '../error-report.ts';

/** Images by what became of them. */
export type Tally = Readonly<Record<ImageState, number>>;

/** Images with one reason. */
export interface ReasonGroup {
  readonly code: string;
  readonly reason: string;
  readonly images: readonly string[];
}

/** Counts outcomes. */
export function tallyOf(outcomes: readonly ImageOutcome[]): Tally {
  const tally = {
    converted: 0,
    'up-to-date': 0,
    due: 0,
    skipped: 0,
    failed: 0,
    interrupted: 0,
    'not-started': 0,
  } satisfies Record<ImageState, number>;
  for (const { state } of outcomes) tally[state]++;
  return tally;
}

/** Groups the failures, or the skipped images, by their reason; the largest group first. */
export function reasonsOf(outcomes: readonly ImageOutcome[], state: 'failed' | 'skipped'): ReasonGroup[] {
  const groups = new Map<string, { code: string; reason: string; images: string[] }>();
  for (const { order, state: found, skip, error } of outcomes) {
    if (found !== state) continue;
    const { code, reason } = skip ?? { code: error?.code ?? '', reason: error?.message ?? '' };
    const group = groups.get(`${code} ${reason}`) ?? { code, reason, images: [] };
    groups.set(`${code} ${reason}`, group);
    group.images.push(order.reference);
  }
  return [...groups.values()].sort((a, b) => b.images.length - a.images.length);
}

/**
 * The error that a run ends with; undefined where no image failed. Where some are done and others failed it is
 * `partly-failed`; where none is done it is `registry-error` or alike: the code of the first failure, if all have the
 * same exit code.
 */
export function errorOf(outcomes: readonly ImageOutcome[]): AccelError | undefined {
  const tally = tallyOf(outcomes);
  if (tally.failed === 0) return undefined;
  const done = tally.converted + tally['up-to-date'] + tally.due;
  const codes = outcomes.flatMap(({ error }) => error?.code ?? []);
  const failed = `${tally.failed} of ${outcomes.length} images failed`;
  const hint = 'The reasons are above. The next run does only what is not done.';
  if (done > 0) return new AccelError('partly-failed', `${failed}, ${done} are done`, { hint });
  return new AccelError(sharedCode(codes), `${failed}, none is done`, { hint });
}

function sharedCode(codes: readonly AccelErrorCode[]): AccelErrorCode {
  const exits = new Set(codes.map((code) => EXIT_CODES[code]));
  const [first] = codes;
  // Any code that ends with 1, where they differ.
  return exits.size === 1 && first !== undefined ? first : 'registry-error';
}
