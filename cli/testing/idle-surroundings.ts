/** Surroundings of the command line for tests of what it says: nothing is converted, nothing comes from standard input. */
import type { Command } from 'commander';
import { createProgram } from '../program.ts';
import { captured } from './sample.ts';

async function* noInput(): AsyncGenerator<Uint8Array> {}

/** Surroundings whose output is kept as text; a conversion fails. */
export function idleSurroundings() {
  return {
    stdout: captured(),
    stderr: captured(),
    stdin: noInput(),
    env: {},
    signal: new AbortController().signal,
    loadConverter: () => Promise.reject(new Error('nothing is converted here')),
    setReporting: (): void => undefined,
  };
}

/** The tree of commands, or of the named one. */
export function idleProgram(named?: string): Promise<Command> {
  return createProgram(idleSurroundings(), named);
}
