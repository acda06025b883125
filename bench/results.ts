/** Writes the measurements of a run as JSON: every round, with the machine and the commit. */
import { writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem, type } from 'node:os';
import type { Verdict } from './limits.ts';
import { commitOf, isChanged } from './other-build.ts';
import type { Row } from './report.ts';

/** A section's measurements. */
export interface SectionResult {
  readonly name: string;
  /** Empty for sections that print their own. */
  readonly rows: readonly Row[];
  readonly verdicts: readonly Verdict[];
}

/** Writes the results of a run to a file. Seconds and bytes, as {@link Row} has them. */
export async function writeResults(
  file: string,
  run: { readonly rounds: number; readonly scale: number; readonly against: string | undefined },
  sections: readonly SectionResult[],
): Promise<void> {
  const document = {
    commit: await commitOf('HEAD'),
    changed: await isChanged(),
    machine: {
      processor: cpus()[0]?.model.trim(),
      cores: availableParallelism(),
      memory: totalmem(),
      system: `${type()} ${release()}`,
      node: process.version,
    },
    ...run,
    sections,
  };
  await writeFile(file, `${JSON.stringify(document, undefined, 2)}\n`);
}
