/** What the sections of the benchmark are given and what they give back. */
import type { Verdict } from './limits.ts';
import type { Making } from './scenarios.ts';

/** How to run: from the command line, the same for every section. */
export interface BenchOptions extends Making {
  /** How often each candidate is run. */
  readonly rounds: number;
  /** Names of the modes to measure. */
  readonly modes: readonly string[];
  /** Put the results into the page. */
  readonly write: boolean;
  /** Says a line to whoever waits. */
  log(line: string): void;
}

/** What a section came to: its text for the page, or why it could not run here. */
export type Outcome =
  | { readonly text: string; readonly verdicts: readonly Verdict[] }
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
