/** Input and output of the benchmark's sections. */
import type { Verdict } from './limits.ts';
import type { Row } from './report.ts';
import type { Making } from './scenarios.ts';

/** Options of a run from the command line, the same for every section. */
export interface BenchOptions extends Making {
  /** Number of runs of each candidate. */
  readonly rounds: number;
  /** Names of the modes to measure. */
  readonly modes: readonly string[];
  /** Put the results into the page. */
  readonly write: boolean;
  /** Says a line to whoever waits. */
  log(line: string): void;
}

/** Outcome of a section: its text for the page with what was measured, or the reason why it could not run here. */
export type Outcome =
  | { readonly text: string; readonly verdicts: readonly Verdict[]; readonly rows?: readonly Row[] }
  | { readonly skipped: string }
  /** It wrote its own section. */
  | { readonly done: true };

/** A part of the benchmark, and of the page. */
export interface BenchSection {
  readonly name: string;
  /** One line for `--list`. */
  readonly about: string;
  /** Makes the images that it needs, where it needs any. */
  prepare?(making: Making): Promise<unknown>;
  run(options: BenchOptions): Promise<Outcome>;
}
