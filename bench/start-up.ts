/** Measures the overhead of a run: starting Node, starting accel, converting next to nothing. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { measureCommand } from './child.ts';
import { type Candidate, CLI, takeTurns } from './convert.ts';
import { withCopy } from './layout.ts';
import { formatVerdicts, type Verdict, verdict } from './limits.ts';
import { FOLDER_PREFIX } from './make-image.ts';
import type { BenchOptions, Outcome } from './options.ts';
import { figure, markdownTable, middle, type Row, wallOf, withSpread } from './report.ts';

/** The image of the demo, a few kilobytes in several layers. */
const DEMO = join(import.meta.dirname, '..', '..', 'fixtures', 'images', 'demo');

/** Runs of each; a start takes so little that many cost nothing. */
const RUNS = 15;

/** Wall time of `accel --version` over `node -e 0`. */
const MAX_VERSION = 1.1;

/** Seconds of the conversion of the demo image. */
const MAX_DEMO = 0.35;

/** The section of the page. */
export async function measureStartUp(options: BenchOptions): Promise<Outcome> {
  // A trial at a small scale is there to see whether it works.
  const rounds = Math.max(1, Math.round(RUNS * Math.min(1, options.scale)));
  const folder = await mkdtemp(join(options.directory, `${FOLDER_PREFIX}demo-`));
  try {
    const demo = join(folder, 'demo');
    await cp(DEMO, demo, { recursive: true });
    const node = (...args: string[]) => measureCommand({ program: process.execPath, args });
    const candidates: Candidate[] = [
      { what: 'node -e 0', run: () => node('-e', '0') },
      { what: 'accel --version', run: () => node(CLI, '--version') },
      {
        what: 'accel convert, demo image',
        run: () => withCopy(demo, (copy) => node(CLI, 'convert', '-r', `oci:${copy}`, '-i', 'latest', '--quiet')),
      },
    ];
    const rows = await takeTurns('start-up', candidates, { rounds, log: () => undefined });
    const verdicts = judgeStartUp(rows);
    return { text: section(rows, rounds, verdicts), verdicts, rows };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function judgeStartUp([node, version, demo]: readonly Row[]): Verdict[] {
  return [
    verdict(
      'wall time of accel --version over node -e 0',
      middle(version!, wallOf) / middle(node!, wallOf),
      MAX_VERSION,
    ),
    verdict('seconds to convert the demo image', middle(demo!, wallOf), MAX_DEMO),
  ].filter((one) => one !== undefined);
}

function section(rows: readonly Row[], rounds: number, verdicts: readonly Verdict[]): string {
  const lines = rows.map((row) => [
    row.what,
    withSpread(row, wallOf),
    figure(middle(row, wallOf) / middle(rows[0]!, wallOf), 2),
  ]);
  return `## Start-up

${markdownTable(['what', 'wall s', '×'], lines)}

Medians of ${rounds} runs that take turns. The demo image is fixtures/images/demo, converted in both modes.

${formatVerdicts(verdicts)}`;
}
