/**
 * Talks to the runner of a step: commands on standard output (docs.github.com, "Workflow commands for GitHub Actions")
 * and files that environment variables name. Whatever comes from an image or a registry is kept from being read as a
 * command.
 */
import { randomUUID } from 'node:crypto';
import { appendFile } from 'node:fs/promises';
import { EOL } from 'node:os';
import { AccelError } from '../base/error.ts';
import type { Environment, Output } from '../cli/terminal.ts';
import { printableLines } from '../cli/text.ts';

/** Bytes of a job summary that the runner takes from one step. */
export const MAX_SUMMARY_BYTES = 1024 * 1024;

/** A line of the log that the runner shows beside the workflow's run. */
export type Annotation = 'error' | 'warning' | 'notice';

/** The runner's side of a step. */
export class Runner {
  readonly #output: Output;
  readonly #env: Environment;

  constructor(output: Output, env: Environment) {
    this.#output = output;
    this.#env = env;
  }

  /** Writes text to the log, line by line; none of its lines is a command. */
  log(text: string): void {
    for (const line of printableLines(text)) this.#output.write(`${harmless(line)}\n`);
  }

  /** Opens a group of the log; the runner folds it. */
  group(title: string): void {
    this.#output.write(`::group::${escapeData(title)}\n`);
  }

  /** Closes the group. */
  endGroup(): void {
    this.#output.write('::endgroup::\n');
  }

  /** Writes an annotation. */
  annotate(kind: Annotation, title: string, text: string): void {
    this.#output.write(`::${kind} title=${escapeProperty(title)}::${escapeData(text)}\n`);
  }

  /** Has the runner replace a secret by `***` wherever it appears in the log. Without a runner nothing is written. */
  mask(secret: string): void {
    if (this.#env.GITHUB_ACTIONS !== 'true') return;
    for (const line of secret.split(/\r?\n/)) if (line !== '') this.#output.write(`::add-mask::${escapeData(line)}\n`);
  }

  /** Sets the outputs of the step. Throws `io-error` when the runner's file cannot be written. */
  async setOutputs(outputs: Readonly<Record<string, string>>): Promise<void> {
    const file = this.#env.GITHUB_OUTPUT;
    if (file === undefined || file === '') {
      this.log(
        Object.entries(outputs)
          .map(([name, value]) => `output ${name}: ${value}`)
          .join('\n'),
      );
      return;
    }
    await appendFile(
      file,
      Object.entries(outputs)
        .map(([name, value]) => heredoc(name, value))
        .join(''),
    );
  }

  /** Appends Markdown to the summary of the job, where the runner keeps one. */
  async addSummary(markdown: string): Promise<void> {
    const file = this.#env.GITHUB_STEP_SUMMARY;
    if (file === undefined || file === '') return;
    await appendFile(file, markdown);
  }
}

/** A value of several lines in the runner's file format; the delimiter is one that nobody can have put into the value. */
export function heredoc(name: string, value: string, delimiter = `accel_${randomUUID()}`): string {
  if (value.includes(delimiter) || name.includes(delimiter))
    throw new AccelError('internal', 'an output contains its own delimiter', { where: { output: name } });
  return `${name}<<${delimiter}${EOL}${value}${EOL}${delimiter}${EOL}`;
}

/** The text of a command: the runner reads `%25`, `%0D` and `%0A` back. */
export function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

/** A property of a command, which `:` and `,` would end. */
export function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}

/** The runner obeys lines that begin with `::`, and `##[` anywhere in a line (the older form). */
function harmless(line: string): string {
  const without = line.replaceAll('##[', '## [');
  return /^\s*::/.test(without) ? without.replace('::', ': :') : without;
}
