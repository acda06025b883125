/** Runs the cases of one target and holds what comes of each against what must hold for every parser of accel. */
import { AccelError, type AccelErrorCode } from '../../base/error.ts';
import { renderError } from '../../cli/error-report.ts';
import { FuzzRandom } from './random.ts';
import { demand, type FuzzInput, type FuzzSubject, type FuzzTarget, Violation } from './target.ts';

/** Most memory, in bytes, that one case may hold when it ends: no input is larger than a few megabytes. */
const MAX_CASE_MEMORY = 256 << 20;
/** An escape sequence, a line of its own, a mark that reorders text: none may come out of a message. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find
const HARMFUL = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f]/u;

/** A failure, and the facts that reproduce it. */
export interface Finding {
  readonly target: string;
  readonly seed: number;
  readonly number: number;
  readonly problem: string;
  readonly input: Uint8Array | undefined;
}

/** Counts over a run. */
export interface FuzzTally {
  cases: number;
  accepted: number;
  /** Refused inputs by the code of their error. */
  readonly refused: Partial<Record<AccelErrorCode, number>>;
}

/** Runs one case; answers what went wrong, if anything did. */
export async function runCase(
  target: FuzzTarget,
  subject: FuzzSubject,
  place: { readonly seed: number; readonly number: number },
  tally: FuzzTally,
): Promise<Finding | undefined> {
  const random = new FuzzRandom(place.seed, place.number);
  const before = process.memoryUsage().arrayBuffers;
  let input: FuzzInput | undefined;
  tally.cases++;
  try {
    input = subject.make(random);
    const code = await outcome(target, subject, input, random);
    if (code === undefined) tally.accepted++;
    else tally.refused[code] = (tally.refused[code] ?? 0) + 1;
    const grown = process.memoryUsage().arrayBuffers - before;
    demand(grown < MAX_CASE_MEMORY, `the case holds ${grown} bytes for an input of ${input.bytes.length}`);
    return undefined;
  } catch (error) {
    const problem = error instanceof Violation ? error.message : describe(error);
    return { target: target.name, ...place, problem, input: input?.bytes };
  }
}

/** The code that an input was refused with; throws for every other failure. */
async function outcome(
  target: FuzzTarget,
  subject: FuzzSubject,
  input: FuzzInput,
  random: FuzzRandom,
): Promise<AccelErrorCode | undefined> {
  try {
    await subject.check(input, random);
    return undefined;
  } catch (error) {
    if (!(error instanceof AccelError) || !target.codes.includes(error.code)) throw error;
    const text = renderError(error);
    const harmful = HARMFUL.exec(text);
    demand(
      harmful === null,
      `the message holds U+${harmful?.[0].codePointAt(0)?.toString(16)}: ${JSON.stringify(text)}`,
    );
    return error.code;
  }
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return `thrown: ${String(error)}`;
  const code = error instanceof AccelError ? `[${error.code}] ` : '';
  const cause = error.cause instanceof Error ? `\ncaused by ${error.cause.stack}` : '';
  return `${code}${error.stack}${cause}`;
}
