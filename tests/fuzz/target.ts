/** The contract of a fuzz target: a parser, the inputs that it is fed, and the properties that hold for every input. */
import type { AccelErrorCode } from '../../base/error.ts';
import type { FuzzRandom } from './random.ts';

/** One input. */
export interface FuzzInput {
  readonly bytes: Uint8Array;
  /** True when checksums were made right again after the damage, so that no checksum can show it. */
  readonly mended: boolean;
}

/** A target, made ready. */
export interface FuzzSubject {
  /** The input of a case. */
  make(random: FuzzRandom): FuzzInput;
  /**
   * Feeds the input to the parser. Returning means that it was accepted and every oracle agreed; an AccelError of one of
   * the target's codes means that it was refused. Anything else that is thrown is a finding.
   */
  check(input: FuzzInput, random: FuzzRandom): void | Promise<void>;
  /** Lets go of files. */
  close?(): Promise<void>;
}

/** A parser under test. */
export interface FuzzTarget {
  readonly name: string;
  /** Codes of errors that may refuse an input. */
  readonly codes: readonly AccelErrorCode[];
  /** Cases of the run in CI: what takes a second or two. */
  readonly cases: number;
  /** Builds the sound inputs that the cases are made from. */
  open(): Promise<FuzzSubject>;
}

/** A finding that an oracle made: the parser took for good what is not, or refused what is. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** Throws a {@link Violation} unless `holds`. */
export function demand(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Violation(message);
}
