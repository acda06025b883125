/** The surroundings of a command, passed in so that a test can put its own in their place. */
import type { Command } from 'commander';
import type { ConvertSurroundings } from '../converter/endpoints.ts';
import type { ConvertRequest, ConvertResult } from '../converter/options.ts';
import type { ConvertPlan } from '../converter/plan/dry-run.ts';
import type { ServerAccess } from './server-package.ts';
import type { Environment, Output } from './terminal.ts';

/** The converter's main functions. */
export interface Converter {
  convert(request: ConvertRequest, context: ConvertSurroundings): Promise<ConvertResult>;
  planConversion(request: ConvertRequest, context: ConvertSurroundings): Promise<ConvertPlan>;
}

/** Surroundings of a command: streams, environment, the signal that a user's interrupt fires, the work itself. */
export interface CommandContext {
  /** The result and nothing else. */
  readonly stdout: Output;
  /** Progress, warnings, errors. */
  readonly stderr: Output;
  readonly stdin: AsyncIterable<Uint8Array | string>;
  readonly env: Environment;
  /** The working directory, from which the file of a project is looked for; omitted: the process's. */
  readonly cwd?: string;
  readonly signal: AbortSignal;
  /** Loads the converter; a function, so that help and usage errors do not wait for it. */
  readonly loadConverter: () => Promise<Converter>;
  /** The package of what runs all the time; absent where commands are only described. */
  readonly server?: ServerAccess;
  /** Builds the whole command tree, for a command that describes the others. */
  readonly loadProgram: () => Promise<Command>;
  /** Takes the options for reporting errors, as soon as the command has parsed its flags. */
  readonly setReporting: (reporting: Reporting) => void;
}

/** Options for reporting errors. */
export interface Reporting {
  readonly json: boolean;
  readonly verbose: boolean;
}
